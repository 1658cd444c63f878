"""MetaImage files: read as ITK reads them where it is right, and only within their header."""

import itertools
import zlib

import numpy as np
import pytest

from shared.scans import volume
from shared.scans.orientation import transpose
from shared.scans.volume import from_array
from tests.shared.scans.itk_files import DTYPES, KINDS, assert_as_itk, change, write_by_itk
from tests.volumes import counting, oblique, refusal


@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_type_that_itk_writes(tmp_path, kind, packed, suffix):
    assert_as_itk(write_by_itk(tmp_path / f"scan{suffix}", kind, packed))


@pytest.mark.parametrize("dtype", DTYPES)
def test_itk_reads_every_type_that_we_write(tmp_path, dtype):
    for shape in ((5, 4, 3), (5, 4, 3, 2)):
        volume.write(oblique(shape, dtype, 0.04 * (len(shape) > 3)), tmp_path / "scan.mha")
        assert_as_itk(tmp_path / "scan.mha")


def test_itk_reads_every_axis_order(tmp_path):
    for order in itertools.permutations(range(3)):
        volume.write(transpose(oblique(), order), tmp_path / "scan.mha")
        assert_as_itk(tmp_path / "scan.mha")


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
    volume.write(from_array(counting((5, 4, 3))), tmp_path / "scan.mha")
    assert "found the unit 'cm'" in refusal(
        change(tmp_path / "scan.mha", b"ElementSpacing", b"DistanceUnits = cm\nElementSpacing")
    )
    assert "no voxel size" in refusal(change(tmp_path / "scan.mha", b"DistanceUnits = cm\nElementSpacing", b"ElementNothing"))


def test_a_slice_is_no_scan(tmp_path):
    lines = ["NDims = 2", "DimSize = 5 4", "ElementType = MET_SHORT", "ElementSpacing = 1 2", "ElementDataFile = LOCAL", ""]
    (tmp_path / "scan.mha").write_bytes("\n".join(lines).encode() + bytes(40))
    assert "expected a 3D scan or a 4D cine, found an array of shape (5, 4)" in refusal(tmp_path / "scan.mha")


@pytest.mark.parametrize(("old", "new"), [
    ("NDims = 3", "NDims = 1000"), ("NDims = 3", "NDims = -1"), ("NDims = 3\n", ""),
    ("DimSize = 5 4 3", "DimSize = 5 4 -3"),
    ("DimSize = 5 4 3", "DimSize = 99999999999999999999 4 3"), ("DimSize = 5 4 3", "DimSize = 5 4 0"),
    ("MET_SHORT", "MET_OTHER"), ("MET_SHORT", "MET_SHORT_ARRAY"), ("ElementDataFile", "ElementNoFile"),
    ("Offset = ", "Offset = 1 "), ("NDims = 3", "NDims = " + "9" * 5000), ("TransformMatrix = ", "TransformMatrix = 2 "),
    ("Offset", "\xff" * 2**23), ("ElementSpacing = ", "ElementSpacing = x"),
])  # fmt: skip
def test_a_header_that_makes_no_sense(tmp_path, old, new):
    volume.write(from_array(counting((5, 4, 3))), tmp_path / "scan.mha")
    message = refusal(change(tmp_path / "scan.mha", old.encode(), new.encode("latin-1")))
    assert "broken or truncated" in message and len(message) < 400
