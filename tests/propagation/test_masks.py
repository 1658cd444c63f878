"""Biventricular masks, base and apex on label maps small enough to work out by hand, and the lists of base slices."""

import os
from pathlib import Path

import numpy as np
import pytest

from propagation.masks import base_and_apex, biventricular, distance_mm, load, read_bases, wall_of, wall_on
from shared import datasets, phantom
from shared.errors import InputError
from shared.phantom import biventricular_walls
from shared.scans import volume
from shared.scoring import metrics
from tests import toy_hearts

RV, MYO, LV = 1, 2, 3


def one_slice(rows, spacing_mm=(1.0, 1.0, 8.0)):
    """A volume of one slice from rows of digits: x counts rows, y columns."""
    array = np.array([[int(digit) for digit in row] for row in rows.split()], np.uint8)
    return volume.from_array(array[..., None], spacing_mm)


def drawn(mask):
    """The only slice of a mask, as rows of digits."""
    return " ".join("".join(map(str, row)) for row in mask.array[..., 0].tolist())


# The ring -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rv_wall_mm", "expected"),
    [  # voxels of 1 mm: from the side of the RV's voxel 0.5 and 1.5 mm, from its corners 0.71, 1.58 and 2.12 mm
        (0.49, "0000000 0000000 0000000 0000000 0000000 0000000 0000000"),
        (0.5, "0000000 0000000 0001000 0010100 0001000 0000000 0000000"),
        (0.75, "0000000 0000000 0011100 0010100 0011100 0000000 0000000"),
        (1.5, "0000000 0001000 0011100 0110110 0011100 0001000 0000000"),
        (1.6, "0000000 0011100 0111110 0110110 0111110 0011100 0000000"),
        (2.2, "0000000 0111110 0111110 0110110 0111110 0111110 0000000"),
    ],
)
def test_ring_around_one_voxel(rv_wall_mm, expected):
    alone = one_slice("0000000 0000000 0000000 0001000 0000000 0000000 0000000")
    assert drawn(biventricular(alone, rv_wall_mm)) == expected


@pytest.mark.parametrize(
    ("rv_wall_mm", "expected"),
    [  # 0.5 mm to the next voxel along x, 1.0 along y, 1.12 to the diagonal one, 1.5 to the second along x
        (0.6, "00000 00100 00000 00100 00000"),
        (1.0, "00000 00100 01010 00100 00000"),
        (1.2, "00000 01110 01010 01110 00000"),
        (1.5, "00100 01110 01010 01110 00100"),
    ],
)
def test_ring_of_voxels_that_are_not_square(rv_wall_mm, expected):
    alone = one_slice("00000 00000 00100 00000 00000", spacing_mm=(1.0, 2.0, 8.0))
    assert drawn(biventricular(alone, rv_wall_mm)) == expected


@pytest.mark.parametrize(("rv_wall_mm", "voxels"), [(0.7, 0), (0.8, 1), (2.0, 1), (2.3, 2), (3.0, 2), (3.7, 2), (4.0, 3)])
def test_a_straight_wall_is_as_thick_as_asked_rounded_to_voxels(rv_wall_mm, voxels):
    half = one_slice("1110000000 " * 4, spacing_mm=(1.5, 1.5, 10.0))
    assert drawn(biventricular(half, rv_wall_mm)).split() == ["000" + "1" * voxels + "0" * (7 - voxels)] * 4


def test_ring_enters_neither_cavity_and_the_wall_of_the_lv_is_kept():
    labels = one_slice("0000000 0110233 0110233 0000220 2000000")
    thin = biventricular(labels, 1.0)  # next to the RV, at its corners too
    assert drawn(thin) == "1111000 1001100 1001100 1111110 1000000"
    thick = biventricular(labels, 20.0)  # reaches across the LV
    assert drawn(thick) == "1111111 1001100 1001100 1111111 1111111"


def test_ring_stays_in_its_slice():
    array = np.zeros((5, 5, 4), np.uint8)
    array[2, 2, 1] = RV
    array[0, :, 2] = MYO
    labels = volume.from_array(array, (1.0, 1.0, 0.1))
    mask = biventricular(labels, 1.5)
    assert [int(mask.array[..., z].sum()) for z in range(4)] == [0, 12, 5, 0]
    np.testing.assert_array_equal(mask.array[..., 2], array[..., 2] == MYO)


def test_without_rv_only_the_lv_has_a_wall():
    labels = one_slice("02220 02320 02220")
    assert drawn(biventricular(labels, 3.0)) == "01110 01010 01110"
    assert not biventricular(one_slice("000 000"), 3.0).array.any()


def test_rv_at_the_border_of_the_scan():
    assert drawn(biventricular(one_slice("110 000 000"), 0.5)) == "001 110 000"


