"""DICOM: slices, series and Enhanced files put in order of place and time, the stack that is meant, unusable files refused."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk

from shared import volume
from shared.dicom import headers, pixels, stacks
from shared.volume import RAS_FROM_LPS
from tests.geometry import rotation
from tests.volumes import assert_same, counting, itk_positions_mm, oblique, placed, positions_mm, refusal


def write_slice(path, plane, spacing_mm, affine, z=0, **tags):
    """One (x, y) plane as the DICOM file of slice `z` of the grid that `affine` spans; tags as `t0018_1060=12.5`."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(plane.T[None]))
    image.SetSpacing([float(s) for s in spacing_mm])
    image.SetOrigin((RAS_FROM_LPS @ (affine @ [0, 0, z, 1])[:3]).tolist())
    image.SetDirection((RAS_FROM_LPS @ affine[:3, :3] / spacing_mm).ravel().tolist())
    for name, value in {"t0008_0060": "MR", "t0020_000d": "1.2.3", "t0020_000e": "1.2.3.4", **tags}.items():
        image.SetMetaData(name[1:].replace("_", "|"), str(value))
    path.parent.mkdir(parents=True, exist_ok=True)
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


def first_name(files, z):
    """The file of slice `z` that comes first by name."""
    return min(path for place, path in files.items() if place[0] == z and path.exists()).name


def read_with_warning(path):
    """The volume, and the one warning that was given while it was read: one short line."""
    with pytest.warns(stacks.LeftOut) as given:
        found = volume.read(path)
    (message,) = [str(warning.message) for warning in given]
    assert len(message) < 300 and "\n" not in message
    return found, message


def exchange(path, old, new):
    """Other bytes of the same length in a file."""
    content = path.read_bytes()
    assert content.count(old) == 1 and len(old) == len(new)
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("angles", [(0, 0, 0), (25, -40, 70), (-100, 10, 190)])
def test_stack_is_the_nifti_of_the_same_volume(tmp_path, angles, dtype):
    axes = RAS_FROM_LPS @ rotation(*angles)
    scan = placed(counting((5, 4, 6), dtype), (1.25, 1.5, 8.0), axes, (-31.5, 20.25, 60.75))
    write_stack(tmp_path / "slices", scan)
    volume.write(scan, tmp_path / "scan.nii.gz")
    found = volume.read(tmp_path / "slices")
    assert_same(found, volume.read(tmp_path / "scan.nii.gz"))
    volume.write(found, tmp_path / "again.nii.gz")
    assert_same(volume.read(tmp_path / "again.nii.gz"), scan)


def test_stack_lies_where_itk_sees_it(tmp_path):
    scan = oblique((5, 4, 6))
    write_stack(tmp_path / "slices", scan)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "slices")))
    sitk.WriteImage(reader.Execute(), str(tmp_path / "theirs.mha"))
    found = volume.read(tmp_path / "slices")
    np.testing.assert_allclose(positions_mm(found.array, found.affine), itk_positions_mm(tmp_path / "theirs.mha"), atol=1e-3)


def test_cine_with_one_series_per_slice(tmp_path):
    cine = oblique((5, 4, 3, 12), frame_s=0.0335)
    write_stack(tmp_path / "slices", cine, cine_tags)
    assert_same(volume.read(tmp_path / "slices"), cine)


def test_cine_whose_positions_differ_in_the_last_digit(tmp_path):
    cine = oblique((5, 4, 3, 4), frame_s=0.0335)
    for z, t in np.ndindex(3, 4):
        affine = cine.affine.copy()
        affine[:3, 3] += 1e-3 * (t % 2)
        write_slice(tmp_path / "slices" / f"{t}{z}", cine.array[:, :, z, t], cine.spacing_mm, affine, z, **cine_tags(z, t))
    found = volume.read(tmp_path / "slices")
    np.testing.assert_array_equal(found.array, cine.array)
    np.testing.assert_allclose(found.affine, cine.affine, atol=2e-3)


@pytest.mark.parametrize("trigger", [{}, {"t0018_1060": 0}])
def test_cine_without_trigger_times_follows_the_instance_numbers(tmp_path, trigger):
    cine = oblique((5, 4, 3, 12))
    write_stack(tmp_path / "slices", cine, lambda z, t: {"t0020_0013": t + 1, **trigger})  # 10 comes after 9, not after 1
    assert_same(volume.read(tmp_path / "slices"), cine)


def test_cine_of_one_slice(tmp_path):
    cine = oblique((5, 4, 1, 6), frame_s=0.0335)
    write_stack(tmp_path / "slices", cine, cine_tags)
    assert_same(volume.read(tmp_path / "slices"), cine)


