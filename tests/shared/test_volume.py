"""Scans in and out: geometry kept by every format, DICOM folders put in order, unusable files refused in one line."""

import gzip
import itertools
import struct
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import dicom, volume
from shared.errors import InputError
from shared.volume import Volume, from_array
from tests.geometry import rotation

WRITTEN = (".nii.gz", ".nii", ".nrrd", ".mha")
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])
# where a NIfTI-1 header keeps its fields
DIM, DATATYPE, PIXDIM, UNITS, SFORM_CODE, SFORM = 40, 70, 76, 123, 254, 280


def placed(array, spacing_mm, axes, origin_mm, frame_s=0.0):
    """A volume whose unit axes in RAS are the columns of `axes`."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(axes) * spacing_mm
    affine[:3, 3] = origin_mm
    return Volume(array, tuple(map(float, spacing_mm)), affine, frame_s)


def counting(shape, dtype=np.int16):
    """Every voxel has another value."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def oblique(shape=(5, 4, 3), dtype=np.int16, frame_s=0.0):
    """Axes that follow the slices' normal, so that DICOM can hold them."""
    axes = RAS_FROM_LPS @ rotation(25, -40, 70)
    return placed(counting(shape, dtype), (1.25, 1.5, 8.0), axes, (-31.5, 20.25, 60.75), frame_s)


def assert_same(found, expected):
    assert found.array.shape == expected.array.shape
    assert found.array.dtype == expected.array.dtype
    np.testing.assert_array_equal(found.array, expected.array)
    assert isinstance(found.spacing_mm, tuple) and len(found.spacing_mm) == 3
    np.testing.assert_allclose(found.spacing_mm, expected.spacing_mm, rtol=1e-5)
    np.testing.assert_allclose(found.affine, expected.affine, rtol=1e-5, atol=1e-3)
    assert found.frame_s == pytest.approx(expected.frame_s, rel=1e-5)


def refusal(path, read=volume.read, name=None):
    """The message of the InputError that reading `path` raises: one line with the file's name, and no warning before it."""
    with warnings.catch_warnings(), pytest.raises(InputError) as raised:
        warnings.simplefilter("error")
        read(path)
    message = str(raised.value)
    assert "\n" not in message
    assert (name or Path(path).name) in message
    return message


def patch(path, offset, layout, *values):
    """Overwrite header fields of an uncompressed NIfTI file."""
    content = bytearray(path.read_bytes())
    struct.pack_into("<" + layout, content, offset, *values)
    path.write_bytes(content)
    return path


# Volume ---------------------------------------------------------------------------------------------------------------------


def test_voxel_ml_and_frames():
    cine = oblique((4, 3, 2, 5), frame_s=0.04)
    assert cine.voxel_ml == pytest.approx(0.015)
    assert cine.frames == 5
    frame = cine.frame(3)
    np.testing.assert_array_equal(frame.array, cine.array[:, :, :, 3])
    assert (frame.spacing_mm, frame.frame_s, frame.frames) == (cine.spacing_mm, 0.0, 1)
    assert frame.frame(0) is frame
    with pytest.raises(IndexError):
        cine.frame(5)


def test_with_array_keeps_the_place():
    scan = oblique()
    labels = scan.with_array(np.zeros((5, 4, 3), np.uint8))
    assert labels.array.dtype == np.uint8 and labels.spacing_mm == scan.spacing_mm and labels.affine is scan.affine


def test_from_array():
    scan = from_array(np.zeros((2, 3, 4)), (1, 2, 3))
    assert scan.spacing_mm == (1.0, 2.0, 3.0)
    np.testing.assert_array_equal(scan.affine, np.diag([1.0, 2.0, 3.0, 1.0]))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/patient001.nii.gz", "patient001"),
        ("patient001.NII.GZ", "patient001"),
        ("b.nii", "b"),
        ("lasc_01.nrrd", "lasc_01"),
        ("x.y.mha", "x.y"),
        ("x.nii.mhd", "x.nii"),
        ("a/cine.seq.nrrd", "cine"),
        ("CINE.SEQ.NRRD", "CINE"),
        ("a.seq", "a.seq"),
        ("folder/slices", "slices"),
        ("notes.txt", "notes.txt"),
        ("a.gz", "a.gz"),
    ],
)
def test_stem(path, expected):
    assert volume.stem(path) == expected
    assert volume.stem(Path(path)) == expected


def test_check_same_grid():
    scan = from_array(np.zeros((4, 5, 6)), (1.0, 1.0, 8.0))
    cine = from_array(np.zeros((4, 5, 6, 2)), (1.0, 1.0, 8.0))
    volume.check_same_grid(scan, cine, ("scan", "cine"))
    volume.check_same_grid(scan, from_array(scan.array, (1.005, 1.0, 8.05)), ("scan", "label"))
    with pytest.raises(InputError, match=r"^label: shape \(4, 5, 7\).*\(4, 5, 6\) of scan$"):
        volume.check_same_grid(scan, from_array(np.zeros((4, 5, 7)), (1.0, 1.0, 8.0)), ("scan", "label"))
    with pytest.raises(InputError, match="^label: voxel size 1 x 1 x 10 mm .* 1 x 1 x 8 mm of scan$"):
        volume.check_same_grid(scan, from_array(scan.array, (1.0, 1.0, 10.0)), ("scan", "label"))


