"""DICOM: slices, series and Enhanced files put in order of place and time, the stack that is meant, unusable files refused."""

import struct

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from shared.errors import InputError
from shared.scans import volume
from shared.scans.dicom import headers, pixels, stacks
from shared.scans.volume import RAS_FROM_LPS, Volume
from tests.geometry import rotation
from tests.shared.scans.dicom_files import cine_tags, write_slice, write_stack
from tests.volumes import assert_same, counting, itk_positions_mm, oblique, placed, positions_mm, refusal


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


@pytest.mark.parametrize("pitch", [1.25, 0.75, 8.013, 9.96])
def test_positions_rounded_to_a_tenth_of_a_millimetre(tmp_path, pitch):
    """As ITK reads no such file, the mean of the gaps is what is expected."""
    for z in range(12):
        affine = np.diag([1.5, 1.5, pitch, 1.0])
        affine[2, 3] = round(pitch * z, 1) - pitch * z
        write_slice(tmp_path / "slices" / f"{z}", counting((5, 4, 1))[..., 0], (1.5, 1.5, pitch), affine, z)
    assert volume.read(tmp_path / "slices").spacing_mm[2] == pytest.approx(round(11 * pitch, 1) / 11, rel=1e-4)


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
    assert "2.5 mm off the line" in refusal(tmp_path / "slices")


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


# Studies: many series, several stacks -----------------------------------------------------------------------------------------


def shifted(scan, mm, axis=2):
    """The same scan, moved along one of its axes."""
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, axis] / scan.spacing_mm[axis] * mm
    return Volume(scan.array, scan.spacing_mm, affine, scan.frame_s)


def write_study(folder, scan, **tags):
    """One folder per slice, as a scanner's archive gives a short-axis cine, with a series description."""
    for z in range(scan.array.shape[2]):
        for t in range(scan.array.shape[3]):
            own = {**cine_tags(z, t), "t0008_103e": "sax", **tags}
            write_slice(folder / f"Se{9 - z}" / f"IM{t:04}.dcm", scan.array[:, :, z, t], scan.spacing_mm, scan.affine, z, **own)


def test_study_with_one_folder_per_slice_and_a_long_axis_view(tmp_path):
    cine = oblique((5, 4, 3, 6), frame_s=0.0335)
    write_study(tmp_path / "study", cine)
    view = placed(counting((5, 4, 1, 6)), (1.25, 1.5, 8.0), RAS_FROM_LPS @ rotation(90, 0, 0), (0, 0, 0), 0.0335)
    for t in range(6):
        tags = {**cine_tags(7, t), "t0008_103e": "4ch"}
        write_slice(tmp_path / "study/deep/er/Se1" / f"{t}", view.array[:, :, 0, t], view.spacing_mm, view.affine, **tags)
    (tmp_path / "study/Se8/._IM0001.dcm").write_bytes(b"\0\5\x16\7" * 30)
    (tmp_path / "study/.trash").mkdir()
    (tmp_path / "study/.trash/IM0001.dcm").write_bytes(b"broken")
    found, message = read_with_warning(tmp_path / "study")
    assert_same(found, cine)
    assert "read 3 slices x 6 frames" in message and "left out 6 other images, such as deep/er/Se1/0" in message
    assert_same(volume.read(tmp_path / "study#1"), cine)  # who names a stack is told nothing
    assert_same(volume.read(str(tmp_path / "study#2")), view)


def test_links_to_series_are_followed_once(tmp_path):
    cine = oblique((5, 4, 3, 6), frame_s=0.0335)
    write_study(tmp_path / "archive", cine)
    (tmp_path / "study").mkdir()
    for z in range(3):
        (tmp_path / f"study/slice{z}").symlink_to(tmp_path / f"archive/Se{9 - z}")
    (tmp_path / "archive/Se9/loop").symlink_to(tmp_path / "archive/Se9")
    (tmp_path / "study/again").symlink_to(tmp_path / "archive/Se8")
    assert_same(volume.read(tmp_path / "study"), cine)


