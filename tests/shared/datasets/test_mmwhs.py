"""MM-WHS 2017: CT and MR as two data sets of one folder, and what their label values mean."""

import nibabel
import numpy as np
import pytest

from shared import datasets, prediction_jobs
from shared.datasets import load_image, load_labels, load_reference, splits, values_to_write
from shared.datasets.case import known_name
from tests.shared.datasets.files import AFFINE, real, refusal, write_nifti

NAMES = ("LV", "Myo", "RV", "LA", "RA", "AA", "PA")  # as in the paper's tables
VALUES = (500, 205, 600, 420, 550, 820, 850)


def values(*first):
    """(4, 3, 2), the given values first."""
    array = np.zeros((4, 3, 2), np.int16)
    array.reshape(-1)[: len(first)] = first
    return array


def write(root, name, folder=None, label=(0, *VALUES), suffix=".nii.gz"):
    """A scan of `name`, such as ct_train_1001, in `folder`, with its reference unless that is None."""
    folder = root / (folder or name[:-5])
    write_nifti(folder / f"{name}_image{suffix}", np.full((4, 3, 2), int(name[-2:]), np.int16))
    if label is not None:
        write_nifti(folder / f"{name}_label{suffix}", values(*label))


def test_mmwhs(tmp_path):
    for number in (1003, 1001, 1020):
        write(tmp_path, f"ct_train_{number}")
    write(tmp_path, "mr_train_1001", label=None)
    write(tmp_path, "mr_train_1002", suffix=".nii")
    write(tmp_path, "ct_test_2001", label=None)
    (tmp_path / "ct_train" / "._ct_train_1004_image.nii.gz").write_bytes(b"Mac OS X")
    (tmp_path / "ct_train" / "ct_train_1005_image.txt").write_text("no scan")
    (tmp_path / "ct_train" / "ct_train_1006_image.nii.gz").mkdir()
    ct, mr = (datasets.find(f"mmwhs_{modality}", tmp_path) for modality in ("ct", "mr"))
    assert [(case.name, case.patient, case.phase, case.group) for case in ct] == [
        (f"ct_train_{number}", f"ct_train_{number}", "", "CT") for number in (1001, 1003, 1020)
    ]  # fmt: skip
    assert [(case.name, case.group, case.image.name, case.label and case.label.name) for case in mr] == [
        ("mr_train_1001", "MR", "mr_train_1001_image.nii.gz", None),
        ("mr_train_1002", "MR", "mr_train_1002_image.nii", "mr_train_1002_label.nii"),
    ]
    assert [np.unique(load_image(case).array).tolist() for case in ct] == [[1], [3], [20]]
    assert load_labels(ct[0], NAMES).array.reshape(-1)[:8].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert values_to_write(ct[0].structures, NAMES) == dict(zip(VALUES, NAMES, strict=True))
    assert [known_name(name.lower()) for name in NAMES] == list(NAMES)


def test_label_maps_whose_scan_has_another_name_are_counted(tmp_path):
    for number in (1001, 1002, 1003):
        write(tmp_path, f"ct_train_{number}")
    for number in (1002, 1003):
        (tmp_path / "ct_train" / f"ct_train_{number}_image.nii.gz").rename(tmp_path / "ct_train" / f"scan{number}.nii.gz")
    words = "without an image are left out: 2, such as ct_train_1002_label.nii.gz, which needs ct_train_1002_image.nii.gz"
    with pytest.warns(UserWarning, match=words):
        assert [case.patient for case in datasets.find("mmwhs_ct", tmp_path)] == ["ct_train_1001"]


def test_the_folders_of_the_archives(tmp_path):
    write(tmp_path, "ct_train_1011", "ct_train2")
    write(tmp_path, "ct_train_1001", "ct_train1")
    assert [case.patient for case in datasets.find("mmwhs_ct", tmp_path)] == ["ct_train_1001", "ct_train_1011"]
    write(tmp_path, "ct_train_1001", "ct_train")
    assert "ct_train/ct_train_1001_image.nii.gz is a scan of ct_train_1001 too" in refusal("mmwhs_ct", tmp_path, "ct_train_1001")


