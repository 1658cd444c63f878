"""Label maps over NIfTI scans whose headers are unusual: the place is the same for nibabel and for ITK's viewers."""

import gzip
import itertools
import struct
import warnings

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from shared.scans import nifti, orientation, payload, preprocess, volume
from shared.scans.volume import from_array
from tests.geometry import rotation
from tests.volumes import counting, oblique, refusal

CODES = list(itertools.product([0, 1, 2], [0, 1, 2, 4]))
TURNED = np.eye(4)
TURNED[:3, :3] = rotation(10, 20, 30)
SPACING = np.diag([1.25, 1.5, 8.0, 1.0])
FORMS = {
    "same": TURNED @ SPACING,
    "other place": np.array([[1, 0, 0, 5], [0, 1, 0, -7], [0, 0, 1, 9], [0, 0, 0, 1.0]]) @ TURNED @ SPACING,
    "other rotation": np.linalg.inv(TURNED) @ SPACING,
    "mirrored": np.diag([-1, 1, 1, 1]) @ TURNED @ SPACING,
    "unit": TURNED,
    "sheared": TURNED @ SPACING @ np.array([[1, 1e-4, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
}


def scan_file(path, qform_code, sform_code, sform, array=None, units="mm", kind=nibabel.Nifti1Image):
    """A scan with `TURNED @ SPACING` as qform."""
    image = kind(counting((5, 4, 3)) if array is None else array, None)
    image.header.set_xyzt_units(units, "msec")
    image.header.set_qform(FORMS["same"], code=qform_code)
    image.header.set_sform(sform, code=sform_code)
    image.header["qform_code"], image.header["sform_code"] = qform_code, sform_code
    image.header["pixdim"][4] = 40
    nibabel.save(image, path)
    return path


def labels_of(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "unit" warns
        scan = volume.read(path)
    return scan.with_array((scan.array > 20).astype(np.uint8))


def itk_place(path):
    image = sitk.ReadImage(str(path))
    return [*image.GetOrigin()[:3], *np.reshape(image.GetDirection(), (image.GetDimension(),) * 2)[:3, :3].ravel(),
            *image.GetSpacing()[:3]]  # fmt: skip


@pytest.fixture(autouse=True)
def no_lines_of_itk():
    sitk.ProcessObject_GlobalWarningDisplayOff()
    yield
    sitk.ProcessObject_GlobalWarningDisplayOn()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("qform_code", "sform_code"), CODES)
def test_the_label_map_has_the_scans_own_place(tmp_path, qform_code, sform_code, form):
    path = scan_file(tmp_path / "scan.nii.gz", qform_code, sform_code, FORMS[form])
    volume.write(labels_of(path), tmp_path / "labels.nii")
    before, after = nibabel.load(path), nibabel.load(tmp_path / "labels.nii")
    for field in nifti.PLACE:
        np.testing.assert_array_equal(after.header[field], before.header[field], field)
    np.testing.assert_array_equal(after.affine, before.affine)
    assert after.header.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(after.dataobj), counting((5, 4, 3)) > 20)
    if not (form == "sheared" and qform_code == 0 and sform_code):  # ITK cannot read such a scan
        for suffix in (".nii.gz", ".nii", ".nrrd", ".mha"):
            volume.write(labels_of(path), tmp_path / f"labels{suffix}")
            np.testing.assert_allclose(itk_place(tmp_path / f"labels{suffix}"), itk_place(path), atol=2e-4, err_msg=suffix)
            assert sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"labels{suffix}"))).sum() == 39


@pytest.mark.parametrize("source", [".nrrd", ".mha", ".nii", ".nii.gz"])
@pytest.mark.parametrize("target", [".nrrd", ".mha", ".nii", ".nii.gz"])
def test_every_format_lies_over_every_other(tmp_path, source, target):
    volume.write(oblique(), tmp_path / f"scan{source}")
    volume.write(labels_of(tmp_path / f"scan{source}"), tmp_path / f"labels{target}")
    np.testing.assert_allclose(itk_place(tmp_path / f"labels{target}"), itk_place(tmp_path / f"scan{source}"), atol=1e-5)