@pytest.mark.parametrize("nested", [True, False])
def test_two_stacks_are_listed_and_one_is_named(tmp_path, nested):
    short = oblique((5, 4, 3, 6), frame_s=0.0335)
    write_stack(
        tmp_path / ("study/short" if nested else "study"), short, lambda z, t: {**cine_tags(z, t), "t0008_103e": " sax  cine "}
    )
    other = placed(counting((6, 4, 4)), (2.0, 2.0, 5.0), RAS_FROM_LPS @ rotation(90, 0, 0), (0, 0, 0))
    for z in range(4):
        write_slice(
            tmp_path / ("study/axial" if nested else "study") / f"z{z}", other.array[:, :, z], other.spacing_mm, other.affine, z
        )
    message = refusal(tmp_path / "study")
    assert "2 stacks; name one as study#1 or so: #1 4 slices, 6 x 4 pixels, 2 mm, " in message
    assert "#2 3 slices x 6 frames, 5 x 4 pixels, 1.25 mm, sax cine" in message and len(message) < 300
    assert_same(volume.read(tmp_path / "study#1"), other)
    assert_same(volume.read(tmp_path / "study#2"), short)
    for number in (0, 3, 99):
        assert f"no stack #{number}; there are 2: #1 4 slices" in refusal(tmp_path / f"study#{number}", name="study")
    for name in ("study#x", "study#", "#1", "nothing#1"):
        assert "no such file" in refusal(tmp_path / name)


def test_a_folder_whose_name_ends_in_a_number_is_itself(tmp_path):
    scan = oblique()
    write_stack(tmp_path / "visit#2", scan)
    write_stack(tmp_path / "visit", oblique((5, 4, 2)))
    assert_same(volume.read(tmp_path / "visit#2"), scan)
    assert_same(volume.read(tmp_path / "visit#2#1"), scan)


def test_the_current_folder_can_be_numbered(tmp_path, monkeypatch):
    write_stack(tmp_path / "slices", oblique())
    monkeypatch.chdir(tmp_path / "slices")
    assert_same(volume.read(".#1"), oblique())


@pytest.mark.parametrize(
    ("tag", "first", "second"),
    [
        ("t0008_0008", "ORIGINAL\\PRIMARY\\M\\ND", "ORIGINAL\\PRIMARY\\P\\ND"),
        ("t0010_0020", "patient1", "patient2"),
        ("t0018_0020", "GR", "IR"),
        ("t0018_0086", "1", "2"),
    ],
    ids=["magnitude and phase", "two patients", "cine and late enhancement", "two echoes"],
)
def test_images_of_two_kinds_do_not_mix(tmp_path, tag, first, second):
    scan = oblique((5, 4, 3))
    write_stack(tmp_path / "study/a", scan, lambda z, t: {tag: first})
    write_stack(
        tmp_path / "study/b", scan.with_array(scan.array + np.int16(100)), lambda z, t: {tag: second, "t0020_0013": z + 9}
    )
    assert "2 stacks" in refusal(tmp_path / "study")
    assert_same(volume.read(tmp_path / "study#1"), scan)
    assert (volume.read(tmp_path / "study#2").array == scan.array + 100).all()


def test_localizer_of_three_planes_is_left_out(tmp_path):
    scan = oblique((5, 4, 4))
    write_stack(tmp_path / "study/sax", scan)
    for number, angles in enumerate([(0, 0, 0), (90, 0, 0), (0, 90, 0)]):
        plane = placed(counting((8, 8, 1)), (3.0, 3.0, 8.0), RAS_FROM_LPS @ rotation(*angles), (0, 0, 0))
        write_slice(tmp_path / "study/loc" / f"{number}", plane.array[:, :, 0], plane.spacing_mm, plane.affine)
    found, message = read_with_warning(tmp_path / "study")
    assert_same(found, scan)
    assert "left out 3 other images, such as loc/0, loc/1, loc/2" in message


def test_screenshots_are_left_out(tmp_path):
    scan = oblique((6, 4, 3))
    write_stack(tmp_path / "study/sax", scan)
    (tmp_path / "study/shots").mkdir()
    colour = sitk.GetImageFromArray(np.zeros((1, 4, 5, 3), np.uint8), isVector=True)
    sitk.WriteImage(colour, str(tmp_path / "study/shots/colour.dcm"))
    write_slice(tmp_path / "study/shots/grey.dcm", scan.array[:3, :, 0], scan.spacing_mm, scan.affine)
    grey = pydicom.dcmread(tmp_path / "study/shots/grey.dcm")
    del grey.ImagePositionPatient
    grey.save_as(tmp_path / "study/shots/grey.dcm")
    found, message = read_with_warning(tmp_path / "study")
    assert_same(found, scan)
    assert "left out 2 other images, such as shots/colour.dcm" in message