def test_slice_alone_is_as_thick_as_slices_are_apart(tmp_path):
    scan = oblique((5, 4, 1))
    write_stack(tmp_path / "slices", scan, lambda z, t: {"t0018_0050": 6})
    assert_same(volume.read(tmp_path / "slices"), scan)


def test_slice_alone_takes_its_thickness_where_the_spacing_is_absent(tmp_path):
    files = write_stack(tmp_path / "slices", oblique((5, 4, 1)), lambda z, t: {"t0018_0050": 6})
    exchange(files[0, 0], b"\x18\x00\x88\x00", b"\x18\x00\x89\x00")
    assert volume.read(tmp_path / "slices").spacing_mm == (1.25, 1.5, 6.0)
    exchange(files[0, 0], b"\x18\x00\x50\x00", b"\x18\x00\x51\x00")
    assert "1.25 x 1.5 x 0 mm" in refusal(tmp_path / "slices")


def test_rescale(tmp_path):
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


def test_files_are_each_read_once_for_the_header_and_once_for_the_pixels(tmp_path, monkeypatch):
    scan = oblique((3, 2, 150))
    write_stack(tmp_path / "slices", scan)
    opened = []
    for module in (headers, pixels):
        monkeypatch.setattr(module, "open", lambda path, mode: opened.append(path) or open(path, mode), raising=False)
    assert_same(volume.read(tmp_path / "slices"), scan)
    assert len(opened) == 300


def test_positions_rounded_to_a_tenth(tmp_path):
    scan = placed(counting((5, 4, 9)), (0.5, 0.5, 0.625), RAS_FROM_LPS, (0, 0, 0))
    for z in range(9):
        affine = scan.affine.copy()
        affine[2, 3] = round(0.625 * z, 1)
        write_slice(tmp_path / "slices" / f"{z}", scan.array[:, :, z], scan.spacing_mm, affine)
    found = volume.read(tmp_path / "slices")
    assert found.spacing_mm == pytest.approx((0.5, 0.5, 0.625), rel=0.01)
    np.testing.assert_array_equal(found.array, scan.array)


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 4, 6), (5, 4, 6, 2)])
def test_missing_slice(tmp_path, shape):
    scan = oblique((*shape[:2], shape[2] + 1, *shape[3:]))
    files = write_stack(tmp_path / "slices", scan, cine_tags)
    for (z, _), path in files.items():
        if z == 1:
            path.unlink()
    message = refusal(tmp_path / "slices")
    assert "8 mm apart, but 16 mm" in message
    ends = [{path.name for (z, _), path in files.items() if z == end} for end in (0, 2)]
    assert all(any(name in message for name in names) for names in ends)


def test_slightly_uneven_slices(tmp_path):
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


def test_missing_frame(tmp_path):
    files = write_stack(tmp_path / "slices", oblique((5, 4, 3, 6)), cine_tags)
    files[2, 3].unlink()
    message = refusal(tmp_path / "slices")
    assert f"unequal numbers of frames: 5 at slice 3 (such as {first_name(files, 2)}), but 6 at 2 of 3 slices" in message


def test_a_view_beside_the_stack_is_left_out(tmp_path):
    scan = oblique((5, 4, 3))
    write_stack(tmp_path / "slices", scan)
    view = placed(counting((5, 4, 1)), (1.25, 1.5, 8.0), RAS_FROM_LPS @ rotation(90, 0, 0), (0, 0, 0))
    write_slice(tmp_path / "slices" / "long_axis", view.array[:, :, 0], view.spacing_mm, view.affine)
    found, message = read_with_warning(tmp_path / "slices")
    assert_same(found, scan)
    assert "read 3 slices, 5 x 4 pixels, 1.25 mm" in message and "left out 1 other image, such as long_axis" in message


@pytest.mark.parametrize(("shape", "spacing_mm"), [((6, 4), (1.25, 1.5, 8.0)), ((5, 4), (1.25, 1.6, 8.0))])
def test_slice_with_other_pixels_is_left_out(tmp_path, shape, spacing_mm):
    scan = oblique((5, 4, 3))
    write_stack(tmp_path / "slices", scan)
    affine = scan.affine.copy()
    affine[:3, :3] *= np.array(spacing_mm) / scan.spacing_mm
    write_slice(tmp_path / "slices" / "other", counting(shape), spacing_mm, affine, 3)
    found, message = read_with_warning(tmp_path / "slices")
    assert_same(found, scan)
    assert "left out 1 other image, such as other" in message