# Round trips ----------------------------------------------------------------------------------------------------------------


@st.composite
def volumes(draw):
    """Any order and direction of the axes, turned, with any spacing, type and number of frames."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=3, max_size=4))
    dtype = draw(st.sampled_from([np.uint8, np.int16, np.uint16, np.float32]))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    if dtype == np.float32:
        array = random.normal(0, 500, sizes).astype(dtype)
    else:
        array = random.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, sizes, dtype, endpoint=True)
    order, signs = draw(st.permutations(range(3))), draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    axes = rotation(*draw(st.tuples(*[st.sampled_from([0, 0, 15, -37, 80])] * 3))) @ (np.eye(3)[:, order] * signs)
    spacing_mm = draw(st.tuples(*[st.floats(0.3, 12)] * 3))
    frame_s = draw(st.sampled_from([0.0, 0.025, 0.0417])) if len(sizes) == 4 else 0.0
    return placed(array, spacing_mm, axes, draw(st.tuples(*[st.floats(-300, 300)] * 3)), frame_s)


@pytest.mark.parametrize("suffix", WRITTEN)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(scan=volumes())
def test_round_trip(tmp_path_factory, suffix, scan):
    path = tmp_path_factory.getbasetemp() / f"round_trip{suffix}"
    volume.write(scan, path)
    found = volume.read(path)
    if scan.frames == 1:
        scan = scan.frame(0) if scan.array.ndim == 3 else Volume(scan.array[..., 0], scan.spacing_mm, scan.affine)
    assert_same(found, scan)


@pytest.mark.parametrize("suffix", WRITTEN)
def test_every_axis_order_and_flip(tmp_path, suffix):
    turned = rotation(10, 20, 30)
    for order, signs in itertools.product(itertools.permutations(range(3)), itertools.product([-1, 1], repeat=3)):
        scan = placed(counting((4, 3, 2)), (0.7, 1.3, 9.0), turned @ (np.eye(3)[:, order] * signs), (10, -20, 30))
        volume.write(scan, tmp_path / f"scan{suffix}")
        assert_same(volume.read(tmp_path / f"scan{suffix}"), scan)


@pytest.mark.parametrize("suffix", WRITTEN)
def test_masks_are_written_as_bytes(tmp_path, suffix):
    scan = oblique()
    volume.write(scan.with_array(scan.array % 2 == 1), tmp_path / f"mask{suffix}")
    assert_same(volume.read(tmp_path / f"mask{suffix}"), scan.with_array((scan.array % 2).astype(np.uint8)))


@pytest.mark.parametrize("suffix", WRITTEN)
def test_labels_come_back_as_integers(tmp_path, suffix):
    labels = oblique()
    labels = labels.with_array(labels.array.astype(np.float32) * 1000)  # 59000 is more than int16 holds
    volume.write(labels, tmp_path / f"labels{suffix}")
    found = volume.read_labels(tmp_path / f"labels{suffix}")
    assert found.array.dtype == np.uint16
    np.testing.assert_array_equal(found.array, labels.array)
    np.testing.assert_allclose(found.affine, labels.affine, atol=1e-3)


@pytest.mark.parametrize("suffix", WRITTEN)
def test_two_writings_are_byte_equal(tmp_path, monkeypatch, suffix):
    for scan in (oblique(), oblique((4, 3, 2, 5), np.float32, 0.03)):
        paths = [tmp_path / "a" / f"scan{suffix}", tmp_path / "b" / f"other name{suffix}"]
        for day, path in enumerate(paths):
            monkeypatch.setattr("time.time", lambda now=86400.0 * (day + 1): now)
            volume.write(scan, path)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert [path.name for path in paths[0].parent.iterdir()] == [paths[0].name]  # and nothing beside it


def test_upper_case_suffix(tmp_path):
    for name in ("SCAN.NII", "SCAN.NII.GZ"):
        volume.write(oblique(), tmp_path / name)
        assert_same(volume.read(tmp_path / name), oblique())
    for suffix in (".nrrd", ".mha"):
        volume.write(oblique(), tmp_path / f"scan{suffix}")
        assert_same(volume.read((tmp_path / f"scan{suffix}").rename(tmp_path / f"SCAN{suffix.upper()}")), oblique())
    with pytest.raises(InputError, match="SCAN.MHA: cannot write"):  # no reader would know it again
        volume.write(oblique(), tmp_path / "SCAN.MHA")


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_headers_with_a_separate_data_file_are_read_only(tmp_path, suffix):
    scan = oblique()
    volume.write(scan, tmp_path / "scan.mha")
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "scan.mha")), str(tmp_path / f"pair{suffix}"))
    assert_same(volume.read(tmp_path / f"pair{suffix}"), scan)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=f"copy{suffix}: cannot write this format"):
        volume.write(scan, tmp_path / f"copy{suffix}")
    assert sorted(tmp_path.iterdir()) == before


def test_big_endian_nifti_becomes_native(tmp_path):
    scan = oblique()
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nibabel.save(nibabel.Nifti1Image(scan.array, scan.affine, header), tmp_path / "scan.nii")
    assert (tmp_path / "scan.nii").read_bytes()[:4] == struct.pack(">i", 348)
    assert volume.read(tmp_path / "scan.nii").array.dtype.isnative
    assert_same(volume.read(tmp_path / "scan.nii"), scan)


def test_nifti_2(tmp_path):
    scan = oblique()
    for suffix in (".nii", ".nii.gz"):
        nibabel.save(nibabel.Nifti2Image(scan.array, scan.affine), tmp_path / f"scan{suffix}")
        assert_same(volume.read(tmp_path / f"scan{suffix}"), scan)


def test_nifti_whose_pixdim_0_is_unset(tmp_path, caplog):
    volume.write(oblique(), tmp_path / "scan.nii")
    assert_same(volume.read(patch(tmp_path / "scan.nii", PIXDIM, "f", 0)), oblique())
    assert caplog.messages == []


def test_scaled_nifti(tmp_path):
    image = nibabel.Nifti1Image(counting((3, 2, 2)), np.eye(4))
    image.header.set_slope_inter(0.5, -2)
    nibabel.save(image, tmp_path / "scaled.nii")
    raw = nibabel.load(tmp_path / "scaled.nii").dataobj.get_unscaled()
    np.testing.assert_array_equal(volume.read(tmp_path / "scaled.nii").array, raw * 0.5 - 2)


@pytest.mark.parametrize(("units", "frame_s"), [(8, 40.0), (16, 0.04), (24, 4e-5), (0, 40.0), (255, 40.0)])
def test_frame_time_follows_the_unit_of_the_header(tmp_path, units, frame_s):
    volume.write(oblique((4, 3, 2, 5), frame_s=40.0), tmp_path / "cine.nii")
    assert volume.read(patch(tmp_path / "cine.nii", UNITS, "B", units | 2)).frame_s == pytest.approx(frame_s)


# Agreement with other readers -----------------------------------------------------------------------------------------------

PLACES = {
    "straight": placed(counting((5, 4, 3)), (1.25, 1.5, 8.0), np.eye(3), (-31.5, 20.25, 60.75)),
    "oblique": oblique(),
    "mirrored": placed(counting((5, 4, 3)), (1.25, 1.5, 8.0), rotation(25, -40, 70) @ np.diag([1, -1, 1]), (-31.5, 20.25, 60.75)),
    "coronal": placed(counting((5, 4, 3)), (1.25, 1.5, 8.0), np.eye(3)[:, [0, 2, 1]] * (-1, 1, -1), (5, -6, 7)),
}


def positions_mm(array, affine):
    """RAS position of the voxel with each value."""
    where = np.argsort(array, axis=None)
    return np.stack(np.unravel_index(where, array.shape), axis=1) @ affine[:3, :3].T + affine[:3, 3]


def itk_positions_mm(path):
    image = sitk.ReadImage(str(path))
    indices = {image[index]: index for index in itertools.product(*map(range, image.GetSize()))}
    return np.array([image.TransformIndexToPhysicalPoint(indices[value]) for value in sorted(indices)]) @ RAS_FROM_LPS


@pytest.mark.parametrize("suffix", WRITTEN)
@pytest.mark.parametrize("place", PLACES)
def test_every_voxel_lies_where_other_readers_see_it(tmp_path, place, suffix):
    scan = PLACES[place]
    expected = positions_mm(scan.array, scan.affine)
    ours, theirs = tmp_path / f"ours{suffix}", tmp_path / f"theirs{suffix}"
    volume.write(scan, ours)
    sitk.WriteImage(sitk.ReadImage(str(ours)), str(theirs))
    for path in (ours, theirs):
        np.testing.assert_allclose(itk_positions_mm(path), expected, atol=1e-3)
        found = volume.read(path)
        np.testing.assert_allclose(positions_mm(found.array, found.affine), expected, atol=1e-3)
        if ".nii" in suffix:
            image = nibabel.load(path)
            np.testing.assert_allclose(positions_mm(np.asarray(image.dataobj), image.affine), expected, atol=1e-3)
            assert image.header["qform_code"] == image.header["sform_code"] == 1 or path == theirs
            np.testing.assert_allclose(image.header.get_qform(), scan.affine, atol=1e-3)
            np.testing.assert_allclose(image.header.get_sform(), scan.affine, atol=1e-3)


def test_formats_agree_on_a_cine(tmp_path):
    cine = oblique((4, 3, 2, 5), frame_s=0.04)
    for suffix in WRITTEN:
        volume.write(cine, tmp_path / f"cine{suffix}")
        image = sitk.ReadImage(str(tmp_path / f"cine{suffix}"))
        assert image.GetSize() == (4, 3, 2, 5)
        np.testing.assert_allclose(image.GetSpacing(), (1.25, 1.5, 8.0, 0.04), rtol=1e-5)
        assert image[3, 1, 0, 2] == cine.array[3, 1, 0, 2]
    header = nibabel.load(tmp_path / "cine.nii.gz").header
    assert header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_allclose(header.get_zooms(), (1.25, 1.5, 8.0, 0.04), rtol=1e-6)


# Affine and voxel size that disagree ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("qform_code", [0, 1])
def test_unit_affine_gives_way_to_the_voxel_size(tmp_path, qform_code):
    scan, path = oblique(), tmp_path / "unit.nii"
    volume.write(scan, path)
    unit = scan.affine.copy()
    unit[:3, :3] /= scan.spacing_mm
    patch(path, SFORM, "12f", *unit[:3].ravel())
    patch(path, SFORM_CODE - 2, "hh", qform_code, 2)

    with pytest.warns(UserWarning, match="unit.nii: the affine says 1 x 1 x 1 mm.*voxel size 1.25 x 1.5 x 8 mm"):
        found = volume.read(path)
    assert found.spacing_mm == pytest.approx((1.25, 1.5, 8.0))
    assert found.voxel_ml == pytest.approx(0.015)
    np.testing.assert_allclose(found.affine, unit, atol=1e-5)

    volume.write(found.with_array(found.array.astype(np.uint8)), tmp_path / "labels.nii.gz")
    before, after = nibabel.load(path), nibabel.load(tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(after.affine, before.affine)
    np.testing.assert_array_equal(after.header.get_zooms(), before.header.get_zooms())
    with pytest.warns(UserWarning, match="labels.nii.gz: the affine says"):
        again = volume.read(tmp_path / "labels.nii.gz")
    assert again.spacing_mm == found.spacing_mm

    volume.write(found, tmp_path / "scan.mha")  # has no room for both: the voxel size is what counts
    np.testing.assert_allclose(volume.read(tmp_path / "scan.mha").affine, scan.affine, atol=1e-4)


def test_only_differences_over_one_percent_warn(tmp_path):
    volume.write(oblique(), tmp_path / "scan.nii")
    patch(tmp_path / "scan.nii", PIXDIM + 4, "f", 1.255)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert volume.read(tmp_path / "scan.nii").spacing_mm[0] == pytest.approx(1.255)
    patch(tmp_path / "scan.nii", PIXDIM + 4, "f", 1.27)
    with pytest.warns(UserWarning, match="the affine says 1.25 x 1.5 x 8 mm.*voxel size 1.27 x 1.5 x 8 mm"):
        assert volume.read(tmp_path / "scan.nii").spacing_mm[0] == pytest.approx(1.27)


# Writing that fails ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scan.png", "scan.nii.bz2", "scan", "scan.dcm", "scan.gz"])
def test_unsupported_suffix_is_not_written(tmp_path, name):
    with pytest.raises(InputError, match="cannot write this format") as raised:
        volume.write(oblique(), tmp_path / "folder" / name)
    assert name in str(raised.value) and "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", WRITTEN)
def test_a_failing_writer_leaves_the_old_file(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"scan{suffix}"
    volume.write(oblique(), path)
    before = path.read_bytes()

    def half(*arguments):
        arguments[-1].write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    for module in set(volume.FORMATS.values()):
        monkeypatch.setattr(module, "write", half)
    for target in (path, tmp_path / f"new{suffix}"):
        with pytest.raises(OSError, match=f"No space left on device: '.*/{target.name}'"):
            volume.write(oblique((2, 2, 2)), target)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", WRITTEN)
def test_a_file_in_place_of_the_folder(tmp_path, suffix):
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(OSError, match="folder"):
        volume.write(oblique(), tmp_path / "folder" / f"scan{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder").read_text() == "a file"


# Files that cannot be used --------------------------------------------------------------------------------------------------


def nifti(path, array, affine=None):
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def test_missing_file(tmp_path):
    assert "no such file" in refusal(tmp_path / "missing.nii.gz")


def test_unsupported_suffix_is_not_read(tmp_path):
    (tmp_path / "scan.png").write_bytes(b"anything")
    assert ".nii.gz" in refusal(tmp_path / "scan.png")


@pytest.mark.parametrize("suffix", volume.SUFFIXES)
@pytest.mark.parametrize(
    "content",
    [b"", b"\0", bytes(4000), bytes(range(256)) * 20, b"<html>not found</html>\n" * 40],
    ids=["empty", "one byte", "zeros", "garbage", "web page"],
)
def test_not_a_scan_inside(tmp_path, suffix, content):
    (tmp_path / f"scan{suffix}").write_bytes(content)
    message = refusal(tmp_path / f"scan{suffix}")
    assert "broken or truncated" in message
    assert "SimpleITK-build" not in message


@pytest.mark.parametrize("suffix", WRITTEN)
def test_truncated(tmp_path, suffix):
    random = np.random.default_rng(0).integers(0, 1000, (20, 20, 10)).astype(np.int16)
    volume.write(from_array(random, (1, 1, 5)), tmp_path / f"whole{suffix}")
    content = (tmp_path / f"whole{suffix}").read_bytes()
    for cut in (1, 5, 10, 100, 300, len(content) // 3, len(content) // 2, *(len(content) - n for n in (20, 8, 4, 1))):
        (tmp_path / f"cut{suffix}").write_bytes(content[:cut])
        assert "broken or truncated" in refusal(tmp_path / f"cut{suffix}"), cut


def test_damaged_gzip(tmp_path):
    random = np.random.default_rng(0).integers(0, 1000, (20, 20, 10)).astype(np.int16)
    volume.write(from_array(random), tmp_path / "whole.nii.gz")
    content = bytearray((tmp_path / "whole.nii.gz").read_bytes())
    for at in range(200, len(content), 1000):
        damaged = content.copy()
        damaged[at] ^= 1
        (tmp_path / "damaged.nii.gz").write_bytes(damaged)
        assert "broken or truncated" in refusal(tmp_path / "damaged.nii.gz"), at


def test_plain_file_called_gz_and_reverse(tmp_path):
    nifti(tmp_path / "scan.nii", counting((3, 3, 3)))
    (tmp_path / "plain.nii.gz").write_bytes((tmp_path / "scan.nii").read_bytes())
    refusal(tmp_path / "plain.nii.gz")
    (tmp_path / "packed.nii").write_bytes(gzip.compress((tmp_path / "scan.nii").read_bytes()))
    refusal(tmp_path / "packed.nii")


@pytest.mark.parametrize("shape", [(4,), (4, 5), (4, 5, 3, 2, 3), (4, 5, 3, 1, 3), (4, 5, 1, 1, 1, 2)])
def test_wrong_number_of_dimensions(tmp_path, shape):
    message = refusal(nifti(tmp_path / "scan.nii.gz", counting(shape)))
    assert "3D" in message and str(shape) in message


def test_2d_nrrd(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(counting((4, 5))), str(tmp_path / "flat.nrrd"))
    assert "(5, 4)" in refusal(tmp_path / "flat.nrrd")


def test_more_than_one_number_per_voxel(tmp_path):
    colour = np.zeros((4, 3, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "one real number per voxel" in refusal(nifti(tmp_path / "colour.nii", colour))
    assert "one real number per voxel" in refusal(nifti(tmp_path / "complex.nii.gz", np.ones((4, 3, 2), np.complex64)))
    vectors = sitk.GetImageFromArray(np.zeros((2, 3, 4, 3), np.uint8), isVector=True)
    for suffix in (".nrrd", ".mha"):
        sitk.WriteImage(vectors, str(tmp_path / f"vectors{suffix}"))
        assert "one number per voxel, found 3" in refusal(tmp_path / f"vectors{suffix}")
    waves = sitk.GetImageFromArray(np.ones((2, 3, 4), np.complex64))
    sitk.WriteImage(waves, str(tmp_path / "waves.mha"))
    refusal(tmp_path / "waves.mha")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("suffix", WRITTEN)
def test_voxels_that_are_no_numbers(tmp_path, suffix, value):
    array = np.ones((4, 3, 2), np.float32)
    array[1, 2, 0] = array[3, 0, 1] = value
    volume.write(from_array(array), tmp_path / f"scan{suffix}")
    assert "2 of 24 voxels are NaN or infinite" in refusal(tmp_path / f"scan{suffix}")


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sform_code", [0, 1])
def test_unusable_voxel_size(tmp_path, caplog, value, axis, sform_code):
    path = nifti(tmp_path / "scan.nii", counting((4, 3, 2)))
    patch(path, SFORM_CODE, "h", sform_code)
    message = refusal(patch(path, PIXDIM + 4 * (axis + 1), "f", value))
    assert "voxel size" in message and f"{value:g}" in message
    assert caplog.messages == []


@pytest.mark.parametrize("rows", [[0.0] * 12, [np.nan] * 12, [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0]], ids=["zeros", "NaN", "flat"])
def test_affine_without_inverse(tmp_path, rows):
    path = nifti(tmp_path / "scan.nii", counting((4, 3, 2)))
    message = refusal(patch(patch(path, SFORM_CODE, "h", 1), SFORM, "12f", *rows))
    assert "affine" in message


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_no_voxels(tmp_path, axis):
    path = patch(nifti(tmp_path / "scan.nii", counting((4, 3, 2))), DIM + 2 * (axis + 1), "h", 0)
    assert "no voxels" in refusal(path)


@pytest.mark.parametrize(("offset", "value"), [(DATATYPE, 0), (DATATYPE, 999), (DIM, 9), (DIM + 2, -5), (DIM + 2, 30000)])
def test_headers_that_make_no_sense(tmp_path, caplog, offset, value):
    refusal(patch(nifti(tmp_path / "scan.nii", counting((4, 3, 2))), offset, "h", value))
    assert caplog.messages == []


@pytest.mark.parametrize("value", [0.5, -1.0, -2000.0, 65536.0, 1e9, 65535.5])
@pytest.mark.parametrize("suffix", WRITTEN)
def test_labels_that_are_no_labels(tmp_path, suffix, value):
    array = np.zeros((4, 3, 2), np.float32)
    array[2, 1, 1], array[3, 2, 1] = value, 3
    volume.write(from_array(array), tmp_path / f"labels{suffix}")
    volume.read(tmp_path / f"labels{suffix}")
    assert f"{np.float32(value)}" in refusal(tmp_path / f"labels{suffix}", volume.read_labels)


# DICOM ----------------------------------------------------------------------------------------------------------------------


def write_slice(path, plane, spacing_mm, affine, z=0, **tags):
    """One (x, y) plane as the DICOM file of slice `z` of the grid that `affine` spans; tags as `t0018_1060=12.5`."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(plane.T[None]))
    image.SetSpacing([float(s) for s in spacing_mm])
    image.SetOrigin((RAS_FROM_LPS @ (affine @ [0, 0, z, 1])[:3]).tolist())
    image.SetDirection((RAS_FROM_LPS @ affine[:3, :3] / spacing_mm).ravel().tolist())
    for name, value in {"t0008_0060": "MR", "t0020_000d": "1.2.3", "t0020_000e": "1.2.3.4", **tags}.items():
        image.SetMetaData(name[1:].replace("_", "|"), str(value))
    path.parent.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(path))
    writer.Execute(image)