def test_nifti_2_and_big_endian_keep_the_place(tmp_path):
    affine = FORMS["same"] + 1e-9  # more digits than NIfTI-1 holds
    scan_file(tmp_path / "scan.nii", 1, 1, affine, kind=nibabel.Nifti2Image)
    volume.write(labels_of(tmp_path / "scan.nii"), tmp_path / "labels.nii")
    after = nibabel.load(tmp_path / "labels.nii")
    assert isinstance(after.header, nibabel.Nifti2Header)
    np.testing.assert_array_equal(after.affine[:3], affine[:3])

    header = nibabel.Nifti1Header(endianness=">")
    nibabel.save(nibabel.Nifti1Image(counting((5, 4, 3)), FORMS["same"], header), tmp_path / "big.nii")
    volume.write(labels_of(tmp_path / "big.nii"), tmp_path / "labels.nii")
    np.testing.assert_array_equal(nibabel.load(tmp_path / "labels.nii").affine, nibabel.load(tmp_path / "big.nii").affine)


def test_steps_that_change_the_grid_drop_the_files_place(tmp_path):
    scan = labels_of(scan_file(tmp_path / "scan.nii", 0, 0, FORMS["same"]))
    assert scan.source.header is not None and scan.frame(0).source is scan.source
    assert preprocess.zscore(scan).source is scan.source  # other values in the same place
    for moved in (
        orientation.transpose(scan, (1, 0, 2)),
        orientation.flip(scan, 0),
        preprocess.resample(scan, (2, 2, 2), 0),
        preprocess.crop_or_pad(scan, (5, 4, 3)),
        preprocess.shrink(scan, (1, 1, 1)),
        preprocess.slab(scan, 0, 2),
        preprocess.onto_grid(preprocess.slab(scan, 0, 2), scan, 0),
    ):
        assert moved.source is None
    flipped = orientation.flip(scan, 0)
    volume.write(flipped, tmp_path / "flipped.nii")
    np.testing.assert_allclose(nibabel.load(tmp_path / "flipped.nii").affine, flipped.affine)


def test_sheared_axes_go_through_a_resampling(tmp_path):
    """Off orthogonal by 1e-4 and known by their sform alone, as some files of the M&Ms challenge: ITK refuses those."""
    scan = volume.read(scan_file(tmp_path / "scan.nii.gz", 0, 1, FORMS["sheared"]))
    np.testing.assert_allclose(scan.affine, FORMS["sheared"], rtol=1e-6, atol=1e-6)
    ordered = orientation.transpose(scan, (1, 0, 2))
    fine = preprocess.resample(ordered, (0.625, 0.75, 8), 0)
    back = orientation.transpose_back(preprocess.onto_grid(fine, ordered, 0), (1, 0, 2))
    np.testing.assert_array_equal(back.array, scan.array)
    np.testing.assert_allclose(back.affine, scan.affine)


def test_a_tilted_stack_is_said(tmp_path):
    """Shifted by 3 mm from slice to slice of 8 mm: voxels hold 0.936 of what their sides say."""
    tilted = np.diag([1.5, 1.5, 8.0, 1.0])
    tilted[0, 2] = 3.0
    nibabel.save(nibabel.Nifti1Image(counting((4, 3, 2)), tilted), tmp_path / "scan.nii")
    with pytest.warns(UserWarning, match=r"scan\.nii: axes that are not at right angles; .*, volumes 7% too large"):
        assert volume.read(tmp_path / "scan.nii").voxel_ml == pytest.approx(1.5 * 1.5 * np.hypot(3, 8) / 1000)


# Units ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("units", "mm"), [("meter", 1e3), ("micron", 1e-3), ("mm", 1), ("unknown", 1)])
@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 1), (2, 1)])
def test_units_of_length(tmp_path, codes, units, mm):
    array = counting((5, 4, 3, 2))
    image = nibabel.Nifti1Image(array, None)
    place = FORMS["other place"].copy()
    place[:3] /= mm
    image.header.set_xyzt_units(units, "msec")
    image.header.set_qform(place, code=codes[0])
    image.header.set_sform(place, code=codes[1])
    image.header["qform_code"], image.header["sform_code"] = codes
    image.header["pixdim"][4] = 40
    nibabel.save(image, tmp_path / "scan.nii")
    scan = volume.read(tmp_path / "scan.nii")
    assert scan.spacing_mm == pytest.approx((1.25, 1.5, 8.0)) and scan.voxel_ml == pytest.approx(0.015)
    assert scan.frame_s == pytest.approx(0.04)
    expected = FORMS["other place"] if any(codes) else np.diag([-1.25, -1.5, 8, 1])
    np.testing.assert_allclose(scan.affine, expected, rtol=1e-5, atol=1e-4)
    volume.write(scan.with_array(array % 2 == 1), tmp_path / "labels.nii.gz")
    header = nibabel.load(tmp_path / "labels.nii.gz").header
    assert header.get_xyzt_units() == (units, "msec") and header.get_zooms() == image.header.get_zooms()
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        volume.write(scan.with_array(array % 2 == 1), tmp_path / f"labels{suffix}")
        np.testing.assert_allclose(itk_place(tmp_path / f"labels{suffix}"), itk_place(tmp_path / "scan.nii"), atol=1e-4)
        assert volume.read(tmp_path / f"labels{suffix}").frame_s == pytest.approx(0.04)