@pytest.mark.parametrize("z", [0, 1, 2])
def test_a_slice_that_lost_its_place_is_not_left_out(tmp_path, z):
    files = write_stack(tmp_path / "slices", placed(counting((5, 4, 3)), (1.25, 1.5, 8.0), RAS_FROM_LPS, (0, 0, 0)))
    exchange(files[z, 0], b"\x20\x00\x32\x00", b"\x20\x00\x33\x00")
    assert "no slice position (0020,0032)" in refusal(tmp_path / "slices", name=files[z, 0].name)


@pytest.mark.parametrize("frames", [1, 6])
def test_a_slice_taken_again_is_refused(tmp_path, frames):
    cine = oblique((5, 4, 3, frames))
    write_study(tmp_path / "study", cine)
    for t in range(frames):
        tags = {**cine_tags(1, t), "t0020_000e": "1.2.3.99", "t0018_1060": 13.0 + 33.5 * t}
        write_slice(tmp_path / "study/again" / f"{t}", cine.array[:, :, 1, t], cine.spacing_mm, cine.affine, 1, **tags)
    message = refusal(tmp_path / "study")
    assert "2 series lie at slice 2 of 3, such as Se8/IM000" in message and "and again/" in message and "taken again?" in message


def test_a_stack_taken_again_is_a_stack_of_its_own(tmp_path):
    first, second = oblique((5, 4, 3, 6), frame_s=0.0335), oblique((5, 4, 3, 6), frame_s=0.0335)
    second = second.with_array(second.array + np.int16(500))
    for name, scan, shift_ms in (("first", first, 0.0), ("second", second, 0.4)):
        tags = {"t0020_000e": f"1.2.{len(name)}", "t0008_103e": name}
        write_stack(
            tmp_path / "study" / name, scan,
            lambda z, t, tags=tags, shift_ms=shift_ms: {**cine_tags(z, t), **tags, "t0018_1060": 12.5 + shift_ms + 33.5 * t},
        )  # fmt: skip
    message = refusal(tmp_path / "study")
    assert "2 stacks" in message and "first in first" in message and "second in second" in message
    assert_same(volume.read(tmp_path / "study#1"), first)
    assert_same(volume.read(tmp_path / "study#2"), second)


@pytest.mark.parametrize("mm", [60.0, 28.0])
def test_two_parallel_stacks_with_a_gap_between_them(tmp_path, mm):
    lower = oblique((5, 4, 3))
    upper = shifted(lower, mm)
    write_stack(tmp_path / "study/a", lower, lambda z, t: {"t0020_000e": "1.2.3.1"})
    write_stack(tmp_path / "study/b", upper, lambda z, t: {"t0020_000e": "1.2.3.2"})
    assert "2 stacks" in refusal(tmp_path / "study")
    assert_same(volume.read(tmp_path / "study#1"), lower)
    assert_same(volume.read(tmp_path / "study#2"), upper)


def test_a_stack_stored_in_two_series(tmp_path):
    scan = oblique((5, 4, 6))
    write_stack(tmp_path / "study", scan, lambda z, t: {"t0020_000e": f"1.2.3.{z // 3}"})
    assert_same(volume.read(tmp_path / "study"), scan)


def test_a_frame_that_every_slice_lacks_is_said(tmp_path):
    cine = oblique((5, 4, 3, 6), frame_s=0.0335)
    files = write_stack(tmp_path / "slices", cine, cine_tags)
    for z in range(3):
        files[z, 3].unlink()
    with pytest.warns(
        UserWarning, match=r"by trigger time .*, frames 3 and 4 of 5 are 67 apart, others 33.5; is a frame missing\?"
    ):
        found = volume.read(tmp_path / "slices")
    np.testing.assert_array_equal(found.array, cine.array[..., [0, 1, 2, 4, 5]])