def write_stack(folder, scan, tags=lambda z, t: {}):
    """Every plane of a scan as a file, under names that follow no order; returns {(z, t): path}."""
    array = scan.array if scan.array.ndim == 4 else scan.array[..., None]
    places = list(np.ndindex(array.shape[2:]))
    numbers = np.random.default_rng(0).permutation(len(places))
    files = {place: folder / f"IM{number:04}" for place, number in zip(places, numbers, strict=True)}
    for (z, t), path in files.items():
        write_slice(path, array[:, :, z, t], scan.spacing_mm, scan.affine, z, **{"t0020_0013": z + 1, **tags(z, t)})
    return files


def cine_tags(z, t):
    """One series per slice, as scanners store short-axis cines; instance numbers that run against time."""
    return {"t0020_000e": f"1.2.3.{z + 1}", "t0020_0011": z + 1, "t0018_1060": 12.5 + 33.5 * t, "t0020_0013": 20 - t}


def exchange(path, old, new):
    """Other bytes of the same length in a file."""
    content = path.read_bytes()
    assert content.count(old) == 1 and len(old) == len(new)
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("angles", [(0, 0, 0), (25, -40, 70), (-100, 10, 190)])
def test_dicom_stack_is_the_nifti_of_the_same_volume(tmp_path, angles, dtype):
    axes = RAS_FROM_LPS @ rotation(*angles)
    scan = placed(counting((5, 4, 6), dtype), (1.25, 1.5, 8.0), axes, (-31.5, 20.25, 60.75))
    write_stack(tmp_path / "slices", scan)
    volume.write(scan, tmp_path / "scan.nii.gz")
    found = volume.read(tmp_path / "slices")
    assert_same(found, volume.read(tmp_path / "scan.nii.gz"))
    volume.write(found, tmp_path / "again.nii.gz")
    assert_same(volume.read(tmp_path / "again.nii.gz"), scan)