# Axes of length 1, values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("more", [(1,), (1, 1), (2, 1)])  # ITK has five axes at most
def test_axes_of_length_1_are_dropped_and_written_back(tmp_path, suffix, more):
    path = tmp_path / f"scan{suffix}"
    array = counting((5, 4, 3, *more))
    if ".nii" in suffix:
        nibabel.save(nibabel.Nifti1Image(array, np.diag([1.5, 1.5, 8, 1])), path)
    else:
        volume.write(from_array(array, (1.5, 1.5, 8)), path)
    scan = volume.read(path)
    np.testing.assert_array_equal(scan.array, array[..., 0] if more == (1,) else array.reshape(scan.array.shape))
    assert scan.array.shape == (5, 4, 3, *(n for n in more if n > 1)) and scan.spacing_mm == (1.5, 1.5, 8)
    for target in (".nii.gz", ".nrrd", ".mha"):
        volume.write(scan.with_array(scan.array > 9), tmp_path / f"labels{target}")
        shape = sitk.ReadImage(str(tmp_path / f"labels{target}")).GetSize()
        assert shape == (5, 4, 3, *more) or ".nii" in target and shape[:3] == (5, 4, 3)
    assert nibabel.load(tmp_path / "labels.nii.gz").shape == (5, 4, 3, *more)
    volume.write(scan.frame(0), tmp_path / "frame.nii")
    assert nibabel.load(tmp_path / "frame.nii").shape == (5, 4, 3, *(more if scan.frames == 1 else ()))


def test_labels_that_scaling_rounded(tmp_path):
    labels = np.array([0, 205, 420, 500, 550, 600, 820, 850], np.float32).reshape(2, 2, 2)
    image = nibabel.Nifti1Image(labels.astype(float), np.eye(4))
    image.header.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "scaled.nii")
    assert not np.array_equal(nibabel.load(tmp_path / "scaled.nii").get_fdata(), labels)  # it is a case
    np.testing.assert_array_equal(volume.read_labels(tmp_path / "scaled.nii").array, labels)
    for off, refused in ((0.009, False), (-0.009, False), (0.011, True), (0.5, True)):
        nibabel.save(nibabel.Nifti1Image(labels.astype(np.float64) + off * (labels == 420), np.eye(4)), tmp_path / "off.nii")
        if refused:
            assert "420" in refusal(tmp_path / "off.nii", volume.read_labels)
        else:
            np.testing.assert_array_equal(volume.read_labels(tmp_path / "off.nii").array, labels)


@pytest.mark.parametrize(
    ("dtype", "value"), [("f8", 1e39), ("f8", -1e39), ("f8", 1e300), ("f4", 1e30), ("i8", -(2**63)), ("u8", 2**64 - 1)]
)
def test_values_beyond_any_scanners(tmp_path, dtype, value):
    array = np.ones((4, 3, 2), dtype)
    array[1, 2, 0] = array[0, 0, 1] = value
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4), dtype=dtype), tmp_path / "scan.nii.gz")
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        volume.write(from_array(array), tmp_path / f"scan{suffix}")
        assert "2 of 24 voxels are beyond 1e+15" in refusal(tmp_path / f"scan{suffix}")
    array[:] = 10**12
    volume.write(from_array(array), tmp_path / "scan.nii")
    assert volume.read(tmp_path / "scan.nii").array.max() == pytest.approx(1e12)


