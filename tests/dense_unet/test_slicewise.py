"""Slices that the criteria remove count nowhere; slices and the base are scored in 2D."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from dense_unet import slicewise
from dense_unet.basal import CLOSED, HALF
from shared.datasets import Case
from shared.datasets.acdc import STRUCTURES
from shared.files import read_csv
from shared.scans import orientation
from shared.scoring import scores
from tests.dense_unet.rings import LV, MYO, slice_of, volume

CASE = Case(patient="p", phase="ED", image=Path("p"), label=None, group="DCM", structures=STRUCTURES)
FULL, APEX = slice_of(), slice_of(radii_px=(8, 8))
REFERENCE = volume(slice_of(gap_deg=200), slice_of(gap_deg=90), FULL, FULL, FULL, APEX)


def moved(labels, by=4):
    return labels.with_array(np.roll(labels.array, by, axis=0))


def pair(predicted, reference, least):
    found = slicewise.surroundings(CASE, reference, reference)
    return found, *(slicewise.without_removed(each, found.kept(least)) for each in (predicted, reference))


@pytest.mark.parametrize(("least", "removed"), [(HALF, [0]), (CLOSED, [0, 1])])
def test_removed_slices_count_neither_as_missed_nor_as_found(least, removed):
    """Scores are those of a scan that never had the removed slices, whatever was predicted there."""
    predicted = moved(REFERENCE)
    predicted.array[:, :, 0] = LV
    _, ours, theirs = pair(predicted, REFERENCE, least)
    kept = [z for z in range(6) if z not in removed]
    cut = [each.with_array(each.array[..., kept]) for each in (predicted, REFERENCE)]
    about = {"case": "p_ED", "patient": "p", "phase": "ED", "group": ""}
    assert str(scores.score(ours, theirs, STRUCTURES, about)) == str(scores.score(*cut, STRUCTURES, about))  # NaN is not NaN


def test_slices_are_removed_along_the_axis_that_they_lie_on():
    turned = orientation.transpose(REFERENCE, (2, 0, 1))
    kept = slicewise.surroundings(CASE, turned, turned).kept(CLOSED)
    np.testing.assert_array_equal(
        orientation.transpose_back(slicewise.without_removed(turned, kept), (2, 0, 1)).array,
        slicewise.without_removed(REFERENCE, kept).array,
    )
    assert kept.tolist() == [False, False, True, True, True, True]


def test_a_data_set_without_the_names_is_warned_of():
    other = dataclasses.replace(CASE, structures={1: "RV", 2: "Myo", 3: "blood"})
    with pytest.warns(UserWarning, match=r"no structure is called LV \(RV, Myo, blood\): no criterion removes a slice"):
        assert slicewise.surroundings(other, REFERENCE, REFERENCE).kept(CLOSED).all()


@pytest.mark.parametrize(("least", "base", "slices"), [(HALF, 1, [1, 2, 3, 4, 5]), (CLOSED, 2, [2, 3, 4, 5])])
def test_the_base_is_the_first_slice_that_is_kept(least, base, slices):
    found, ours, theirs = pair(moved(REFERENCE), REFERENCE, least)
    compared = slicewise.compare(CASE, found, ours, theirs, {LV: "LV", MYO: "Myo"}, least)
    assert [row["slice"] for row in compared.rows if row["structure"] == "LV"] == slices
    place = f"p_ED slice {base}"
    assert [(row["structure"], row["case"]) for row in compared.basal] == [("LV", place), ("Myo", place)]
    assert all(row["hausdorff_mm"] == 4.0 for row in compared.basal if row["structure"] == "LV")  # moved by four pixels of 1 mm


def test_the_tables_and_lines_of_a_run(tmp_path):
    found, ours, theirs = pair(moved(REFERENCE), REFERENCE, CLOSED)
    one = slicewise.compare(CASE, found, ours, theirs, {LV: "LV", MYO: "Myo"}, CLOSED)
    empty = REFERENCE.with_array(np.zeros_like(REFERENCE.array))
    nothing = slicewise.compare(CASE, *pair(empty, empty, CLOSED), {LV: "LV"}, CLOSED)
    lines = slicewise.write(tmp_path, [one, nothing], CLOSED)
    assert lines[0] == "Only slices whose myocardium is closed around the LV count: 2 of 12 are left out (ED 2)."
    assert any(line.startswith("| LV | 1 | 0.9") and line.endswith("| 4.0 |") for line in lines)
    assert len(read_csv(tmp_path / "scores_slices.csv")) == 8 and len(read_csv(tmp_path / "scores_basal.csv")) == 2
    rows = read_csv(tmp_path / "slices.csv")
    assert len(rows) == 12 and [row["kept_by_a"] for row in rows[:3]] == [0, 1, 1] and rows[0]["group"] == "DCM"
    assert "around at least 50 % of the LV count: 1 of 6" in slicewise.removed_line([one], HALF)