def test_a_position_in_time_that_every_enhanced_slice_lacks_is_said(tmp_path):
    cine = oblique((5, 4, 3, 6))
    frames = [(plane, z, t, {"TemporalPositionIndex": t + 1}) for plane, z, t, _ in enhanced_frames(cine) if t != 1]
    with pytest.warns(
        UserWarning, match="by temporal position .*, frames 1 and 2 of 5 are 2 apart, others 1; is a frame missing"
    ):
        volume.read(write_enhanced(tmp_path / "scan.dcm", cine, frames, SHARED))


def test_two_series_without_times_are_not_a_cine(tmp_path):
    scan = oblique((5, 4, 3))
    for number in (1, 2):
        write_stack(
            tmp_path / f"study/{number}", scan, lambda z, t, n=number: {"t0020_000e": f"1.2.3.{n}", "t0020_0013": 10 * n + z}
        )
    assert "2 stacks" in refusal(tmp_path / "study")


def test_frames_that_do_not_match_between_slices(tmp_path):
    """The first slice lacks frame 3 of 5, the second frame 4: as many each, but not the same instants."""
    cine = oblique((5, 4, 2, 4))
    write_stack(tmp_path / "slices", cine, lambda z, t: {"t0020_0100": [[1, 2, 4, 5], [1, 2, 3, 5]][z][t]})
    message = refusal(tmp_path / "slices")
    assert "frames of slices 1 and 2" in message and "temporal position" in message and "is a frame missing?" in message


def test_temporal_positions_that_run_on_from_slice_to_slice(tmp_path):
    cine = oblique((5, 4, 3, 4))
    write_stack(tmp_path / "slices", cine, lambda z, t: {"t0020_0100": 4 * z + t + 1})
    assert_same(volume.read(tmp_path / "slices"), cine)


def test_series_whose_trigger_times_start_at_different_instants(tmp_path):
    cine = oblique((5, 4, 3, 6), frame_s=0.0335)
    write_stack(tmp_path / "slices", cine, lambda z, t: {**cine_tags(z, t), "t0018_1060": 200.0 * z + 33.5 * t})
    assert_same(volume.read(tmp_path / "slices"), cine)


# Enhanced files: many frames in one ---------------------------------------------------------------------------------------------


def enhanced_frames(scan, series_ms=40.0):
    """Every plane of a scan as (plane, z, t, attributes of its functional groups), in order of slice, then time."""
    array = scan.array if scan.array.ndim == 4 else scan.array[..., None]
    return [(array[:, :, z, t], z, t, {"TemporalPositionIndex": t + 1, "NominalCardiacTriggerDelayTime": series_ms * t})
            for z, t in np.ndindex(array.shape[2:])]  # fmt: skip


GROUPS = {  # attribute -> the sequence of the functional group that holds it
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "NominalCardiacTriggerDelayTime": "CardiacSynchronizationSequence",
    "NominalPercentageOfCardiacPhase": "CardiacSynchronizationSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "DimensionIndexValues": "FrameContentSequence",
    "StackID": "FrameContentSequence",
    "FrameType": "MRImageFrameTypeSequence",
    "ComplexImageComponent": "MRImageFrameTypeSequence",
}


def functional_group(attributes):
    group = pydicom.Dataset()
    for name, value in attributes.items():
        if GROUPS[name] not in group:
            setattr(group, GROUPS[name], [pydicom.Dataset()])
        setattr(group[GROUPS[name]].value[0], name, value)
    return group


def decimals(numbers):
    return [f"{number:.9g}"[:16] for number in np.ravel(numbers)]


def write_enhanced(path, scan, frames, shared=(), syntax=ExplicitVRLittleEndian, **attributes):
    """An Enhanced MR file of frames (plane, z, t, attributes) on the grid of `scan`; `shared` names attributes that all share."""
    per_frame = []
    for _, z, _, own in frames:
        place = {
            "ImagePositionPatient": decimals(RAS_FROM_LPS @ (scan.affine @ [0, 0, z, 1])[:3]),
            "ImageOrientationPatient": decimals((RAS_FROM_LPS @ scan.affine[:3, :2] / scan.spacing_mm[:2]).T),
            "PixelSpacing": decimals(scan.spacing_mm[1::-1]),
            "SpacingBetweenSlices": decimals(scan.spacing_mm[2])[0],
        }
        per_frame.append({**place, **own})
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = EnhancedMRImageStorage, generate_uid()
    dataset.Modality, dataset.SeriesInstanceUID, dataset.InstanceNumber = "MR", "1.2.3.4", 1
    dataset.SharedFunctionalGroupsSequence = [functional_group({name: per_frame[0][name] for name in shared})]
    dataset.PerFrameFunctionalGroupsSequence = [
        functional_group({name: value for name, value in own.items() if name not in shared}) for own in per_frame
    ]
    stored = np.stack([plane.T for plane, *_ in frames])
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * stored.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    for name, value in attributes.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