@pytest.mark.parametrize("slope", [(np.inf, 0), (1, np.nan), (1, -np.inf), (3e38, 0)])
def test_scale_factors_that_are_no_numbers(tmp_path, slope):
    path = tmp_path / "scan.nii"
    volume.write(from_array(counting((4, 3, 2))), path)
    content = bytearray(path.read_bytes())
    struct.pack_into("<ff", content, 112, *slope)
    path.write_bytes(content)
    assert ("scl_slope" if slope[0] != 3e38 else "beyond") in refusal(path)


def test_a_scale_factor_of_nan_means_none(tmp_path):
    """nibabel writes it where no scaling was set, and reads it as that; ITK too."""
    path = tmp_path / "scan.nii"
    volume.write(from_array(counting((4, 3, 2))), path)
    content = bytearray(path.read_bytes())
    struct.pack_into("<ff", content, 112, np.nan, np.nan)
    path.write_bytes(content)
    np.testing.assert_array_equal(volume.read(path).array, counting((4, 3, 2)))
    np.testing.assert_array_equal(nibabel.load(path).get_fdata(), counting((4, 3, 2)))


# Bounds ---------------------------------------------------------------------------------------------------------------------


def packed(path, shape, content):
    """A .nii.gz that declares `shape` of bytes and holds `content` (chunks)."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(shape)
    header.set_slope_inter(1, 0)
    header.set_data_offset(352)
    with gzip.open(path, "wb", 1) as file:
        file.write(header.binaryblock + bytes(4))
        for chunk in content:
            file.write(chunk)
    return path


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    taken = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: taken.append(read(self, size)) or taken[-1])
    path = packed(tmp_path / "bomb.nii.gz", (10, 10, 10), [bytes(2**20)] * 300)
    assert "more data than the header declares" in refusal(path)
    assert sum(map(len, taken)) < 4 * 2**20


def test_a_few_bytes_after_the_voxels_are_padding(tmp_path):
    packed(tmp_path / "padded.nii.gz", (10, 10, 10), [bytes(range(250)) * 4, bytes(512)])
    assert volume.read(tmp_path / "padded.nii.gz").array.sum() == 4 * sum(range(250))


@pytest.mark.parametrize("shape", [(30000, 30000, 30000), (1025, 1024, 1024), (32767,) * 7])
def test_sizes_that_make_no_sense_are_refused_before_memory_is_taken(tmp_path, monkeypatch, shape):
    path = packed(tmp_path / "large.nii.gz", shape, [bytes(1000)])
    take = payload.take
    monkeypatch.setattr(payload, "take", lambda stream, size: take(stream, size) if size < 2**20 else pytest.fail("memory"))
    assert "more than 1073741824" in refusal(path)


def test_thousands_of_slices(tmp_path):
    scan = from_array(np.ones((32, 32, 5000), np.uint8), (1.5, 1.5, 8))
    volume.write(scan, tmp_path / "long.nii.gz")
    assert volume.read(tmp_path / "long.nii.gz").array.shape == (32, 32, 5000)


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize(
    ("spacing_mm", "shape", "good"),
    [
        ((0.011, 0.011, 0.011), (4, 3, 2), True),
        ((0.009, 1, 1), (4, 3, 2), False),
        ((1, 1, 99), (4, 3, 2), True),
        ((1, 1, 500), (4, 3, 2), False),
        ((1e30, 1, 1), (4, 3, 2), False),
        ((20, 20, 20), (50, 50, 49), True),  # 1 m x 1 m x 0.98 m
        ((20, 20, 20), (50, 50, 51), False),
    ],
)
def test_voxel_sizes_and_extents(tmp_path, suffix, spacing_mm, shape, good):
    path = tmp_path / f"scan{suffix}"
    volume.write(from_array(np.ones(shape, np.uint8), spacing_mm), path)
    if good:
        assert volume.read(path).spacing_mm == pytest.approx(spacing_mm)
    else:
        assert "expected 0.01 to 100 mm and at most 1 m3" in refusal(path)


def test_a_place_beyond_all_scanners(tmp_path):
    affine = np.eye(4)
    affine[0, 3] = 1e30
    nibabel.save(nibabel.Nifti1Image(counting((4, 3, 2)), affine), tmp_path / "scan.nii")
    assert "beyond 100 m" in refusal(tmp_path / "scan.nii")
