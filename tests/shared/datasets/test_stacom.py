"""STACOM 2011: cines as files and as DICOM, of which the first instant is the case."""

import numpy as np
import pytest
import SimpleITK as sitk

from shared import datasets
from shared.datasets import load_image, load_pair
from shared.errors import InputError
from tests.shared.datasets.files import labels, refusal, write_nifti, write_nrrd


def cine(*values):
    """(4, 3, 2, frames), one value per frame."""
    return np.stack([np.full((4, 3, 2), value, np.int16) for value in values], axis=-1)


def write_dicom(folder, array, first_ms=0.0):
    """(x, y, z, t) as a DICOM folder, 33 ms between frames; the file names run against time."""
    folder.mkdir(parents=True)
    frames = array.shape[3]
    for z, t in np.ndindex(array.shape[2:]):
        image = sitk.GetImageFromArray(np.ascontiguousarray(array[:, :, z, t].T[None]))
        image.SetSpacing((1.5, 1.5, 8.0))
        image.SetOrigin((0, 0, 8.0 * z))
        for tag, value in {"0008|0060": "MR", "0018|1060": first_ms + 33 * t, "0020|0013": z + 1}.items():
            image.SetMetaData(tag, str(value))
        sitk.WriteImage(image, str(folder / f"{frames - t:02}_{z}.dcm"))


def test_stacom(tmp_path):
    write_nifti(tmp_path / "v10" / "cine_sax.nii.gz", cine(5, 6, 7))
    write_nifti(tmp_path / "v10" / "mask_ed.nii.gz", labels(0, 1, 1))
    write_nifti(tmp_path / "v2" / "cine_sax.nii", cine(8)[..., 0])
    write_nrrd(tmp_path / "v4" / "cine_sax.nrrd", cine(9)[..., 0])
    write_nrrd(tmp_path / "v4" / "mask_ed.nrrd", labels(1))
    for other in ("v2_old", "phantom", "v", "v03"):
        (tmp_path / other).mkdir()
    (tmp_path / "v1").write_text("the archive, not yet unpacked")
    cases = datasets.find("stacom", tmp_path)
    assert [(case.patient, case.phase, case.group, case.name, case.frame) for case in cases] == [
        ("v2", "ED", "", "v2_ED", 0), ("v4", "ED", "", "v4_ED", 0), ("v10", "ED", "", "v10_ED", 0),
    ]  # fmt: skip
    assert [case.image.relative_to(tmp_path).as_posix() for case in cases] == [
        "v2/cine_sax.nii", "v4/cine_sax.nrrd", "v10/cine_sax.nii.gz",
    ]  # fmt: skip
    assert [case.label and case.label.name for case in cases] == [None, "mask_ed.nrrd", "mask_ed.nii.gz"]
    assert all(dict(case.structures) == {1: "BV"} for case in cases)
    assert [np.unique(load_image(case).array).tolist() for case in cases] == [[8], [9], [5]]
    image, found = load_pair(cases[2], ("BV",))
    assert image.array.shape == (4, 3, 2) and image.spacing_mm == (1.5, 1.5, 8.0) and image.frame_s == 0
    assert found.array.reshape(-1)[:4].tolist() == [0, 1, 1, 0]
    with pytest.raises(InputError, match="cine_sax.nii: case v2_ED has no reference"):
        load_pair(cases[0], ("BV",))


def test_stacom_as_published(tmp_path):
    """One DICOM folder per instant; instants after the first are not read."""
    for instant, value in ((1, 3), (2, 4), (10, 5)):
        write_dicom(tmp_path / "v1" / "cSAX" / f"time_{instant}", cine(value))
    (case,) = datasets.find("stacom", tmp_path)
    assert case.image == tmp_path / "v1" / "cSAX" / "time_1"
    assert load_image(case).array.shape == (4, 3, 2) and (load_image(case).array == 3).all()
    write_nifti(tmp_path / "v1" / "cine_sax.nii.gz", cine(7, 8))  # what somebody made of them, and drew the mask on
    (case,) = datasets.find("stacom", tmp_path)
    assert (load_image(case).array == 7).all()


def test_stacom_cine_as_one_dicom_folder(tmp_path):
    write_dicom(tmp_path / "v16" / "cine_sax", cine(11, 12, 13), first_ms=20.0)
    (case,) = datasets.find("stacom", tmp_path)
    image = load_image(case)
    assert (image.array == 11).all() and image.spacing_mm == (1.5, 1.5, 8.0)


def test_stacom_empty_root(tmp_path):
    (tmp_path / "patient001").mkdir()
    assert "no STACOM volunteers" in refusal("stacom", tmp_path)


def test_stacom_volunteer_without_a_scan(tmp_path):
    write_nifti(tmp_path / "v1" / "cine_sax.nii.gz", cine(1, 2))
    write_nifti(tmp_path / "v4" / "mask_ed.nii.gz", labels(1))
    message = refusal("stacom", tmp_path, tmp_path / "v4")
    assert "cine_sax.nii.gz" in message and "cSAX/time_1" in message


def test_stacom_mask_that_does_not_fit(tmp_path):
    write_nifti(tmp_path / "v1" / "cine_sax.nii.gz", cine(1, 2))
    mask = write_nifti(tmp_path / "v1" / "mask_ed.nii.gz", labels(1)[..., :1])
    (case,) = datasets.find("stacom", tmp_path)
    with pytest.raises(InputError, match=r"mask_ed.nii.gz: shape \(4, 3, 1\) differs from \(4, 3, 2\) of .*cine_sax.nii.gz"):
        load_pair(case, ("BV",))
    write_nifti(mask, labels(255))
    with pytest.raises(InputError, match=r"mask_ed.nii.gz: unknown label values \[255\]; expected 0 background, 1 BV"):
        load_pair(case, ("BV",))
