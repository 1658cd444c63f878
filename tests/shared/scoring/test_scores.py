"""One case -> rows: every measure by hand, undefined where one mask is empty, the same in any order of axes."""

import math

import numpy as np
import pytest

from shared.datasets import acdc
from shared.errors import InputError
from shared.scans import orientation
from shared.scans.volume import from_array
from shared.scoring import scores, statistics
from tests.volumes import line


def test_score_by_hand():
    predicted = from_array(line(1, 1, 0, 0, 2, 0, 0), (2.0, 5.0, 10.0))  # 0.1 ml a voxel
    reference = from_array(line(1, 0, 0, 0, 2, 2, 2), (2.0, 5.0, 10.0))
    rows = scores.score(predicted, reference, acdc.STRUCTURES, {"case": "a_ED", "phase": "ED"})
    columns = [
        "case",
        "phase",
        "structure",
        "dice",
        "jaccard",
        "sensitivity",
        "hausdorff_mm",
        "assd_mm",
        "asd_mm",
        "hausdorff_voxels",
        "hausdorff_slice_mm",
        "volume_ml",
        "reference_ml",
    ]
    assert [list(row) for row in rows] == [columns] * 3
    rv, myo, lv = ([row[c] for c in columns[2:]] for row in rows)
    assert rv == ["RV", *map(pytest.approx, (2 / 3, 1 / 2, 1, 2, (1 + 0) / 2, 2 / 3, 1, 2, 0.2, 0.1))]
    assert myo == ["Myo", *map(pytest.approx, (2 / 4, 1 / 3, 1 / 3, 4, (0 + 2) / 2, 6 / 4, 2, 4, 0.1, 0.3))]
    assert lv[:3] == ["LV", 1, 1] and math.isnan(lv[3]) and lv[4:] == [0] * 7  # in neither: perfect agreement
    assert all(row["case"] == "a_ED" and row["phase"] == "ED" for row in rows)


@pytest.mark.parametrize(("spacing_mm", "hd_mm", "slicewise_mm"), [((2, 2, 2), 6, 2), ((0.5, 1, 2), 6, 1)])
def test_hausdorff_in_three_ways(spacing_mm, hd_mm, slicewise_mm):
    """One voxel against itself moved by one along y, and one three slices above, where the reference has nothing."""
    predicted, reference = np.zeros((3, 3, 5), np.uint8), np.zeros((3, 3, 5), np.uint8)
    reference[1, 1, 0] = predicted[1, 2, 0] = predicted[1, 1, 3] = 1
    (row,) = scores.score(from_array(predicted, spacing_mm), from_array(reference, spacing_mm), {1: "LA"}, {"case": "a"})
    assert (row["hausdorff_mm"], row["hausdorff_voxels"], row["hausdorff_slice_mm"]) == (hd_mm, 3, slicewise_mm)


def test_one_empty_mask_is_undefined_not_zero():
    rows = scores.score(from_array(line(1, 0)), from_array(line(1, 3)), {1: "RV", 3: "LV"}, {"case": "a"})
    distances = ("hausdorff_mm", "assd_mm", "asd_mm", "hausdorff_voxels", "hausdorff_slice_mm")
    assert rows[1]["dice"] == 0 and all(math.isnan(rows[1][measure]) for measure in distances)
    assert statistics.summary(row["assd_mm"] for row in rows) == statistics.Summary(0, 0, 0, 0, 0, 1)


@pytest.mark.parametrize(
    "reference",
    [from_array(np.ones((4, 4, 3))), from_array(np.ones((4, 4, 2)), (1, 1, 8)), from_array(np.ones((4, 4, 2, 2)))],
    ids=["slices", "spacing", "frames"],
)
def test_another_grid_is_refused(reference):
    predicted = from_array(np.ones((4, 4, 2)))
    for pair in ((predicted, reference), (reference, predicted)):
        with pytest.raises(InputError) as raised:
            scores.score(*pair, {1: "LA"}, {"case": "patient7"})
        assert "patient7" in str(raised.value) and "\n" not in str(raised.value)


def test_the_order_of_axes_changes_no_score():
    """Slice-wise distances are those of the slices, wherever their axis stands, in either file."""
    random = np.random.default_rng(0)
    reference, predicted = (from_array(random.integers(0, 4, (7, 6, 4)), (1.5, 1.5, 10.0)) for _ in range(2))
    rows = scores.score(predicted, reference, acdc.STRUCTURES, {"case": "a"})
    for axes in ((2, 0, 1), (1, 0, 2), (2, 1, 0)):
        turned = orientation.transpose(reference, axes)
        for each in (predicted, orientation.transpose(predicted, axes)):
            found = scores.score(each, turned, acdc.STRUCTURES, {"case": "a"})
            assert found == [pytest.approx(row) for row in rows]


def test_slices_by_hand():
    """A square moved by a pixel of 2 mm in slice 0, found where nothing is in slice 1, nothing at all in slice 2."""
    predicted, reference = np.zeros((5, 5, 3), np.uint8), np.zeros((5, 5, 3), np.uint8)
    reference[1:3, 1:3, 0], predicted[2:4, 1:3, 0], predicted[0, 0, 1] = 3, 3, 3
    pair = [from_array(array, (2.0, 3.0, 8.0)) for array in (predicted, reference)]
    first, second = scores.score_slices(*pair, {3: "LV", 1: "RV"}, {"case": "a_ED", "phase": "ED"})
    assert [first[key] for key in ("case", "phase", "slice", "structure")] == ["a_ED slice 0", "ED", 0, "LV"]
    assert [first[key] for key in ("dice", "sensitivity", "hausdorff_mm", "assd_mm")] == [0.5, 0.5, 2.0, 1.0]
    assert (second["slice"], second["dice"]) == (1, 0) and math.isnan(second["hausdorff_mm"])
    assert math.isnan(second["sensitivity"]) and first.keys() == second.keys()


def test_distances_of_a_slice_are_those_of_outlines_in_2d():
    """In a stack of one slice every pixel would be a surface voxel, and the hole of a ring no distance from a disc."""
    disc = np.zeros((9, 9, 1), np.uint8)
    disc[1:8, 1:8] = 1
    ring = disc.copy()
    ring[3:6, 3:6] = 0
    (row,) = scores.score_slices(from_array(ring), from_array(disc), {1: "Myo"}, {"case": "a"})
    assert row["hausdorff_mm"] == 1.0  # from the inner outline of the ring, on rows 2 and 6, to rows 1 and 7


def test_slices_leave_ignored_voxels_out_and_follow_their_axis():
    random = np.random.default_rng(0)
    reference, predicted = (from_array(random.integers(0, 4, (7, 6, 4)), (1.5, 1.5, 10.0)) for _ in range(2))
    rows = scores.score_slices(predicted, reference, {1: "RV"}, {"case": "a"}, ignore=2)
    turned = [orientation.transpose(each, (2, 0, 1)) for each in (predicted, reference)]
    assert scores.score_slices(*turned, {1: "RV"}, {"case": "a"}, ignore=2) == rows and len(rows) == 4
    ignored = predicted.with_array(np.where(reference.array == 2, 0, predicted.array))
    assert scores.score_slices(ignored, reference, {1: "RV"}, {"case": "a"}) == rows