def test_dicom_stack_lies_where_itk_sees_it(tmp_path):
    scan = oblique((5, 4, 6))
    write_stack(tmp_path / "slices", scan)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "slices")))
    sitk.WriteImage(reader.Execute(), str(tmp_path / "theirs.mha"))
    found = volume.read(tmp_path / "slices")
    np.testing.assert_allclose(positions_mm(found.array, found.affine), itk_positions_mm(tmp_path / "theirs.mha"), atol=1e-3)


def test_dicom_cine_with_one_series_per_slice(tmp_path):
    cine = oblique((5, 4, 3, 12), frame_s=0.0335)
    write_stack(tmp_path / "slices", cine, cine_tags)
    assert_same(volume.read(tmp_path / "slices"), cine)


def test_dicom_cine_whose_positions_differ_in_the_last_digit(tmp_path):
    cine = oblique((5, 4, 3, 4), frame_s=0.0335)
    for z, t in np.ndindex(3, 4):
        affine = cine.affine.copy()
        affine[:3, 3] += 1e-3 * (t % 2)
        write_slice(tmp_path / "slices" / f"{t}{z}", cine.array[:, :, z, t], cine.spacing_mm, affine, z, **cine_tags(z, t))
    found = volume.read(tmp_path / "slices")
    np.testing.assert_array_equal(found.array, cine.array)
    np.testing.assert_allclose(found.affine, cine.affine, atol=2e-3)