def test_many_orientations_fit_in_a_line(tmp_path):
    for angle in range(12):  # slices around the long axis
        scan = placed(counting((5, 4, 1)), (1.25, 1.5, 8.0), RAS_FROM_LPS @ rotation(0, 15 * angle, 0), (0, 0, 0))
        write_slice(tmp_path / "slices" / f"{angle}", scan.array[:, :, 0], scan.spacing_mm, scan.affine)
    message = refusal(tmp_path / "slices")
    assert "12 stacks of one slice each" in message and "#1 1 slice, 5 x 4 pixels" in message and len(message) < 300


def test_slice_beside_the_stack(tmp_path):
    scan = oblique((5, 4, 4))
    files = write_stack(tmp_path / "slices", scan)
    affine = scan.affine.copy()
    affine[:3, 3] += 2 * scan.affine[:3, 0]
    write_slice(files[2, 0], scan.array[:, :, 2], scan.spacing_mm, affine, 2)
    assert "2.5 mm beside" in refusal(tmp_path / "slices")


def test_copies_are_not_frames(tmp_path):
    files = write_stack(tmp_path / "slices", oblique((5, 4, 3)))
    for path in files.values():
        path.with_name(f"copy of {path.name}").write_bytes(path.read_bytes())
    assert "instance number" in refusal(tmp_path / "slices")


def test_magnitude_and_phase_are_not_frames(tmp_path):
    cine = oblique((5, 4, 2, 6))
    write_stack(tmp_path / "slices", cine, lambda z, t: {"t0018_1060": 40 * (t // 2), "t0020_0013": t + 1})
    assert "trigger time" in refusal(tmp_path / "slices")


def test_other_files_are_ignored(tmp_path):
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


def test_folder_without_dicom(tmp_path):
    assert "no DICOM files in" in refusal(tmp_path)
    (tmp_path / "notes.txt").write_text("no images here\n")
    (tmp_path / "deeper").mkdir()
    assert "no DICOM files in" in refusal(tmp_path)
    volume.write(oblique(), tmp_path / "patient1.nii.gz")
    volume.write(oblique(), tmp_path / "patient2.nii.gz")
    assert "2 scans such as patient1.nii.gz; name the files instead of the folder" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", ["", ".dcm"])
def test_truncated_file(tmp_path, suffix):
    files = write_stack(tmp_path / "slices", oblique())
    path = files[1, 0].rename(files[1, 0].with_name(f"broken{suffix}"))
    content = path.read_bytes()
    for cut in (140, 400, len(content) - 41, len(content) - 1, *([0, 100] if suffix else [])):
        path.write_bytes(content[:cut])
        assert "truncated" in refusal(tmp_path / "slices", name=f"broken{suffix}"), cut


def test_file_that_breaks_between_header_and_pixels(tmp_path, monkeypatch):
    files = write_stack(tmp_path / "slices", oblique())
    arrange = stacks.arrange
    monkeypatch.setattr(stacks, "arrange", lambda *args: files[1, 0].write_bytes(b"gone") and arrange(*args))
    assert "truncated" in refusal(tmp_path / "slices", name=files[1, 0].name)


@pytest.mark.parametrize(
    ("tag", "words"),
    [(b"\x20\x00\x32\x00", "slice position"), (b"\x20\x00\x37\x00", "orientation"), (b"\x28\x00\x30\x00", "pixel spacing")],
)
def test_header_without_geometry(tmp_path, tag, words):
    files = write_stack(tmp_path / "slices", placed(counting((5, 4, 3)), (1.25, 1.5, 8.0), RAS_FROM_LPS, (0, 0, 0)))
    for path in files.values():
        exchange(path, tag, tag[:2] + bytes([tag[2] + 1]) + tag[3:])
    assert words in refusal(tmp_path / "slices", name="IM0000")


def test_colour(tmp_path):
    image = sitk.GetImageFromArray(np.zeros((1, 4, 5, 3), np.uint8), isVector=True)
    (tmp_path / "slices").mkdir()
    sitk.WriteImage(image, str(tmp_path / "slices" / "colour.dcm"))
    assert "one number per voxel, found 3" in refusal(tmp_path / "slices", name="colour.dcm")


def test_multi_frame(tmp_path):
    (tmp_path / "slices").mkdir()
    array = counting((5, 4, 3), np.uint16)
    sitk.WriteImage(sitk.GetImageFromArray(array.T), str(tmp_path / "slices" / "many.dcm"))
    found = volume.read(tmp_path / "slices")
    np.testing.assert_array_equal(found.array, array)
    np.testing.assert_allclose(found.affine, np.diag([-1, -1, 1, 1]), atol=1e-6)
    (tmp_path / "slices" / "more.dcm").write_bytes((tmp_path / "slices" / "many.dcm").read_bytes())
    assert "2 frames at each slice position, not told apart" in refusal(tmp_path / "slices")
