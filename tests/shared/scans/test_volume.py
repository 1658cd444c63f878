"""Scans in and out: geometry kept by every format, unusable files refused in one line."""

import gzip
import itertools
import os
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InputError
from shared.scans import volume
from shared.scans.volume import Volume, from_array
from tests.geometry import rotation
from tests.shared.scans.itk_files import change
from tests.volumes import assert_same, counting, itk_positions_mm, oblique, placed, positions_mm, refusal

ROOT = Path(__file__).parents[3]
WRITTEN = (".nii.gz", ".nii", ".nrrd", ".mha")
# where a NIfTI-1 header keeps its fields
DIM, DATATYPE, PIXDIM, UNITS, SFORM_CODE, SFORM = 40, 70, 76, 123, 254, 280


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


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "scan.nii")
    assert "a device or a pipe; expected a file or a folder" in refusal(tmp_path / "scan.nii")


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


def test_a_frame_time_that_is_no_number_is_unknown(tmp_path):
    volume.write(oblique((4, 3, 2, 5), frame_s=40.0), tmp_path / "cine.nii")
    cine = volume.read(patch(tmp_path / "cine.nii", PIXDIM + 16, "f", np.nan))
    assert cine.frame_s == 0
    volume.write(cine, tmp_path / "cine.nrrd")
    assert volume.read(tmp_path / "cine.nrrd").frame_s == 0


# Agreement with other readers -----------------------------------------------------------------------------------------------

PLACES = {
    "straight": placed(counting((5, 4, 3)), (1.25, 1.5, 8.0), np.eye(3), (-31.5, 20.25, 60.75)),
    "oblique": oblique(),
    "mirrored": placed(counting((5, 4, 3)), (1.25, 1.5, 8.0), rotation(25, -40, 70) @ np.diag([1, -1, 1]), (-31.5, 20.25, 60.75)),
    "coronal": placed(counting((5, 4, 3)), (1.25, 1.5, 8.0), np.eye(3)[:, [0, 2, 1]] * (-1, 1, -1), (5, -6, 7)),
}


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


def test_sheared_axes_become_the_nearest_rotation(tmp_path):
    """Off orthogonal by 1e-4, as some files of the M&Ms challenge."""
    scan = oblique()
    affine = scan.affine.copy()
    affine[:3, 0] += 1e-4 * affine[:3, 1]
    sheared = volume.Volume(scan.array, scan.spacing_mm, affine)
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        volume.write(sheared, tmp_path / f"scan{suffix}")
        np.testing.assert_allclose(volume.read(tmp_path / f"scan{suffix}").affine, affine, atol=2e-4)
        if suffix == ".nii.gz":
            continue  # the file says it as it is
        direction = np.reshape(sitk.ReadImage(str(tmp_path / f"scan{suffix}")).GetDirection(), (3, 3))
        np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-6)


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


@pytest.mark.parametrize("suffix", WRITTEN)
def test_a_full_disk(tmp_path, suffix):
    """The system's limit on the size of a file stands for the end of the disk."""
    code = """
import resource, sys
from pathlib import Path
import numpy as np
from shared import cli
from shared.scans import volume
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
with cli.one_line_errors():
    volume.write(volume.from_array(np.random.default_rng(0).integers(0, 999, (40, 40, 40))), Path(sys.argv[1]))
"""
    path = tmp_path / f"labels{suffix}"
    done = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and str(path) in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_names_that_are_no_utf_8(tmp_path, suffix):
    path = tmp_path / os.fsdecode(b"scan_\xff\xe9" + suffix.encode())
    volume.write(oblique(), path)
    np.testing.assert_array_equal(volume.read(path).array, oblique().array)
    path.write_bytes(path.read_bytes()[:-9])
    code = """
import sys
from shared import cli
from shared.scans import volume
with cli.one_line_errors():
    print(sys.argv[1])
    volume.read(sys.argv[1])
"""
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, env=strict)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert rb"scan_\udcff" in done.stderr and rb"scan_\udcff" in done.stdout


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


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("number", ["1e200", "1e-200", "1e400", "nan", "-inf"])
def test_steps_that_no_arithmetic_stands(tmp_path, suffix, number):
    volume.write(from_array(counting((5, 4, 3)), (7, 7, 7)), tmp_path / f"scan{suffix}")
    old = b"(-7.0," if suffix == ".nrrd" else b"ElementSpacing = 7.0"
    message = refusal(change(tmp_path / f"scan{suffix}", old, old.replace(b"-7.0", b"7.0").replace(b"7.0", number.encode())))
    assert "voxel" in message or "affine" in message


# Grey values ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1e9, -1e9, 1000 + 101 * 998.0])
def test_a_stray_voxel_that_leaves_no_contrast_to_the_others_is_refused(tmp_path, value):
    array = np.linspace(0, 1000, 10**4).reshape(50, 20, 10)  # 0.1 % and 99.9 % of it: 1 and 999
    array[3, 4, 5] = value
    volume.write(from_array(array), tmp_path / "scan.nii.gz")
    with pytest.raises(InputError, match=r"scan.nii.gz: 1 of 10000 voxels, such as .* from (1|0.9) to 999; replace them first"):
        volume.read_grey(tmp_path / "scan.nii.gz")
    assert volume.read(tmp_path / "scan.nii.gz").array[3, 4, 5] == value


def test_bright_vessels_and_padding_are_grey_values(tmp_path):
    array = np.linspace(0, 1000, 10**4).reshape(50, 20, 10)
    array[3, 4, 5], array[0] = 90 * 1000, -3024
    volume.write(from_array(array), tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(volume.read_grey(tmp_path / "scan.nii.gz").array, array)
    volume.write(from_array(np.eye(10)[..., None]), tmp_path / "nearly_empty.nii.gz")
    assert volume.read_grey(tmp_path / "nearly_empty.nii.gz").array.sum() == 10


def test_the_mark_of_a_slicer_file_is_no_part_of_its_name():
    assert [volume.stem(f"a/p1{end}") for end in (".seq.nrrd", ".seg.nrrd", ".SEG.NRRD", ".nrrd")] == ["p1"] * 4
    assert volume.stem("p1.seg.nii.gz") == "p1" and volume.stem("seg.nii.gz") == "seg"