@pytest.mark.parametrize("trigger", [{}, {"t0018_1060": 0}])
def test_dicom_cine_without_trigger_times_follows_the_instance_numbers(tmp_path, trigger):
    cine = oblique((5, 4, 3, 12))
    write_stack(tmp_path / "slices", cine, lambda z, t: {"t0020_0013": t + 1, **trigger})  # 10 comes after 9, not after 1
    assert_same(volume.read(tmp_path / "slices"), cine)


def test_dicom_cine_of_one_slice(tmp_path):
    cine = oblique((5, 4, 1, 6), frame_s=0.0335)
    write_stack(tmp_path / "slices", cine, cine_tags)
    assert_same(volume.read(tmp_path / "slices"), cine)


def test_dicom_slice_alone_is_as_thick_as_slices_are_apart(tmp_path):
    scan = oblique((5, 4, 1))
    write_stack(tmp_path / "slices", scan, lambda z, t: {"t0018_0050": 6})
    assert_same(volume.read(tmp_path / "slices"), scan)


def test_dicom_slice_alone_takes_its_thickness_where_the_spacing_is_absent(tmp_path):
    files = write_stack(tmp_path / "slices", oblique((5, 4, 1)), lambda z, t: {"t0018_0050": 6})
    exchange(files[0, 0], b"\x18\x00\x88\x00", b"\x18\x00\x89\x00")
    assert volume.read(tmp_path / "slices").spacing_mm == (1.25, 1.5, 6.0)
    exchange(files[0, 0], b"\x18\x00\x50\x00", b"\x18\x00\x51\x00")
    assert "1.25 x 1.5 x 0 mm" in refusal(tmp_path / "slices")