def test_mask_lies_on_the_grid_of_the_labels_which_stay_as_they_are():
    array = np.array([[[1, 0], [0, 2], [3, 0]]], np.uint8)
    affine = np.array([[0, -1.2, 0, 7], [1.5, 0, 0, -3], [0, 0, 8, 2], [0, 0, 0, 1]])
    labels = volume.Volume(array.copy(), (1.5, 1.2, 8.0), affine)
    mask = biventricular(labels, 1.0)
    assert mask.array.dtype == np.uint8 and mask.array.shape == (1, 3, 2) and mask.spacing_mm == (1.5, 1.2, 8.0)
    np.testing.assert_array_equal(mask.affine, affine)
    np.testing.assert_array_equal(labels.array, array)
    assert mask.array.tolist() == [[[0, 0], [1, 1], [0, 0]]]


@pytest.mark.parametrize("rv_wall_mm", [0.0, -2.0, float("nan")])
def test_a_wall_without_thickness(rv_wall_mm):
    with pytest.raises(InputError, match="rv_wall_mm: expected a thickness above 0 mm, found"):
        biventricular(one_slice("111"), rv_wall_mm)


def test_the_wall_of_another_label_map_begins_at_the_base_of_the_reference():
    """As masks do that are carried from there on. A label map without a cavity is no error."""
    known = {1: "RV", 2: "Myo", 3: "LV"}
    case = datasets.Case(patient="a", phase="ED", image=Path("a"), label=Path("b"), group="", structures=known)
    reference = volume.from_array(toy_hearts.heart(), toy_hearts.SPACING_MM)
    wall = wall_on(case, reference, reference, 4.0).array
    np.testing.assert_array_equal(wall_of(case, reference, reference, 4.0).array, wall)
    above = toy_hearts.heart()
    above[..., 0] = above[..., 1]  # a slice more than the reference has
    np.testing.assert_array_equal(wall_of(case, reference.with_array(above), reference, 4.0).array, wall)
    myocardium = reference.with_array(above * np.uint8(above == MYO))
    np.testing.assert_array_equal(wall_of(case, myocardium, reference, 4.0).array, toy_hearts.heart() == MYO)
    assert not wall_of(case, reference.with_array(np.zeros_like(above)), reference, 4.0).array.any()


def test_distances_from_the_area_of_a_mask():
    mask = np.zeros((3, 4), bool)
    mask[0, 0] = True
    expected = [[0, 1, 3, 5], [1.5, 1.8028, 3.3541, 5.2202], [4.5, 4.6098, 5.4083, 6.7268]]  # 3 x 2 mm: half of it less each way
    np.testing.assert_allclose(distance_mm(mask, (3.0, 2.0)), expected, atol=1e-4)


def test_the_ring_is_the_wall_that_the_phantom_was_drawn_with():
    patient = phantom.draw_patient(1, "NOR", seed=3)
    _, label, spacing_mm = phantom.render(patient, 0)
    labels = volume.from_array(label, spacing_mm)
    mask = biventricular(labels, patient.rv_wall_mm).array
    assert metrics.dice(mask, biventricular_walls(patient)) > 0.97
    assert metrics.dice(label == MYO, biventricular_walls(patient)) < 0.9  # the ring counts


# Base and apex --------------------------------------------------------------------------------------------------------------


def stack(*slices):
    """A volume whose slices hold the given classes."""
    array = np.zeros((2, 2, len(slices)), np.uint8)
    for z, classes in enumerate(slices):
        array.reshape(4, -1)[: len(classes), z] = classes
    return volume.from_array(array)


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ([(), (MYO, LV), (RV, MYO, LV), (RV, MYO, LV), (MYO, LV), (MYO,), ()], (2, 4)),  # LV above the RV does not count
        ([(RV,), (RV, MYO, LV), (MYO,)], (0, 1)),  # RV above the LV does
        ([(), (MYO,), (MYO, LV), (MYO, LV), ()], (2, 3)),  # no RV
        ([(RV, MYO, LV)], (0, 0)),
        ([(), (RV,), (), (LV,), (), (LV,)], (1, 5)),  # gaps do not matter
        ([(LV,), (RV, LV), (RV,), (RV,)], (1, 1)),  # RV below the LV's apex does not count
    ],
)
def test_base_and_apex(slices, expected):
    assert base_and_apex(stack(*slices)) == expected


@pytest.mark.parametrize("slices", [[(), ()], [(MYO,), (MYO,)], [(RV,), (RV, MYO)]])
def test_neither_base_nor_apex(slices):
    with pytest.raises(InputError, match="no LV cavity"):
        base_and_apex(stack(*slices))


# Lists of base slices -------------------------------------------------------------------------------------------------------


def write(tmp_path, text):
    path = tmp_path / "bases.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_bases(tmp_path):
    path = write(tmp_path, "patient,ed_base,ed_apex,es_base,source\npatient001,1,9,2,gt\np2,0,,,\n\n p3 , ,x, 11 ,pred\n")
    assert read_bases(path) == {("patient001", "ED"): 1, ("patient001", "ES"): 2, ("p2", "ED"): 0, ("p3", "ES"): 11}


