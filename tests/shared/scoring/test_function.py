"""Ejection fractions that clinicians could believe: which frames count, and what is doubtful."""

import math

import pytest

from shared.scoring import function

ACDC = {1: "RV", 2: "Myo", 3: "LV"}


def row(lv_ml, frame=1, scan="a.nii", rv_ml=50.0, myo_ml=80.0):
    return {"scan": scan, "frame": frame, "RV_ml": rv_ml, "Myo_ml": myo_ml, "LV_ml": lv_ml}


def cine(*lv_ml):
    """Rows of a cine whose RV goes with its LV."""
    return [row(ml, frame, "cine.nii", rv_ml=ml) for frame, ml in enumerate(lv_ml, start=1)]


# Which frames are ED and ES -------------------------------------------------------------------------------------------------


def test_the_largest_and_the_smallest_frame_of_a_cine():
    found = function.of_cine(cine(100, 120, 60, 90), ACDC)
    assert (found["ed_frame"], found["es_frame"], found["LV_ef_percent"]) == (2, 3, 50)
    assert found["Myo_mass_g"] == pytest.approx(1.05 * 80)


@pytest.mark.parametrize(
    ("volumes", "missed", "es_frame"),
    [
        ((100, 60, 0), "frame 3", 2),
        ((0, 100, 60, 80), "frame 1", 3),
        ((100, 7.9, 60, 80, 90), "frame 2", 3),  # 10 % of the median 80 are 8
        ((100, 0, 60, 0, 0), "frame 2, 4, 5", 3),  # the median is 0, whatever is there counts
    ],
)
def test_a_frame_without_lv_is_no_end_systole_and_is_named(volumes, missed, es_frame):
    with pytest.warns(UserWarning, match=f"cine.nii: ED and ES .*hardly any, was found in {missed}\\)"):
        found = function.of_cine(cine(*volumes), ACDC)
    assert found["es_frame"] == es_frame and found["LV_ef_percent"] == 40


def test_just_ten_percent_of_the_median_counts():
    with pytest.warns(UserWarning, match="above 90 % is not credible"):
        assert function.of_cine(cine(100, 8, 60, 80, 90), ACDC)["es_frame"] == 2


@pytest.mark.parametrize("volumes", [(100,), (0,), (0, 0, 0), (100, 0, 0)])
def test_fewer_than_two_frames_with_lv_give_no_ejection_fraction(volumes):
    with pytest.warns(UserWarning, match=f"no ejection fraction, since only {sum(v > 0 for v in volumes)} of {len(volumes)}"):
        assert function.of_cine(cine(*volumes), ACDC) is None


# What is doubtful -----------------------------------------------------------------------------------------------------------


def test_a_plausible_pair_is_silent():
    found = function.function(row(100, scan="ed.nii"), row(40, scan="es.nii", rv_ml=25), ACDC)
    assert (found["LV_ef_percent"], found["RV_ef_percent"]) == (60, 50)


def test_larger_at_es_names_both_scans():
    with pytest.warns(UserWarning, match=r"LV: 60.0 ml at ED \(ed.nii.*134.0 ml at ES \(es.nii.*swapped"):
        found = function.function(row(60, scan="ed.nii"), row(134, scan="es.nii", rv_ml=40), ACDC)
    assert found["LV_ef_percent"] == pytest.approx(100 * (60 - 134) / 60)


@pytest.mark.parametrize(("ed_ml", "es_ml"), [(100, 0), (0, 100), (0, 0)])
def test_an_empty_cavity_gives_an_empty_cell(ed_ml, es_ml):
    with pytest.warns(UserWarning, match="LV: .*not found in one of them"):
        found = function.function(row(ed_ml, scan="ed.nii"), row(es_ml, scan="es.nii", rv_ml=40), ACDC)
    assert math.isnan(found["LV_ef_percent"]) and found["RV_ef_percent"] == 20


def test_one_frame_as_both_ed_and_es():
    with pytest.warns(UserWarning, match="LV: ED and ES are the same frame"):
        found = function.function(row(100), row(100), {3: "LV"})
    assert math.isnan(found["LV_ef_percent"])


def test_a_ventricle_that_does_not_move():
    with pytest.warns(UserWarning, match="RV: .*does not move"):
        function.function(row(100, scan="ed.nii"), row(50, scan="es.nii"), ACDC)