def test_a_scan_beside_its_unpacked_copy(tmp_path):
    write(tmp_path, "ct_train_1001")
    write(tmp_path, "ct_train_1001", suffix=".nii")
    assert "ct_train_1001_image.nii is a scan of ct_train_1001 too" in refusal("mmwhs_ct", tmp_path, "ct_train_1001")


def test_a_split_by_number_knows_the_patients(tmp_path):
    for number in range(1001, 1011):
        write(tmp_path, f"mr_train_{number}")
    split = splits.by_number(datasets.find("mmwhs_mr", tmp_path), 5, 0)
    assert split.test == ("mr_train_1005", "mr_train_1010")


def test_the_stray_value_of_the_left_atrium(tmp_path):
    write(tmp_path, "mr_train_1010", label=(421, 420, 550))
    (case,) = datasets.find("mmwhs_mr", tmp_path)
    assert load_labels(case, ("LA", "RA")).array.reshape(-1)[:3].tolist() == [1, 1, 2]
    assert load_reference(case, load_image(case)).array.reshape(-1)[:3].tolist() == [420, 420, 550]


def test_unknown_values_are_background(tmp_path):
    write(tmp_path, "ct_train_1001", label=(500, 7, 422, 850))
    (case,) = datasets.find("mmwhs_ct", tmp_path)
    with pytest.warns(UserWarning, match=r"ct_train_1001_label.nii.gz: 2 voxels of unknown label values \(7, 422\)"):
        assert load_labels(case, ("LV", "PA")).array.reshape(-1)[:4].tolist() == [1, 0, 0, 2]


@pytest.mark.parametrize("on_disk", [np.float32, np.float64, np.int16, np.uint8], ids=lambda each: each.__name__)
def test_labels_stored_as_fractions(tmp_path, on_disk):
    """Whole numbers, written as floats or scaled to the range of the file's type."""
    write(tmp_path, "ct_train_1001")
    (case,) = datasets.find("mmwhs_ct", tmp_path)
    file = nibabel.Nifti1Image(values(0, *VALUES).astype(np.float64), AFFINE)
    file.set_data_dtype(on_disk)
    if on_disk == np.uint8:
        file = nibabel.Nifti1Image((values(0, *VALUES) // 5).astype(np.uint8), AFFINE)
        file.header.set_slope_inter(5, 0)
    nibabel.save(file, case.label)
    assert load_labels(case, NAMES).array.reshape(-1)[:8].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


def test_a_folder_is_segmented_without_its_references(tmp_path):
    write(tmp_path, "ct_train_1001")
    write(tmp_path, "ct_train_1002")
    jobs = prediction_jobs.jobs([tmp_path / "ct_train"], (), (), tmp_path / "out")
    assert [job.scan.name for job in jobs] == ["ct_train_1001_image.nii.gz", "ct_train_1002_image.nii.gz"]


def test_mmwhs_empty_root(tmp_path):
    write(tmp_path, "ct_train_1001")
    message = refusal("mmwhs_mr", tmp_path)
    assert "no MR scans of MM-WHS" in message and "mr_train/mr_train_1001_image.nii.gz" in message
    (tmp_path / "mr_train").mkdir()
    write_nifti(tmp_path / "mr_train" / "mr_train_1001_label.nii.gz", values(500))
    refusal("mmwhs_mr", tmp_path)


@pytest.mark.parametrize("modality", ["ct", "mr"])
def test_real_mmwhs(modality):
    cases = real(f"mmwhs_{modality}")
    assert len(cases) == 20 and all(case.label is not None for case in cases)
    assert load_labels(cases[0], NAMES).array.shape == load_image(cases[0]).array.shape