def test_bases_as_a_spreadsheet_saves_them(tmp_path):
    path = write(tmp_path, b"\xef\xbb\xbfes_base,patient,ed_base\r\n4,v1,3\r\n5,v2\r\n")
    assert read_bases(str(path)) == {("v1", "ED"): 3, ("v1", "ES"): 4, ("v2", "ES"): 5}


def test_a_list_of_nobody(tmp_path):
    assert read_bases(write(tmp_path, "patient,ed_base,es_base\n")) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("patient,ed_base,es_base\na,1,2\nb,-1,2\n", "row 3, column ed_base: expected a slice number .* found '-1'"),
        ("patient,ed_base,es_base\na,1,2.0\n", "row 2, column es_base: expected a slice number .* found '2.0'"),
        ("patient,ed_base,es_base\na,1,two\n", "row 2, column es_base: .* found 'two'"),
        ("patient,ed_base,es_base\na,²,2\n", "row 2, column ed_base: .* found '²'"),
        ("patient,ed_base,es_base\na,1,2\n\na,1,2\n", "row 4, column patient: .* found 'a'"),
        ("patient,ed_base,es_base\n,1,2\n", "row 2, column patient: .* found ''"),
        ("ed_base,es_base,patient\n1,2\n", "row 2, column patient: .* found ''"),
        ("patient,ed_base\na,1\n", "no column es_base; found patient, ed_base"),
        ("patient;ed_base;es_base\na;1;2\n", "no column patient, ed_base, es_base; found patient;ed_base;es_base"),
        ("patient,ed_base,es_base\na,\u0663,2\n", "row 2, column ed_base: .* found '\u0663'"),
        ("patient,ed_base,es_base\na," + "9" * 5000 + ",2\n", "row 2, column ed_base: .* found '9{40}'"),
        ("patient,ed_base,es_base\n" + 2 * ("a" * 5000 + ",1,2\n"), "row 3, column patient: .* found 'a{40}'"),
        ("x" * 5000 + "\n", "no column patient, ed_base, es_base; found x{100}$"),
        ("", "no column patient, ed_base, es_base; found an empty file"),
        (b"\xff\xfe\x00p\x00a", "expected a CSV file of base slices"),
    ],
)
def test_bases_that_cannot_be_read(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=f"bases.csv: {words}") as raised:
        read_bases(path)
    assert "\n" not in str(raised.value)


def test_missing_list_of_bases(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match=f"{path}: expected a CSV file of base slices"):
            read_bases(path)


# ACDC itself, where somebody has it -----------------------------------------------------------------------------------------

PUBLISHED = {  # the authors' list for the training patients: ED base, ES base, ES apex
    "patient001": (1, 2, 9), "patient006": (2, 3, 10), "patient028": (0, 1, 6), "patient035": (0, 2, 11),
    "patient047": (0, 1, 7), "patient054": (0, 1, 6), "patient085": (0, 0, 13), "patient088": (1, 4, 14),
}  # fmt: skip


def test_real_base_and_apex_are_those_that_the_authors_published():
    root = Path(os.environ.get("CARDIAC_DATA", "")) / "acdc"
    if not os.environ.get("CARDIAC_DATA") or not root.is_dir():
        pytest.skip("no ACDC: the environment variable CARDIAC_DATA names the folder that holds acdc/")
    found = {
        case.name: base_and_apex(datasets.load_labels(case, ("RV", "Myo", "LV")))
        for case in datasets.find("acdc", root)
        if case.patient in PUBLISHED
    }
    assert len(found) == 2 * len(PUBLISHED)
    assert {name: (found[f"{name}_ED"][0], *found[f"{name}_ES"]) for name in PUBLISHED} == PUBLISHED


# A heart annotated in part --------------------------------------------------------------------------------------------------


def test_a_heart_that_is_not_annotated_in_full_is_refused(tmp_path):
    labels = np.zeros((12, 12, 4), np.uint8)
    labels[2:6, 2:6], labels[6:9, 2:6] = MYO, LV
    volume.write(volume.from_array(labels, (1.5, 1.5, 8.0)), tmp_path / "gt.nii")
    case = datasets.Case(patient="p", phase="ED", image=tmp_path / "gt.nii", label=tmp_path / "gt.nii", group="",
                         structures={RV: "RV", MYO: "Myo", LV: "LV"}, ignore=9)  # fmt: skip
    assert load(case, 3.75).wall.array.any()  # the label exists, and no voxel has it
    labels[0, 0, 0] = 9
    volume.write(volume.from_array(labels, (1.5, 1.5, 8.0)), tmp_path / "gt.nii")
    with pytest.raises(InputError, match="gt.nii: has voxels labelled ignore; expected a heart annotated in full"):
        load(case, 3.75)
