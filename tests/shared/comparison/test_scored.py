"""One evaluation of all label maps: by hand on toy hearts, slice by slice, kept until something changes."""

import dataclasses

import numpy as np
import pytest

from shared.comparison import scored
from shared.errors import InputError
from shared.files import read_json, write_json
from shared.scans import volume
from shared.scans.volume import from_array
from tests import toy_hearts

ABOUT = {"case": "A"}


def test_scores_of_toy_hearts_by_hand(contest):
    found = scored.evaluate(contest)
    assert list(dict.fromkeys(row["method"] for row in found.cases)) == ["exact", "shifted", "short"]
    dice = {(row["method"], row["case"], row["structure"]): row["dice"] for row in found.cases}
    assert len(dice) == 3 * 4 * 3
    assert dice["exact", "patient005_ED", "LV"] == 1
    # RV: 2 x 4 voxels in a slice; shifted by one of the four
    assert dice["shifted", "patient010_ES", "RV"] == pytest.approx(0.75)
    # LV at ED: 64 voxels in slices 1 to 4 of 72
    assert dice["short", "patient005_ED", "LV"] == pytest.approx(2 * 64 / (64 + 72))
    row = next(row for row in found.cases if (row["method"], row["case"], row["structure"]) == ("short", "patient005_ED", "LV"))
    assert (row["volume_ml"], row["reference_ml"]) == (pytest.approx(2.56), pytest.approx(2.88))
    assert (row["patient"], row["phase"], row["group"]) == ("patient005", "ED", "HCM")


def test_slices_by_hand(contest):
    """Six slices with labels: two per third. The apex that a method misses has Dice 0 there."""
    rows = [row for row in scored.evaluate(contest).slices if (row["method"], row["case"]) == ("short", "patient005_ED")]
    lv = [row for row in rows if row["structure"] == "LV"]
    assert [row["third"] for row in lv] == ["base", "base", "middle", "middle", "apex", "apex"]
    assert [row["dice"] for row in lv] == [1, 1, 1, 1, 0, 0]
    assert [row["position"] for row in lv] == pytest.approx([1 / 12, 3 / 12, 5 / 12, 7 / 12, 9 / 12, 11 / 12])
    assert [row["third"] for row in rows if row["structure"] == "RV"] == ["base", "base", "middle", "middle"]


def axis_of(predicted, reference, structures=None, ignore=None, on_short_axis=True):
    volumes = (from_array(each, toy_hearts.SPACING_MM) for each in (predicted, reference))
    return scored.along_axis(*volumes, structures or {3: "LV"}, ABOUT, ignore, on_short_axis)


def test_the_base_is_the_wider_end_wherever_it_is_stored():
    reference, predicted = toy_hearts.heart(), toy_hearts.without_apex(toy_hearts.heart())
    forwards = axis_of(predicted, reference)
    assert axis_of(predicted[..., ::-1], reference[..., ::-1]) == forwards
    assert [row["dice"] for row in forwards] == [1, 1, 1, 1, 0, 0]


def test_other_scans_have_thirds_as_stored():
    reference = toy_hearts.heart()[..., ::-1]
    rows = axis_of(reference, reference, on_short_axis=False)
    assert [row["third"] for row in rows] == [third for third in scored.OTHER_THIRDS for _ in range(2)]


def test_slices_beyond_the_reference_and_ignored_voxels_do_not_count():
    reference, predicted = np.zeros((2, 4, 4, 5), np.uint8)
    reference[1:3, 1:3, 1:4], predicted[1:3, 1:3, :] = 3, 3
    predicted[0, 0, 2], reference[0, 0, 2] = 3, 9
    assert [row["dice"] for row in axis_of(predicted, reference, ignore=9)] == [1, 1, 1]
    assert axis_of(predicted, reference)[1]["dice"] == pytest.approx(2 * 4 / 9)
    assert axis_of(predicted, np.zeros_like(reference)) == []


def test_another_grid_is_refused_with_the_name_of_the_file(contest):
    path = contest.entrants[1].maps["patient010_ED"]
    labels = volume.read_labels(path)
    volume.write(from_array(labels.array[:-1], labels.spacing_mm), path)
    with pytest.raises(InputError, match=r"patient010_ED.nii.gz: shape \(13, 12, 8\) differs from \(14, 12, 8\)"):
        scored.evaluate(contest)


def test_values_that_mean_nothing_are_refused(contest):
    path = contest.entrants[0].maps["patient005_ES"]
    labels = volume.read_labels(path)
    volume.write(labels.with_array(labels.array * 7), path)
    with pytest.raises(InputError, match="patient005_ES.nii.gz.*7"):
        scored.evaluate(contest)


def test_scores_are_kept_until_a_label_map_changes(contest, monkeypatch):
    first = scored.evaluate(contest)
    asked = []
    score = scored.score
    monkeypatch.setattr(scored, "score", lambda contest, entrant: asked.append(entrant.key) or score(contest, entrant))
    assert scored.evaluate(contest) == first and not asked
    path = contest.entrants[1].maps["patient005_ED"]
    volume.write(volume.read_labels(contest.entrants[0].maps["patient005_ED"]), path)
    assert scored.evaluate(contest) != first and asked == ["shifted"]
    (contest.folder / "scores" / "exact.json").write_text("{")
    scored.evaluate(contest)
    assert asked == ["shifted", "exact"]
    scored.evaluate(dataclasses.replace(contest, code="changed"))
    assert asked[2:] == ["exact", "shifted", "short"]


@pytest.mark.parametrize("damage", [
    lambda content: {"key": content["key"]}, lambda content: content | {"cases": 3}, lambda content: content | {"slices": [{}]},
    lambda content: content | {"cases": [row | {"dice": 1.0} for row in content["cases"]]}, lambda content: list(content),
])  # fmt: skip
def test_damaged_scores_are_made_again(contest, damage):
    first, path = scored.evaluate(contest), contest.folder / "scores" / "shifted.json"
    whole = path.read_bytes()
    write_json(path, damage(read_json(path)))
    assert scored.evaluate(contest) == first and path.read_bytes() == whole