SHARED = ("ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices")


@pytest.mark.parametrize("order", ["stored by slice", "by time", "backwards", "shuffled"])
@pytest.mark.parametrize("shared", [SHARED, ()], ids=["shared groups", "every frame by itself"])
def test_enhanced_cine_in_any_order_of_frames(tmp_path, order, shared):
    cine = oblique((5, 4, 3, 6), frame_s=0.04)
    frames = enhanced_frames(cine)
    frames.sort(key={"by time": lambda f: f[2], "backwards": lambda f: (-f[1], -f[2])}.get(order, lambda f: (f[1], f[2])))
    if order == "shuffled":
        frames = [frames[i] for i in np.random.default_rng(3).permutation(len(frames))]
    path = write_enhanced(tmp_path / "scan/im.dcm", cine, frames, shared)
    assert_same(volume.read(path.parent), cine)
    assert_same(volume.read(path), cine)
    assert_same(volume.read(path.rename(path.with_name("IM0001"))), cine)


def test_enhanced_stack_without_times(tmp_path):
    scan = oblique((5, 4, 6))
    frames = [(plane, z, t, {}) for plane, z, t, _ in enhanced_frames(scan)]
    path = write_enhanced(tmp_path / "scan.dcm", scan, [frames[i] for i in (0, 2, 4, 1, 3, 5)], SHARED)
    assert_same(volume.read(path), scan)


def test_enhanced_cine_of_one_slice(tmp_path):
    cine = oblique((5, 4, 1, 6), frame_s=0.04)
    everything = (*SHARED, "ImagePositionPatient")
    assert_same(volume.read(write_enhanced(tmp_path / "scan.dcm", cine, enhanced_frames(cine)[::-1], everything)), cine)


@pytest.mark.parametrize(
    ("times", "frame_s"),
    [
        (lambda z, t: {"TemporalPositionIndex": t + 1}, 0.0),
        (lambda z, t: {"NominalCardiacTriggerDelayTime": 30.0 * t + 7 * z}, 0.03),
        (lambda z, t: {"TemporalPositionIndex": 1, "NominalCardiacTriggerDelayTime": 30.0 * t}, 0.03),
        (lambda z, t: {"NominalPercentageOfCardiacPhase": 15.0 * t}, 0.0),
        (lambda z, t: {"DimensionIndexValues": [1, 3 - z, t + 1]}, 0.0),
    ],
    ids=["index", "trigger", "constant index and trigger", "percentage", "dimension"],
)
def test_what_tells_when_an_enhanced_frame_was_taken(tmp_path, times, frame_s):
    cine = oblique((5, 4, 3, 6), frame_s=frame_s)
    frames = [(plane, z, t, times(z, t)) for plane, z, t, _ in enhanced_frames(cine)]
    frames = [frames[i] for i in np.random.default_rng(5).permutation(len(frames))]
    assert_same(volume.read(write_enhanced(tmp_path / "scan.dcm", cine, frames, SHARED)), cine)


@pytest.mark.parametrize(
    ("pointers", "words"),
    [
        (["StackID", "InStackPositionNumber", "TemporalPositionIndex"], None),
        (["StackID", "InStackPositionNumber", "EffectiveEchoTime"], "not told apart"),
    ],
)
def test_dimensions_are_times_only_where_the_file_says_so(tmp_path, pointers, words):
    cine = oblique((5, 4, 3, 6))
    frames = [(plane, z, t, {"DimensionIndexValues": [1, z + 1, 6 - t]}) for plane, z, t, _ in enhanced_frames(cine)]
    dimensions = [pydicom.Dataset() for _ in pointers]
    for dimension, name in zip(dimensions, pointers, strict=True):
        dimension.DimensionIndexPointer = Tag(name)
    path = write_enhanced(tmp_path / "scan.dcm", cine, frames, SHARED, DimensionIndexSequence=dimensions)
    if words:
        assert words in refusal(path)
    else:
        assert_same(volume.read(path), cine.with_array(cine.array[..., ::-1]))


