"""From signs to doubt."""

import numpy as np
import pytest

from shared.doubt import judge
from shared.doubt.signs import SIGNS
from shared.scans import orientation
from shared.scans.volume import Volume
from tests.shared.doubt.test_signs import ACDC, heart

AFFINE = np.diag([2.0, 2.0, 10.0, 1.0])


def pair():
    grey, labels = heart()
    affine = AFFINE.copy()
    affine[:3, 3] = (5.0, -7.0, 11.0)
    return Volume(grey, (2.0, 2.0, 10.0), affine), Volume(labels, (2.0, 2.0, 10.0), affine)


def test_how_far_outside_by_hand():
    mm, ml = SIGNS["length"], SIGNS["volume"]
    assert judge.outside(50, (40, 60), mm) == judge.outside(40, (40, 60), mm) == 0
    assert judge.outside(90, (40, 60), mm) == judge.outside(10, (40, 60), mm) == 1.5
    assert judge.outside(90, (59, 60), mm) == 30 / 20  # a narrow range counts as `spread`
    assert judge.outside(900, (40, 60), mm) == judge.FARTHEST
    assert judge.outside(200, (50, 100), ml) == pytest.approx(1)  # a ratio: half as large is as far as twice as large
    assert judge.outside(25, (50, 100), ml) == pytest.approx(1)
    assert judge.outside(0, (50, 100), ml) == judge.FARTHEST


def test_what_training_held():
    cases = [{"LV volume": float(n), "noise": 1.0} for n in range(101)] + [{"noise": 1.0}]
    assert judge.held(cases) == {"LV volume": [5.0, 95.0], "noise": [1.0, 1.0]}
    assert judge.held([]) == {}


def test_few_cases_are_all_looked_at_and_many_are_thinned_out():
    assert (
        len(judge.some_of(range(60))) == 60 and list(judge.some_of(range(61))) == list(range(0, 61, 2)) and not judge.some_of([])
    )


def test_the_logit_by_hand():
    held = {"LV volume": [50, 100], "LV length": [40, 60], "place along the slices": [40, 60], "LV holes": [0, 1],
            "LV shift between slices": [0, 5], "noise": [1, 2], "pixel": [1, 2]}  # fmt: skip
    found = {"LV volume": 70, "LV length": 90, "place along the slices": 50, "LV holes": 0.5, "LV shift between slices": 10,
             "noise": 2, "pixel": 2}  # fmt: skip
    logit = judge.CONSTANT + judge.WEIGHTS["size"] * np.log(2.5) + judge.WEIGHTS["shape"] * np.log(2) / 2
    verdict = judge.judge(found, held)
    assert verdict.doubt == round(1 / (1 + np.exp(-logit)), 2) and verdict.flagged
    assert (
        verdict.reasons
        == "LV length 90 mm, 40 to 60 in most of training; LV shift between slices 10 mm, 0 to 5 in most of training"
    )


@pytest.mark.parametrize(
    ("value", "held", "said"),
    [
        (58.04, [58.06, 240], "58 ml, 58.1 to 240"),
        (58.01, [58.04, 240], "58.01 ml, 58.04 to 240"),
        (58.0101, [58.0104, 240], "58.0101 ml, 58.0104 to 240"),
    ],
)
def test_reasons_have_as_many_digits_as_show_the_difference(value, held, said):
    assert judge.in_words("LV volume", value, held) == f"LV volume {said} in most of training"


def test_nothing_outside_and_no_disagreement_is_little_doubt():
    held, found = {"LV volume": [50, 100], "LV length": [40, 60]}, {"LV volume": 70, "LV length": 50}
    alone, agreed = judge.judge(found, held), judge.judge(found, held, 0.0)
    assert alone.reasons == agreed.reasons == "" and agreed.doubt < alone.doubt < 0.2
    differs = judge.judge(found, held, 0.4)
    assert differs.doubt > 0.9 and differs.reasons == "a second opinion differs (Dice 0.60 between the two)"


def test_an_empty_label_map_is_doubted_whatever_training_held():
    verdict = judge.judge({"LV volume": 0.0, "noise": 1.0}, {"noise": [0, 2]})
    assert verdict.doubt == judge.IMPLAUSIBLE and verdict.reasons == "nothing was found"


def test_a_heart_like_those_of_training_and_one_that_was_lost():
    scan, labels = pair()
    grown = [judge.measured(scan, labels, ACDC) | {"LV volume": 10.24 * factor} for factor in (0.5, 0.8, 1.2, 2)]
    held = judge.held(grown)
    assert judge.judge(judge.measured(scan, labels, ACDC), held).doubt < 0.2
    nothing = judge.judge(judge.measured(scan, labels.with_array(0 * labels.array), ACDC), held)
    assert nothing.doubt > 0.99 and "LV volume 0 ml" in nothing.reasons


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("mirrored", [(), (0,), (1, 2)])
def test_a_scan_stored_in_another_orientation_has_the_same_signs(axes, mirrored):
    scan, labels = pair()
    turned = []
    for each in (scan, labels):
        each = orientation.transpose(each, axes)
        for axis in mirrored:
            each = orientation.flip(each, axis)
        turned.append(each)
    wanted, found = judge.measured(scan, labels, ACDC), judge.measured(*turned, ACDC)
    assert found.keys() == wanted.keys() and all(found[name] == pytest.approx(wanted[name], rel=1e-5) for name in wanted)


def test_disagreement_by_hand():
    one, other = np.zeros((10, 1, 1), np.uint8), np.zeros((10, 1, 1), np.uint8)
    one[:4], other[2:6], one[8:], other[8:] = 1, 1, 3, 3
    assert judge.disagreement(one, other, {1: "RV", 3: "LV"}) == pytest.approx(1 - (0.5 + 1) / 2)