def test_dicom_rescale(tmp_path):
    scan = oblique((5, 4, 3))
    scan = scan.with_array(scan.array * np.int16(2))
    files = write_stack(tmp_path / "slices", scan, lambda z, t: {"t0028_1052": "-4", "t0028_1053": "2 "})
    np.testing.assert_array_equal(volume.read(tmp_path / "slices").array, scan.array)
    exchange(files[1, 0], b"\x53\x10\x02\x00\x00\x002 ", b"\x53\x10\x02\x00\x00\x00.5")  # as PET: a slope for each slice
    expected = scan.array.astype(np.float32)
    expected[:, :, 1] = (expected[:, :, 1] + 4) / 4 - 4
    found = volume.read(tmp_path / "slices").array
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_dicom_files_are_each_opened_twice_however_many(tmp_path, monkeypatch):
    scan = oblique((3, 2, 150))
    write_stack(tmp_path / "slices", scan)
    opened = []
    reader = dicom._reader
    monkeypatch.setattr(dicom, "_reader", lambda path: opened.append(path) or reader(path))
    assert_same(volume.read(tmp_path / "slices"), scan)
    assert len(opened) == 300


def test_dicom_positions_rounded_to_a_tenth(tmp_path):
    scan = placed(counting((5, 4, 9)), (0.5, 0.5, 0.625), RAS_FROM_LPS, (0, 0, 0))
    for z in range(9):
        affine = scan.affine.copy()
        affine[2, 3] = round(0.625 * z, 1)
        write_slice(tmp_path / "slices" / f"{z}", scan.array[:, :, z], scan.spacing_mm, affine)
    found = volume.read(tmp_path / "slices")
    assert found.spacing_mm == pytest.approx((0.5, 0.5, 0.625), rel=0.01)
    np.testing.assert_array_equal(found.array, scan.array)


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 4, 6), (5, 4, 6, 2)])
def test_dicom_missing_slice(tmp_path, shape):
    scan = oblique((*shape[:2], shape[2] + 1, *shape[3:]))
    files = write_stack(tmp_path / "slices", scan, cine_tags)
    for (z, _), path in files.items():
        if z == 1:
            path.unlink()
    message = refusal(tmp_path / "slices")
    assert "8 mm apart, but 16 mm" in message
    ends = [{path.name for (z, _), path in files.items() if z == end} for end in (0, 2)]
    assert all(any(name in message for name in names) for names in ends)