def test_enhanced_rescaling_per_frame(tmp_path):
    cine = oblique((5, 4, 2, 3), frame_s=0.04)
    frames = enhanced_frames(cine)
    for number, (_, _, _, attributes) in enumerate(frames):
        attributes |= {"RescaleSlope": f"{0.5 + number}", "RescaleIntercept": f"{-10 * number}"}
    found = volume.read(write_enhanced(tmp_path / "scan.dcm", cine, frames, SHARED))
    assert found.array.dtype == np.float32
    for z, t in np.ndindex(2, 3):
        number = 3 * z + t
        np.testing.assert_array_equal(found.array[:, :, z, t], cine.array[:, :, z, t] * (0.5 + number) - 10 * number)
    whole = volume.read(
        write_enhanced(
            tmp_path / "whole.dcm", cine, [(*f[:3], {**f[3], "RescaleSlope": "2", "RescaleIntercept": "-1024"}) for f in frames]
        )
    )
    assert np.issubdtype(whole.array.dtype, np.integer)
    np.testing.assert_array_equal(whole.array, cine.array.astype(int) * 2 - 1024)


def test_several_enhanced_files_one_per_slice_or_phase(tmp_path):
    cine = oblique((5, 4, 3, 6), frame_s=0.04)
    frames = enhanced_frames(cine)
    for z in range(3):
        own = [frame for frame in frames if frame[1] == z]
        write_enhanced(tmp_path / "slices" / f"{5 - z}.dcm", cine, own, SHARED, SeriesInstanceUID=f"1.2.{z}")
    assert_same(volume.read(tmp_path / "slices"), cine)
    for t in range(6):
        own = [frame for frame in frames if frame[2] == t]
        write_enhanced(tmp_path / "phases" / f"{9 - t}.dcm", cine, own, SHARED, SeriesInstanceUID=f"1.2.{t}")
        own = [(plane, z, t, {"TemporalPositionIndex": 1}) for plane, z, _, _ in own]
        write_enhanced(tmp_path / "numbered" / f"{9 - t}.dcm", cine, own, SHARED, InstanceNumber=t + 1)
    assert_same(volume.read(tmp_path / "phases"), cine)
    assert_same(volume.read(tmp_path / "numbered"), Volume(cine.array, cine.spacing_mm, cine.affine, 0.0))


def test_enhanced_stacks_in_one_file(tmp_path):
    short, long = oblique((5, 4, 3)), placed(counting((5, 4, 2)), (1.25, 1.5, 8.0), RAS_FROM_LPS @ rotation(90, 0, 0), (0, 0, 0))
    beside = shifted(short, 100, axis=0)
    path = write_enhanced(tmp_path / "scan.dcm", short, enhanced_frames(short))
    first = pydicom.dcmread(path)
    for stack, scan in (("2", long), ("3", beside)):
        part = pydicom.dcmread(write_enhanced(tmp_path / "part.dcm", scan, enhanced_frames(scan)))
        for group in part.PerFrameFunctionalGroupsSequence:
            group.FrameContentSequence[0].StackID = stack
        first.PerFrameFunctionalGroupsSequence.extend(part.PerFrameFunctionalGroupsSequence)
        first.PixelData += part.PixelData
    first.NumberOfFrames = 8
    first.save_as(path)
    assert "3 stacks; name one as scan.dcm#1 or so: #1 3 slices" in refusal(path)
    for number, scan in enumerate((short, beside, long), 1):
        assert_same(volume.read(f"{path}#{number}"), scan)


