"""The voxels of a case: label values become classes, and scan and reference share one grid."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest

from shared import datasets
from shared.datasets import IGNORED, Case, load_image, load_labels, load_pair, load_reference, pair_of, values_of, values_to_write
from shared.errors import InputError
from tests.shared.datasets.files import AFFINE, labels, write_nifti


def one_case(tmp_path, array, structures=None):
    image = write_nifti(tmp_path / "scan.nii", np.ones((4, 3, 2), np.int16))
    label = write_nifti(tmp_path / "labels.nii", array)
    return Case(patient="p", phase="", image=image, label=label, group="", structures=structures or {1: "RV", 2: "Myo", 3: "LV"})


def test_labels_become_class_indices(tmp_path):
    case = one_case(tmp_path, labels(0, 1, 2, 3, 3))
    for wanted, expected in (
        (("RV", "Myo", "LV"), [0, 1, 2, 3, 3]),
        (("LV", "RV", "Myo"), [0, 2, 3, 1, 1]),
        (("LV",), [0, 0, 0, 1, 1]),  # the others are background
        (("myo", "lv"), [0, 0, 1, 2, 2]),
    ):
        found = load_labels(case, wanted)
        assert found.array.dtype == np.uint8 and found.array.reshape(-1)[:5].tolist() == expected
        assert found.spacing_mm == (1.5, 1.5, 8.0)
        np.testing.assert_array_equal(found.affine, AFFINE)


def test_large_label_values(tmp_path):
    """MM-WHS counts from 205 to 850."""
    case = one_case(tmp_path, labels().astype(np.int16) + np.int16(420), {205: "Myo", 420: "LA", 850: "PA"})
    assert (load_labels(case, ("Myo", "LA")).array == 2).all()


def test_reference_may_lack_a_structure(tmp_path):
    assert load_labels(one_case(tmp_path, labels(0, 3)), ("RV", "LV")).array.max() == 2
    assert not load_labels(one_case(tmp_path, labels()), ("RV", "LV")).array.any()


@pytest.mark.parametrize(("value", "shown"), [(4, "[4]"), (255, "[255]")])
def test_unknown_label_values(tmp_path, value, shown):
    with pytest.raises(InputError) as raised:
        load_labels(one_case(tmp_path, labels(1, value)), ("RV",))
    message = str(raised.value)
    assert "labels.nii" in message and f"unknown label values {shown}" in message and "\n" not in message
    assert "1 RV, 2 Myo, 3 LV" in message


def test_unknown_label_values_where_the_data_set_takes_them_for_background(tmp_path):
    case = replace(one_case(tmp_path, labels(1, 4, 9, 3, 4)), closed=False)
    scan = load_image(case)
    for load, expected in (
        (lambda: load_labels(case, ("LV", "RV")), [2, 0, 0, 1, 0]),
        (lambda: load_pair(case, ("LV", "RV"))[1], [2, 0, 0, 1, 0]),
        (lambda: load_reference(case, scan), [1, 0, 0, 3, 0]),
    ):
        with pytest.warns(UserWarning, match=r"labels.nii: 3 voxels of unknown label values \(4, 9\) count as background"):
            found = load()
        assert found.array.reshape(-1)[:5].tolist() == expected
    write_nifti(case.label, labels(1, 2, 3))
    assert load_labels(case, ("LV", "RV")).array.reshape(-1)[:3].tolist() == [2, 0, 1]  # and no warning


def test_values_of_structures():
    assert values_of({1: "RV", 2: "Myo", 3: "LV"}, ("lv", "MYO")) == {3: 1, 2: 2}
    assert values_of({255: "LA"}, ("LA",)) == {255: 1}
    with pytest.raises(InputError, match="no label for LA, aorta: the data set has RV, Myo, LV"):
        values_of({1: "RV", 2: "Myo", 3: "LV"}, ("LA", "rv", "aorta"))


def test_two_values_of_one_structure(tmp_path):
    """MM-WHS labels one structure 420 in most files and 421 in some."""
    on_disk = {500: "LV", 420: "LA", 421: "LA", 205: "Myo"}
    assert values_of(on_disk, ("Myo", "la")) == {205: 1, 420: 2, 421: 2}
    assert values_to_write(on_disk, ("Myo", "la")) == {205: "Myo", 420: "LA"}
    assert list(values_to_write(on_disk, ("la", "LV"))) == [420, 500]  # the order of the classes
    case = one_case(tmp_path, np.array([0, 205, 420, 421, 500, 0] * 4, np.int16).reshape(4, 3, 2), on_disk)
    assert load_labels(case, ("LA", "Myo")).array.reshape(-1)[:5].tolist() == [0, 2, 1, 1, 0]
    assert datasets.load_reference(case, load_image(case)).array.reshape(-1)[:5].tolist() == [0, 205, 420, 420, 500]


def test_a_cine_is_neither_a_case_nor_a_reference(tmp_path):
    case = one_case(tmp_path, labels(1, 2, 3))
    write_nifti(case.image, np.ones((4, 3, 2, 5), np.int16))
    with pytest.raises(InputError, match="scan.nii: expected one 3D frame, found a cine of 5 frames"):
        load_image(case)
    write_nifti(case.label, np.ones((4, 3, 2, 5), np.uint8))
    with pytest.raises(InputError, match="labels.nii"):
        load_labels(case, ("RV",))


def test_a_case_may_be_a_frame_of_a_cine(tmp_path):
    case = replace(one_case(tmp_path, labels(1, 2, 3)), frame=2)
    write_nifti(case.image, np.stack([np.full((4, 3, 2), value, np.int16) for value in (10, 11, 12, 13)], axis=-1))
    image, found = load_pair(case, ("LV",))
    assert image.array.shape == (4, 3, 2) and (image.array == 12).all() and found.array.max() == 1
    with pytest.raises(InputError, match=r"scan.nii: expected frame 4 \(from 0\), found 4 frames"):
        load_image(replace(case, frame=4))
    write_nifti(case.image, np.ones((4, 3, 2), np.int16))
    assert load_image(replace(case, frame=0)).array.shape == (4, 3, 2)
    with pytest.raises(InputError, match=r"scan.nii: expected frame 1 \(from 0\), found 1 frames"):
        load_image(replace(case, frame=1))


def test_scan_and_reference_of_one_grid(tmp_path):
    case = one_case(tmp_path, labels(1, 2, 3))
    image, found = load_pair(case, ("LV",))
    assert (image.array == 1).all() and found.array.reshape(-1)[:4].tolist() == [0, 0, 1, 0]
    write_nifti(case.label, labels(1, 2, 3)[:, :2])
    with pytest.raises(InputError, match=r"labels.nii: shape \(4, 2, 2\) differs from \(4, 3, 2\) of .*scan.nii"):
        load_pair(case, ("LV",))
    nibabel.save(nibabel.Nifti1Image(labels(1, 2, 3), np.diag([1.5, 1.5, 9.0, 1.0])), case.label)
    with pytest.raises(InputError, match="labels.nii: voxel size .* differs"):
        load_pair(case, ("LV",))


def test_a_mirrored_label_is_brought_onto_the_scan_and_one_elsewhere_is_refused(tmp_path):
    case = one_case(tmp_path, labels(1, 2, 3))
    affine = nibabel.load(case.label).affine
    _, straight = load_pair(case, ("RV", "Myo", "LV"))
    turn = np.diag([-1.0, -1, 1, 1])
    turn[:2, 3] = 3, 2
    nibabel.save(nibabel.Nifti1Image(labels(1, 2, 3)[::-1, ::-1], affine @ turn), case.label)
    np.testing.assert_array_equal(load_pair(case, ("RV", "Myo", "LV"))[1].array, straight.array)
    np.testing.assert_array_equal(load_reference(case, load_image(case)).array, labels(1, 2, 3))
    affine[0, 3] += 60
    nibabel.save(nibabel.Nifti1Image(labels(1, 2, 3), affine), case.label)
    for load in (lambda: load_pair(case, ("LV",)), lambda: load_reference(case, load_image(case))):
        with pytest.raises(InputError, match="labels.nii: lies elsewhere than .*scan.nii: voxel .* at .* mm, expected .* mm"):
            load()


@pytest.mark.parametrize(
    ("on_disk", "ignore", "found", "wanted", "expected"),
    [
        ({255: "LA"}, None, [0, 255, 255, 0], ("LA",), [0, 1, 1, 0]),
        ({205: "Myo", 420: "LA", 421: "LA", 500: "LV"}, None, [0, 205, 421, 420, 500], ("la", "Myo"), [0, 2, 1, 1, 0]),
        ({1: "RV", 2: "Myo", 3: "LV"}, 4, [0, 1, 2, 3, 4], ("LV", "RV"), [0, 2, 0, 1, IGNORED]),
        ({1: "LV"}, 255, [1, 255], ("LV",), [1, IGNORED]),
    ],
    ids=["255 as in LASC", "several values of one name", "ignore", "ignore as 255"],
)
def test_a_pair_follows_from_what_was_read_for_scoring(tmp_path, on_disk, ignore, found, wanted, expected):
    case = replace(one_case(tmp_path, labels().astype(np.int16), on_disk), ignore=ignore)
    array = labels().astype(np.int16)
    array.reshape(-1)[: len(found)] = found
    turn = np.diag([-1.0, -1, 1, 1])
    turn[:2, 3] = 3, 2
    nibabel.save(nibabel.Nifti1Image(array[::-1, ::-1], AFFINE @ turn), case.label)
    scan = load_image(case)
    reference = load_reference(case, scan)
    loaded = load_pair(case, wanted)
    for path in (case.image, case.label):
        path.unlink()
    image, classes = pair_of(case, scan, reference, wanted)
    assert classes.array.dtype == np.uint8 and classes.array.reshape(-1)[: len(found)].tolist() == expected
    for before, after in zip(loaded, (image, classes), strict=True):
        np.testing.assert_array_equal(after.array, before.array)
        np.testing.assert_array_equal(after.affine, before.affine)
        assert after.spacing_mm == before.spacing_mm == (1.5, 1.5, 8.0)
    with pytest.raises(InputError, match="no label for RA: the data set has"):
        pair_of(case, scan, reference, ("RA",))


def test_a_scan_with_its_slices_first_is_learnt_as_one_with_its_slices_last(tmp_path):
    case = one_case(tmp_path, labels(1, 2, 3))
    ordered = load_pair(case, ("RV", "Myo", "LV"))
    for path in (case.image, case.label):
        image = nibabel.load(path)
        array = np.moveaxis(np.array(image.dataobj), 2, 0)  # a copy: the file is written again
        nibabel.save(nibabel.Nifti1Image(array, image.affine[:, [2, 0, 1, 3]]), path)
    assert load_image(case).array.shape == (2, 4, 3)
    for before, after in zip(ordered, load_pair(case, ("RV", "Myo", "LV")), strict=True):
        np.testing.assert_array_equal(after.array, before.array)
        np.testing.assert_allclose(after.affine, before.affine)