def test_dicom_slightly_uneven_slices(tmp_path):
    scan = oblique((5, 4, 4))
    for shift_mm, fine in ((0.07, True), (0.4, False)):
        for z in range(4):
            affine = scan.affine.copy()
            affine[:3, 3] += scan.affine[:3, 2] / 8 * shift_mm * (z == 2)
            write_slice(tmp_path / "slices" / f"{z}", scan.array[:, :, z], scan.spacing_mm, affine, z)
        if fine:
            assert_same(volume.read(tmp_path / "slices"), scan)
        else:
            assert "8 mm apart, but " in refusal(tmp_path / "slices")


def test_dicom_missing_frame(tmp_path):
    files = write_stack(tmp_path / "slices", oblique((5, 4, 3, 6)), cine_tags)
    files[2, 3].unlink()
    assert "unequal numbers of files per slice position (5 at 1, 6 at 2 positions)" in refusal(tmp_path / "slices")


def test_dicom_two_orientations(tmp_path):
    write_stack(tmp_path / "slices", oblique((5, 4, 3)))
    long_axis = placed(counting((5, 4, 1)), (1.25, 1.5, 8.0), RAS_FROM_LPS @ rotation(90, 0, 0), (0, 0, 0))
    write_slice(tmp_path / "slices" / "long_axis", long_axis.array[:, :, 0], long_axis.spacing_mm, long_axis.affine)
    message = refusal(tmp_path / "slices")
    assert "2 stacks" in message and "3 files of 5 x 4 pixels, 1.25 x 1.5 mm" in message
    assert "1 files of 5 x 4 pixels" in message and "long_axis" in message and "keep one" in message


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "words"),
    [((6, 4), (1.25, 1.5, 8.0), "6 x 4 pixels, 1.25 x 1.5 mm"), ((5, 4), (1.25, 1.6, 8.0), "5 x 4 pixels, 1.25 x 1.6 mm")],
)
def test_dicom_two_kinds_of_pixels(tmp_path, shape, spacing_mm, words):
    scan = oblique((5, 4, 3))
    write_stack(tmp_path / "slices", scan)
    affine = scan.affine.copy()
    affine[:3, :3] *= np.array(spacing_mm) / scan.spacing_mm
    write_slice(tmp_path / "slices" / "other", counting(shape), spacing_mm, affine, 3)
    message = refusal(tmp_path / "slices")
    assert "2 stacks" in message and words in message


def test_dicom_many_orientations_fit_in_a_line(tmp_path):
    for angle in range(12):  # slices around the long axis
        scan = placed(counting((5, 4, 1)), (1.25, 1.5, 8.0), RAS_FROM_LPS @ rotation(0, 15 * angle, 0), (0, 0, 0))
        write_slice(tmp_path / "slices" / f"{angle}", scan.array[:, :, 0], scan.spacing_mm, scan.affine)
    message = refusal(tmp_path / "slices")
    assert "12 stacks" in message and len(message) < 600