def test_enhanced_magnitude_and_phase_in_one_file(tmp_path):
    cine = oblique((5, 4, 3, 4), frame_s=0.04)
    magnitude = [(plane, z, t, {**own, "ComplexImageComponent": "MAGNITUDE"}) for plane, z, t, own in enhanced_frames(cine)]
    phase = [
        (plane + np.int16(1000), z, t, {**own, "ComplexImageComponent": "PHASE"}) for plane, z, t, own in enhanced_frames(cine)
    ]
    mixed = [frame for pair in zip(phase, magnitude, strict=True) for frame in pair]
    path = write_enhanced(tmp_path / "flow.dcm", cine, mixed, SHARED)
    assert "2 stacks" in refusal(path)
    assert_same(volume.read(f"{path}#1"), cine.with_array(cine.array + np.int16(1000)))
    assert_same(volume.read(f"{path}#2"), cine)


def test_enhanced_frame_or_slice_missing(tmp_path):
    cine = oblique((5, 4, 4, 6), frame_s=0.04)
    frames = enhanced_frames(cine)
    path = write_enhanced(tmp_path / "scan.dcm", cine, [f for f in frames if f[1:3] != (2, 3)], SHARED)
    assert "5 at slice 3 (such as scan.dcm frame 13), but 6 at 3 of 4 slices" in refusal(path)
    path = write_enhanced(tmp_path / "scan.dcm", cine, [f for f in frames if f[1] != 1], SHARED)
    assert "8 mm apart, but 16 mm between scan.dcm frame 1 and scan.dcm frame 7" in refusal(path)


def test_enhanced_frames_without_a_time_are_not_told_apart(tmp_path):
    cine = oblique((5, 4, 3, 6))
    path = write_enhanced(tmp_path / "scan.dcm", cine, [(*f[:3], {}) for f in enhanced_frames(cine)], SHARED)
    assert "6 frames at each slice position, not told apart" in refusal(path)


def test_enhanced_tilted_gantry(tmp_path):
    scan = oblique((5, 4, 3))
    tilted = shifted(scan, 0)
    tilted.affine[:3, 2] += 0.3 * scan.affine[:3, 1]
    assert "mm off the line" in refusal(write_enhanced(tmp_path / "scan.dcm", tilted, enhanced_frames(scan), ()))


def test_enhanced_frame_without_a_place(tmp_path):
    scan = oblique((5, 4, 3))
    path = write_enhanced(tmp_path / "scan.dcm", scan, enhanced_frames(scan), SHARED)
    dataset = pydicom.dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    dataset.save_as(path)
    assert "no slice position" in refusal(path)


# Transfer syntaxes, and files that cannot be used -------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless])
def test_transfer_syntaxes(tmp_path, syntax):
    cine = oblique((16, 12, 3, 6), frame_s=0.04)
    path = write_enhanced(tmp_path / "scan.dcm", cine, enhanced_frames(cine)[::-1], SHARED)
    dataset = pydicom.dcmread(path)
    if syntax == RLELossless:
        dataset.compress(syntax)
        dataset.save_as(path)
    elif syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        pydicom.dcmwrite(path, dataset, little_endian=False, implicit_vr=False, force_encoding=True)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    assert_same(volume.read(path), cine)


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_compressed_slices(tmp_path, capfd, compressor):
    """Lossless, with a rescaling that is applied once."""
    scan = oblique((16, 12, 3), np.uint16)
    files = write_stack(tmp_path / "slices", scan)
    for path in files.values():
        image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetUseCompression(True)
        writer.SetCompressor(compressor)
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(path))
        writer.Execute(image)
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.TransferSyntaxUID.is_compressed
        dataset.RescaleSlope, dataset.RescaleIntercept = "2", "-50"
        dataset.save_as(path)
    found = volume.read(tmp_path / "slices")
    np.testing.assert_array_equal(found.array, scan.array.astype(int) * 2 - 50)
    content = path.read_bytes()
    path.write_bytes(content[:-200] + bytes(180) + content[-20:])
    capfd.readouterr()
    refused_or_read(tmp_path / "slices")
    assert capfd.readouterr() == ("", "")


