"""NRRD and MetaImage files: read as ITK reads them where it is right, undamaged, from their own folder, within their header."""

import bz2
import gzip
import itertools
import os
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from shared import runs
from shared.datasets import Case
from shared.errors import InputError
from shared.scans import volume
from shared.scans.volume import RAS_FROM_LPS, from_array
from tests.volumes import counting, oblique, refusal

ROOT = Path(__file__).parents[3]
SUFFIXES = (".nrrd", ".mha")
HEADERS = {".nrrd": ".nhdr", ".mha": ".mhd"}
KINDS = ["Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float32", "Float64"]


def change(path, old, new, count=1):
    """Other bytes in the header of a file."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, count))
    return path


def nrrd(path, array, *lines, encoding="raw", data=None):
    """A NRRD file with the given lines in its header besides those of its type and shape."""
    header = [
        "NRRD0005", f"type: {array.dtype.name}", f"dimension: {array.ndim}", f"sizes: {' '.join(map(str, array.shape))}",
        *([] if any(line.startswith("endian") for line in lines) else ["endian: little"]), f"encoding: {encoding}",
        *lines, "", "",
    ]  # fmt: skip
    path.write_bytes("\n".join(header).encode() + (array.tobytes(order="F") if data is None else data))
    return path


SPACE = ("space: left-posterior-superior", "space directions: (1.25,0,0) (0,1.5,0) (0,0,8)", "space origin: (1,2,3)")


# As ITK reads them ----------------------------------------------------------------------------------------------------------


def assert_as_itk(path):
    image, found = sitk.ReadImage(str(path)), volume.read(path)
    np.testing.assert_array_equal(found.array, sitk.GetArrayFromImage(image).T)
    assert found.array.dtype.isnative and found.array.flags.writeable
    axes = image.GetDimension()
    np.testing.assert_allclose(found.spacing_mm, image.GetSpacing()[:3])
    steps = np.reshape(image.GetDirection(), (axes, axes))[:3, :3] * image.GetSpacing()[:3]
    np.testing.assert_allclose(found.affine[:3, :3], RAS_FROM_LPS @ steps, atol=1e-9)
    np.testing.assert_allclose(found.affine[:3, 3], RAS_FROM_LPS @ image.GetOrigin()[:3], atol=1e-9)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".nhdr", ".mhd"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_type_that_itk_writes(tmp_path, kind, packed, suffix):
    volume.write(oblique(), tmp_path / "scan.mha")
    image = sitk.Cast(sitk.ReadImage(str(tmp_path / "scan.mha")), getattr(sitk, f"sitk{kind}"))
    sitk.WriteImage(image, str(tmp_path / f"scan{suffix}"), useCompression=packed)
    assert_as_itk(tmp_path / f"scan{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_itk_reads_every_type_that_we_write(tmp_path, dtype, suffix):
    for shape in ((5, 4, 3), (5, 4, 3, 2)):
        volume.write(oblique(shape, dtype, 0.04 * (len(shape) > 3)), tmp_path / f"scan{suffix}")
        assert_as_itk(tmp_path / f"scan{suffix}")


@pytest.mark.parametrize("place", [
    SPACE, (SPACE[0].replace("left-posterior-superior", "RAS"), *SPACE[1:]),
    (SPACE[0].replace("left-posterior-superior", "left-anterior-superior"), *SPACE[1:]),
    ("space dimension: 3", *SPACE[1:]), ("space: scanner-xyz", *SPACE[1:]), SPACE[:2],
    ("spacings: 1.25 1.5 8",), ("spacings: 1.25 1.5 8", "kinds: space space space", "centerings: cell cell cell"),
    ("space: LPS", "space directions: (0,1.25,0) (0,0,1.5) (8,0,0)", SPACE[2], "measurement frame: (1,0,0) (0,1,0) (0,0,1)"),
    (*SPACE, "# a remark", "key:=value: with := colons", 'space units: "mm" "mm" "mm"', "content: text",
     "thicknesses: nan nan 8"),
])  # fmt: skip
def test_nrrd_places(tmp_path, place):
    assert_as_itk(nrrd(tmp_path / "scan.nrrd", counting((5, 4, 3)), *place))


def test_encodings_of_nrrd(tmp_path):
    array = counting((5, 4, 3), np.int32) - 9
    raw = array.tobytes("F")
    for name, data in {
        "raw": None, "gzip": gzip.compress(raw), "gz": gzip.compress(raw[:80]) + gzip.compress(raw[80:]),
        "bzip2": bz2.compress(raw), "ascii": " ".join(map(str, array.ravel("F"))).encode(),
    }.items():  # fmt: skip
        path = nrrd(tmp_path / f"{name}.nrrd", array, *SPACE, encoding=name, data=data)
        np.testing.assert_array_equal(volume.read(path).array, array)
    path = nrrd(tmp_path / "big.nrrd", array, *SPACE, "endian: big", data=array.byteswap().tobytes("F"))
    np.testing.assert_array_equal(volume.read(path).array, array)
    for skips in (["byte skip: 3"], ["byte skip: -1"], ["line skip: 1", "byte skip: 1"]):
        path = nrrd(tmp_path / "skip.nrrd", array, *SPACE, *skips, data=b"a\nb" + array.tobytes("F"))
        np.testing.assert_array_equal(volume.read(path).array, array)
    for data in (b"1 2 3", b"word " * 60, b"1 " * 61, b"1" * 9000):
        assert "broken or truncated" in refusal(nrrd(tmp_path / "text.nrrd", array, *SPACE, encoding="text", data=data))


def test_encodings_of_metaimage(tmp_path):
    array = counting((5, 4, 3))
    lines = ["ObjectType = Image", "NDims = 3", "DimSize = 5 4 3", "ElementType = MET_SHORT", "ElementSpacing = 1 2 3"]

    def meta(*more, data):
        (tmp_path / "scan.mha").write_bytes("\n".join([*lines, *more, "ElementDataFile = LOCAL", ""]).encode() + data)
        return tmp_path / "scan.mha"

    raw = array.tobytes("F")
    for path in (
        meta(data=raw), meta("BinaryDataByteOrderMSB = True", data=array.byteswap().tobytes("F")),
        meta("ElementByteOrderMSB = True", data=array.byteswap().tobytes("F")),
        meta("CompressedData = True", data=zlib.compress(raw)),
        meta("BinaryData = False", data=" ".join(map(str, array.ravel("F"))).encode()),
        meta("HeaderSize = 7", data=b"nothing" + raw), meta("HeaderSize = -1", data=b"nothing" + raw),
        meta("Comment = a = b", "", data=raw),
    ):  # fmt: skip
        found = volume.read(path)
        np.testing.assert_array_equal(found.array, array)
        assert found.spacing_mm == (1, 2, 3)
    for path in (
        meta(data=raw + b"\0"), meta(data=raw[:-1]), meta("HeaderSize = 7", data=raw), meta("HeaderSize = 10000000000", data=raw),
        meta("CompressedData = perhaps", data=raw), meta("CompressedData = True", data=zlib.compress(raw)[:-1]),
        meta("CompressedData = True", data=zlib.compress(raw) + b"\0"), meta("NDims = 3", data=raw),
    ):  # fmt: skip
        assert "broken or truncated" in refusal(path)


def test_no_voxel_size_and_other_units(tmp_path):
    array = counting((5, 4, 3))
    assert "no voxel size" in refusal(nrrd(tmp_path / "scan.nrrd", array))
    assert "expected lengths in mm, found the unit 'm'" in refusal(
        nrrd(tmp_path / "scan.nrrd", array, *SPACE, 'space units: "m" "m" "m"')
    )
    volume.write(from_array(array), tmp_path / "scan.mha")
    assert "found the unit 'cm'" in refusal(
        change(tmp_path / "scan.mha", b"ElementSpacing", b"DistanceUnits = cm\nElementSpacing")
    )
    assert "no voxel size" in refusal(change(tmp_path / "scan.mha", b"DistanceUnits = cm\nElementSpacing", b"ElementNothing"))


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
    text = [f"({','.join(map(repr, (RAS_FROM_LPS @ affine[:3, axis]).tolist()))})" for axis in range(3)]
    path = nrrd(tmp_path / "sheared.nrrd", scan.array, SPACE[0], f"space directions: {' '.join(text)}")
    np.testing.assert_allclose(volume.read(path).affine[:3, :3], affine[:3, :3])


# Cines ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cine.seq.nrrd", "cine.nrrd"])
@pytest.mark.parametrize("kind", ["list", "time", "none", "???", "domain"])
@pytest.mark.parametrize("first", [True, False])
def test_a_cine_whose_time_has_no_place_in_space(tmp_path, name, kind, first):
    cine = oblique((5, 4, 3, 6)).array
    stored = np.moveaxis(cine, 3, 0) if first else cine
    spatial = ["(1.25,0,0)", "(0,1.5,0)", "(0,0,8)"]
    directions, kinds = (["none", *spatial], [kind, *["domain"] * 3]) if first else ([*spatial, "none"], [*["domain"] * 3, kind])
    place = (SPACE[0], f"space directions: {' '.join(directions)}", f"kinds: {' '.join(kinds)}", SPACE[2])
    found = volume.read(nrrd(tmp_path / name, stored, *place))
    np.testing.assert_array_equal(found.array, cine)
    assert found.spacing_mm == (1.25, 1.5, 8) and found.frame_s == 0
    np.testing.assert_array_equal(found.affine, [[-1.25, 0, 0, -1], [0, -1.5, 0, -2], [0, 0, 8, 3], [0, 0, 0, 1]])
    found = volume.read(nrrd(tmp_path / name, stored[:1] if first else stored[..., :1], *place))
    np.testing.assert_array_equal(found.array, cine[..., 0])
    volume.write(found, tmp_path / "labels.nrrd")
    assert sitk.ReadImage(str(tmp_path / "labels.nrrd")).GetSize() == (5, 4, 3, 1)


def test_frame_time_of_a_sequence(tmp_path):
    stored = counting((6, 5, 4, 3))
    for unit, step in (("ms", 40), ("s", 0.04), ("", 0.04)):
        lines = ("kinds: list domain domain domain", f"spacings: {step} 1.25 1.5 8", f'units: "{unit}" "mm" "mm" "mm"')
        found = volume.read(nrrd(tmp_path / "cine.seq.nrrd", stored, *lines))
        assert found.frame_s == pytest.approx(0.04) and found.spacing_mm == (1.25, 1.5, 8)


def test_label_maps_of_sequences_are_sequences(tmp_path):
    """3D Slicer wants time first, of kind list; ITK sees it as one vector in each voxel."""
    cine = oblique((5, 4, 3, 6))
    volume.write(cine, tmp_path / "labels.seq.nrrd")
    image = sitk.ReadImage(str(tmp_path / "labels.seq.nrrd"))
    assert image.GetSize() == (5, 4, 3) and image.GetNumberOfComponentsPerPixel() == 6
    assert image[3, 1, 2] == tuple(cine.array[3, 1, 2])
    np.testing.assert_array_equal(volume.read(tmp_path / "labels.seq.nrrd").array, cine.array)
    np.testing.assert_allclose(volume.read(tmp_path / "labels.seq.nrrd").affine, cine.affine)


def test_segments_of_slicer_that_overlap_are_no_cine(tmp_path):
    layers = counting((2, 5, 4, 3), np.uint8)
    place = (SPACE[0], "space directions: none (1.25,0,0) (0,1.5,0) (0,0,8)", "kinds: list domain domain domain", SPACE[2])
    segments = "Segment0_Layer:=0", "Segment0_LabelValue:=1", "Segment1_Layer:=1", "Segment1_LabelValue:=1"
    path = nrrd(tmp_path / "p1.seg.nrrd", layers, *place, *segments)
    assert "segments overlap, in layers; export it from 3D Slicer as a label map" in refusal(path)
    one = nrrd(tmp_path / "p2.seg.nrrd", layers[0], *SPACE, *segments[:2])
    np.testing.assert_array_equal(volume.read_labels(one).array, layers[0])


@pytest.mark.parametrize("kind", ["vector", "RGB-color", "covariant-vector", "3-color", "complex", "point"])
def test_vectors_are_no_cine(tmp_path, kind):
    n = 2 if kind == "complex" else 3
    lines = (SPACE[0], SPACE[1].replace(": ", ": none "), f"kinds: {kind} domain domain domain")
    assert f"expected one number per voxel, found {n}" in refusal(nrrd(tmp_path / "scan.nrrd", counting((n, 5, 4, 3)), *lines))
    assert volume.read(nrrd(tmp_path / "scan.nrrd", counting((1, 5, 4, 3)), *lines)).array.shape == (5, 4, 3)


def test_slices_over_time_are_no_scan(tmp_path):
    lines = ("space dimension: 2", "space directions: none (1,0) (0,1)", "kinds: list domain domain")
    assert "3D" in refusal(nrrd(tmp_path / "scan.nrrd", counting((6, 5, 4)), *lines))


# Damage ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".nii.gz"])
def test_one_flipped_bit_is_refused_or_changes_no_voxel(tmp_path, suffix):
    random = np.random.default_rng(0)
    scan = from_array(random.normal(100, 20, (24, 20, 10)).astype(np.int16), (1.5, 1.5, 8))
    path = tmp_path / f"scan{suffix}"
    volume.write(scan, path)
    content = path.read_bytes()
    header = content.index(b"\n\n") + 2 if suffix == ".nrrd" else content.index(b"LOCAL\n") + 6 if suffix == ".mha" else 20
    places = [*random.integers(header * 8, len(content) * 8, 80), *random.choice(header * 8, min(400, header * 8), replace=False)]
    refused = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = volume.read(path)
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < 400
            refused += 1
        else:
            np.testing.assert_array_equal(found.array, scan.array, f"bit {place}")
    assert refused >= 75


@pytest.mark.parametrize("encoding", ["bzip2", "raw", "gzip"])
def test_damage_and_wrong_length_of_other_encodings(tmp_path, encoding):
    array = np.random.default_rng(0).integers(0, 999, (9, 8, 7)).astype(np.int16)
    pack = {"bzip2": bz2.compress, "raw": bytes, "gzip": gzip.compress}[encoding]
    for data in (pack(array.tobytes("F"))[:-1], pack(array.tobytes("F")[:-2]), pack(array.tobytes("F") + b"\0")):
        assert "broken or truncated" in refusal(nrrd(tmp_path / "scan.nrrd", array, *SPACE, encoding=encoding, data=data))
    if encoding == "bzip2":
        for at in range(20, 900, 40):
            damaged = bytearray(pack(array.tobytes("F")))
            damaged[at] ^= 4
            assert "broken" in refusal(nrrd(tmp_path / "scan.nrrd", array, *SPACE, encoding=encoding, data=bytes(damaged)))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_headers_that_make_no_sense(tmp_path, suffix):
    changes = {
        ".nrrd": [
            ("dimension: 3", "dimension: 1000"), ("dimension: 3", "dimension: -3"), ("sizes: 5 4 3", "sizes: 5 4 -3"),
            ("sizes: 5 4 3", "sizes: 5 4 0"), ("sizes: 5 4 3", "sizes: 99999999999999999999 4 3"),
            ("sizes: 5 4 3", "sizes: 5 4 x"), ("sizes: 5 4 3", "sizes: " + "1 " * 1000), ("type: short", "type: block"),
            ("type: short\n", ""), ("encoding: gzip", "encoding: hex"), ("NRRD0004", "NRRD9999"), ("(0", "(zero"),
            ("kinds: domain", "kinds: nothing"), ("space: left-posterior-superior", "space: left-handed"), ("endian", "colour"),
            ("endian: little\n", ""), ("space origin: (", "space origin: (1,"), ("sizes", "type: short\nsizes"),
            ("sizes", "a" * 2**23 + "\nsizes"), ("space directions: (", "space directions: none ("),
            ("space origin: (", "byte skip: 99999999999\nspace origin: ("), ("space origin: (", "space origin: (\xff"),
            ("space origin: (", "line skip: 99999999999\nspace origin: ("),
        ],
        ".mha": [
            ("NDims = 3", "NDims = 1000"), ("NDims = 3", "NDims = -1"), ("NDims = 3\n", ""),
            ("DimSize = 5 4 3", "DimSize = 5 4 -3"),
            ("DimSize = 5 4 3", "DimSize = 99999999999999999999 4 3"), ("DimSize = 5 4 3", "DimSize = 5 4 0"),
            ("MET_SHORT", "MET_OTHER"), ("MET_SHORT", "MET_SHORT_ARRAY"), ("ElementDataFile", "ElementNoFile"),
            ("Offset = ", "Offset = 1 "), ("NDims = 3", "NDims = " + "9" * 5000), ("TransformMatrix = ", "TransformMatrix = 2 "),
            ("Offset", "\xff" * 2**23), ("ElementSpacing = ", "ElementSpacing = x"),
        ],
    }  # fmt: skip
    for old, new in changes[suffix]:
        volume.write(from_array(counting((5, 4, 3))), tmp_path / f"scan{suffix}")
        message = refusal(change(tmp_path / f"scan{suffix}", old.encode(), new.encode("latin-1")))
        assert "broken or truncated" in message and len(message) < 400, new[:40]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("number", ["1e200", "1e-200", "1e400", "nan", "-inf"])
def test_steps_that_no_arithmetic_stands(tmp_path, suffix, number):
    volume.write(from_array(counting((5, 4, 3)), (7, 7, 7)), tmp_path / f"scan{suffix}")
    old = b"(-7.0," if suffix == ".nrrd" else b"ElementSpacing = 7.0"
    message = refusal(change(tmp_path / f"scan{suffix}", old, old.replace(b"-7.0", b"7.0").replace(b"7.0", number.encode())))
    assert "voxel" in message or "affine" in message


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_bomb_takes_no_more_memory_than_its_header_declares(tmp_path, suffix):
    path = tmp_path / f"bomb{suffix}"
    volume.write(from_array(np.zeros((1000, 1000, 50), np.uint8)), path)  # 50 MB in 50 kB
    change(path, b"1000 1000 50", b"10 10 10")
    tracemalloc.start()
    try:
        assert "more data than the header declares" in refusal(path)
        change(path, b"10 10 10", b"1000000 1000000 400")
        assert "more than 1073741824" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_broken_file_gives_one_line(tmp_path, suffix):
    volume.write(oblique(), tmp_path / f"scan{suffix}")
    (tmp_path / f"scan{suffix}").write_bytes((tmp_path / f"scan{suffix}").read_bytes()[:-5])
    code = "from sys import argv; from shared import cli; from shared.scans.volume import read\nwith cli.one_line_errors(): read(argv[1])"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / f"scan{suffix}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1 and "scan" in done.stderr


# Data beside the header -----------------------------------------------------------------------------------------------------


def pair(folder, suffix, name="scan"):
    """A header and its data file, uncompressed."""
    volume.write(oblique(), folder / "whole.mha")
    sitk.WriteImage(sitk.ReadImage(str(folder / "whole.mha")), str(folder / f"{name}{HEADERS[suffix]}"))
    return folder / f"{name}{HEADERS[suffix]}", folder / f"{name}.raw"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_data_files(tmp_path, suffix):
    header, data = pair(tmp_path, suffix)
    assert volume.data_files(header) == sorted([header, data])
    assert volume.data_files(tmp_path / "whole.mha") == [tmp_path / "whole.mha"]
    assert volume.data_files(tmp_path) == sorted(tmp_path.iterdir())
    (tmp_path / "scan.nii.gz").write_bytes(b"not looked into")
    assert volume.data_files(tmp_path / "scan.nii.gz") == [tmp_path / "scan.nii.gz"]

    case = Case(patient="a", phase="", image=header, label=None, group="", structures={})
    before = runs.fingerprints([case])
    data.write_bytes(data.read_bytes()[:-1] + b"\7")
    assert runs.fingerprints([case]) != before
    data.unlink()
    assert f"its data file {data.name} is missing" in refusal(header)
    assert "is missing" in refusal(header, volume.data_files)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_of_data_files(tmp_path, suffix):
    folder = tmp_path / "folder"
    folder.mkdir()
    header, data = pair(folder, suffix)
    (tmp_path / "outside.raw").write_bytes(data.read_bytes())
    for name in (b"../outside.raw", str(tmp_path / "outside.raw").encode(), b"/dev/zero", b"deeper/../../outside.raw"):
        content = header.read_bytes()
        assert "outside its own folder" in refusal(change(header, data.name.encode(), name))
        header.write_bytes(content)
    for name in (b"LIST\nscan.raw", b"LIST 2\nscan.raw", b"scan%03d.raw 1 3 1", b"scan%d.raw"):
        content = header.read_bytes()
        assert "spread over many data files" in refusal(change(header, data.name.encode(), name))
        header.write_bytes(content)
    for name in (b"none.raw", b".", b"x" * 5000, b"a\0b"):
        content = header.read_bytes()
        message = refusal(change(header, data.name.encode(), name))
        assert ("is missing" in message or "broken" in message) and len(message) < 400
        header.write_bytes(content)

    expected = volume.read(header).array
    (folder / "deeper").mkdir()
    data.rename(folder / "deeper/scan.raw")
    change(header, b"scan.raw", b"deeper/scan.raw")
    np.testing.assert_array_equal(volume.read(header).array, expected)
    (folder / "deeper/scan.raw").unlink()
    (folder / "deeper/scan.raw").symlink_to(tmp_path / "outside.raw")  # as git-annex and DataLad store data
    np.testing.assert_array_equal(volume.read(header).array, expected)


# Writing --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".nii.gz", ".nii"])
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


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".nii.gz"])
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


def test_itk_reads_every_axis_order(tmp_path):
    for order, suffix in itertools.product(itertools.permutations(range(3)), SUFFIXES):
        scan = oblique()
        turned = volume.Volume(scan.array.transpose(order), tuple(scan.spacing_mm[i] for i in order), scan.affine[:, [*order, 3]])
        volume.write(turned, tmp_path / f"scan{suffix}")
        assert_as_itk(tmp_path / f"scan{suffix}")