def test_dicom_slice_beside_the_stack(tmp_path):
    scan = oblique((5, 4, 4))
    files = write_stack(tmp_path / "slices", scan)
    affine = scan.affine.copy()
    affine[:3, 3] += 2 * scan.affine[:3, 0]
    write_slice(files[2, 0], scan.array[:, :, 2], scan.spacing_mm, affine, 2)
    assert "2.5 mm beside" in refusal(tmp_path / "slices")


def test_dicom_copies_are_not_frames(tmp_path):
    files = write_stack(tmp_path / "slices", oblique((5, 4, 3)))
    for path in files.values():
        path.with_name(f"copy of {path.name}").write_bytes(path.read_bytes())
    assert "instance number" in refusal(tmp_path / "slices")


def test_dicom_magnitude_and_phase_are_not_frames(tmp_path):
    cine = oblique((5, 4, 2, 6))
    write_stack(tmp_path / "slices", cine, lambda z, t: {"t0018_1060": 40 * (t // 2), "t0020_0013": t + 1})
    assert "trigger time" in refusal(tmp_path / "slices")


def test_dicom_other_files_are_ignored(tmp_path):
    scan = oblique()
    folder = write_stack(tmp_path / "slices", scan)[0, 0].parent
    (folder / "notes.txt").write_text("acquired on a Monday\n")
    (folder / "zeros.bin").write_bytes(bytes(4000))
    (folder / "empty").touch()
    (folder / "._IM0001.dcm").write_bytes(b"\0\5\x16\7" * 30)
    (folder / "older").mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5), np.uint8)), str(folder / "preview.png"))
    volume.write(scan, folder / "scan.nii.gz")
    for name, storage_class in {"report": "1.2.840.10008.5.1.4.1.1.88.11", "DICOMDIR": "1.2.840.10008.1.3.10"}.items():
        (folder / name).write_bytes(bytes(128) + b"DICM" + element(2, 2, b"UI", storage_class) + element(8, 0x60, b"CS", "SR"))
    assert_same(volume.read(folder), scan)


def element(group, number, kind, value):
    value = value.encode() + b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", group, number, kind, len(value)) + value


def test_dicom_folder_without_dicom(tmp_path):
    assert "no DICOM files in" in refusal(tmp_path)
    (tmp_path / "notes.txt").write_text("no images here\n")
    (tmp_path / "deeper").mkdir()
    assert "no DICOM files in" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", ["", ".dcm"])
def test_dicom_truncated_file(tmp_path, suffix):
    files = write_stack(tmp_path / "slices", oblique())
    path = files[1, 0].rename(files[1, 0].with_name(f"broken{suffix}"))
    content = path.read_bytes()
    for cut in (140, 400, len(content) - 41, len(content) - 1, *([0, 100] if suffix else [])):
        path.write_bytes(content[:cut])
        assert "truncated" in refusal(tmp_path / "slices", name=f"broken{suffix}"), cut


def test_dicom_file_that_breaks_between_header_and_pixels(tmp_path, monkeypatch):
    files = write_stack(tmp_path / "slices", oblique())
    by_time = dicom._by_time
    monkeypatch.setattr(dicom, "_by_time", lambda *args: files[1, 0].write_bytes(b"gone") and by_time(*args))
    assert "truncated" in refusal(tmp_path / "slices", name=files[1, 0].name)


@pytest.mark.parametrize(
    ("tag", "words"),
    [(b"\x20\x00\x32\x00", "slice position"), (b"\x20\x00\x37\x00", "orientation"), (b"\x28\x00\x30\x00", "pixel spacing")],
)
def test_dicom_header_without_geometry(tmp_path, tag, words):
    files = write_stack(tmp_path / "slices", placed(counting((5, 4, 3)), (1.25, 1.5, 8.0), RAS_FROM_LPS, (0, 0, 0)))
    for path in files.values():
        exchange(path, tag, tag[:2] + bytes([tag[2] + 1]) + tag[3:])
    assert words in refusal(tmp_path / "slices", name="IM0000")


def test_dicom_colour(tmp_path):
    image = sitk.GetImageFromArray(np.zeros((1, 4, 5, 3), np.uint8), isVector=True)
    (tmp_path / "slices").mkdir()
    sitk.WriteImage(image, str(tmp_path / "slices" / "colour.dcm"))
    assert "one number per voxel, found 3" in refusal(tmp_path / "slices", name="colour.dcm")


def test_dicom_multi_frame(tmp_path):
    (tmp_path / "slices").mkdir()
    array = counting((5, 4, 3), np.uint16)
    sitk.WriteImage(sitk.GetImageFromArray(array.T), str(tmp_path / "slices" / "many.dcm"))
    found = volume.read(tmp_path / "slices")
    np.testing.assert_array_equal(found.array, array)
    np.testing.assert_allclose(found.affine, np.diag([-1, -1, 1, 1]), atol=1e-6)
    (tmp_path / "slices" / "more.dcm").write_bytes((tmp_path / "slices" / "many.dcm").read_bytes())
    assert "2 of 2 files hold many slices" in refusal(tmp_path / "slices")