def test_a_decoder_that_dies_over_a_damaged_frame(tmp_path, monkeypatch, capfd):
    cine = oblique((16, 12, 3, 6), frame_s=0.04)
    path = write_enhanced(tmp_path / "scan.dcm", cine, enhanced_frames(cine), SHARED)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(path)
    (tmp_path / "dies.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr(pixels, "DECODER", tmp_path / "dies.py")
    assert "broken, truncated or unsupported DICOM" in refusal(path)
    assert capfd.readouterr() == ("", "")


def refused_or_read(path):
    """Whatever is in the file, reading it ends well or with one line."""
    try:
        return volume.read(path)
    except InputError as error:
        assert "\n" not in str(error)


def test_bits_above_those_in_use_are_ignored(tmp_path):
    """Old scanners kept overlays there."""
    scan = oblique((5, 4, 3), np.uint16)
    path = write_enhanced(tmp_path / "scan.dcm", scan.with_array(scan.array + np.uint16(0xA000)), enhanced_frames(scan), SHARED)
    signed = scan.with_array(((scan.array - 30).astype(np.int16) & 0x0FFF).astype(np.int16))
    dataset = pydicom.dcmread(path)
    dataset.PixelData = (np.frombuffer(dataset.PixelData, np.uint16) | 0xA000).tobytes()
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.save_as(path)
    np.testing.assert_array_equal(volume.read(path).array, scan.array)
    path = write_enhanced(tmp_path / "scan.dcm", signed, enhanced_frames(signed), SHARED, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(volume.read(path).array, scan.array.astype(int) - 30)


def test_one_classic_slice_as_a_file(tmp_path):
    files = write_stack(tmp_path / "slices", oblique())
    assert "one slice only; give the folder" in refusal(files[1, 0])


@pytest.mark.parametrize("content", [b"", b"text", bytes(5000), b"\0" * 128 + b"DICM", b"\x08\0\x05\0CS\x0a\0ISO_IR 100"])
def test_files_that_only_look_like_dicom(tmp_path, content):
    (tmp_path / "scan.dcm").write_bytes(content)
    assert "broken, truncated or unsupported DICOM" in refusal(tmp_path / "scan.dcm")


def test_a_file_without_preamble(tmp_path):
    files = write_stack(tmp_path / "slices", oblique((5, 4, 2)))
    for path in files.values():
        dataset = pydicom.dcmread(path)
        content = path.read_bytes()
        assert dataset.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        path.write_bytes(content[132 + 12 + dataset.file_meta.FileMetaInformationGroupLength :])
    assert_same(volume.read(tmp_path / "slices"), oblique((5, 4, 2)))


def test_frames_of_which_the_file_says_no_place(tmp_path):
    scan = oblique((5, 4, 3))
    path = write_enhanced(tmp_path / "scan.dcm", scan, enhanced_frames(scan), SHARED)
    dataset = pydicom.dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.save_as(path)
    assert "3 frames without a word on where each lies" in refusal(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"NumberOfFrames": 2**31 - 1}, {"NumberOfFrames": 2}, {"NumberOfFrames": -3}, {"NumberOfFrames": 0}, {"Rows": 65535},
        {"Columns": 0}, {"BitsAllocated": 32}, {"BitsStored": 0}, {"HighBit": 200}, {"SamplesPerPixel": 0},
        {"PerFrameFunctionalGroupsSequence": []}, {"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11},
    ],
    ids=str,
)  # fmt: skip
def test_headers_that_declare_other_pixels_than_there_are(tmp_path, changes):
    scan = oblique((5, 4, 3))
    refusal(write_enhanced(tmp_path / "scan.dcm", scan, enhanced_frames(scan), SHARED, **changes))


def test_compressed_file_that_declares_an_absurd_size(tmp_path):
    scan = oblique((5, 4, 3))
    path = write_enhanced(tmp_path / "scan.dcm", scan, enhanced_frames(scan), SHARED)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.Rows = dataset.Columns = 65535
    dataset.save_as(path)
    assert path.stat().st_size < 10000
    assert "broken, truncated or unsupported" in refusal(path)


def test_damaged_files_end_in_one_line(tmp_path, capfd):
    """Bytes changed anywhere, most of them in the header."""
    cine = oblique((5, 4, 2, 3), frame_s=0.04)
    content = write_enhanced(tmp_path / "scan.dcm", cine, enhanced_frames(cine), SHARED).read_bytes()
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        for place in random.integers(128, len(content), random.integers(1, 6)):
            damaged[place] = random.integers(256)
        (tmp_path / "scan.dcm").write_bytes(damaged[: len(content) - random.integers(0, 2) * random.integers(0, len(content))])
        refused_or_read(tmp_path / "scan.dcm")
    assert capfd.readouterr() == ("", "")
