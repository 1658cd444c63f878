"""NRRD files: read as ITK reads them where it is right, cines and sequences too, and only within their header."""

import bz2
import gzip
import itertools

import numpy as np
import pytest
import SimpleITK as sitk

from shared.scans import volume
from shared.scans.orientation import transpose
from shared.scans.volume import RAS_FROM_LPS, from_array
from tests.shared.scans.itk_files import DTYPES, KINDS, SPACE, assert_as_itk, change, nrrd, write_by_itk
from tests.volumes import counting, oblique, refusal


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_type_that_itk_writes(tmp_path, kind, packed, suffix):
    assert_as_itk(write_by_itk(tmp_path / f"scan{suffix}", kind, packed))


@pytest.mark.parametrize("dtype", DTYPES)
def test_itk_reads_every_type_that_we_write(tmp_path, dtype):
    for shape in ((5, 4, 3), (5, 4, 3, 2)):
        volume.write(oblique(shape, dtype, 0.04 * (len(shape) > 3)), tmp_path / "scan.nrrd")
        assert_as_itk(tmp_path / "scan.nrrd")


def test_itk_reads_every_axis_order(tmp_path):
    for order in itertools.permutations(range(3)):
        volume.write(transpose(oblique(), order), tmp_path / "scan.nrrd")
        assert_as_itk(tmp_path / "scan.nrrd")


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


def test_no_voxel_size_and_other_units(tmp_path):
    array = counting((5, 4, 3))
    assert "no voxel size" in refusal(nrrd(tmp_path / "scan.nrrd", array))
    assert "expected lengths in mm, found the unit 'm'" in refusal(
        nrrd(tmp_path / "scan.nrrd", array, *SPACE, 'space units: "m" "m" "m"')
    )


def test_sheared_axes_are_read_as_they_are(tmp_path):
    scan = oblique()
    affine = scan.affine.copy()
    affine[:3, 0] += 1e-4 * affine[:3, 1]
    text = [f"({','.join(map(repr, (RAS_FROM_LPS @ affine[:3, axis]).tolist()))})" for axis in range(3)]
    path = nrrd(tmp_path / "sheared.nrrd", scan.array, SPACE[0], f"space directions: {' '.join(text)}")
    np.testing.assert_allclose(volume.read(path).affine[:3, :3], affine[:3, :3])


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


@pytest.mark.parametrize(("old", "new"), [
    ("dimension: 3", "dimension: 1000"), ("dimension: 3", "dimension: -3"), ("sizes: 5 4 3", "sizes: 5 4 -3"),
    ("sizes: 5 4 3", "sizes: 5 4 0"), ("sizes: 5 4 3", "sizes: 99999999999999999999 4 3"),
    ("sizes: 5 4 3", "sizes: 5 4 x"), ("sizes: 5 4 3", "sizes: " + "1 " * 1000), ("type: short", "type: block"),
    ("type: short\n", ""), ("encoding: gzip", "encoding: hex"), ("NRRD0004", "NRRD9999"), ("(0", "(zero"),
    ("kinds: domain", "kinds: nothing"), ("space: left-posterior-superior", "space: left-handed"), ("endian", "colour"),
    ("endian: little\n", ""), ("space origin: (", "space origin: (1,"), ("sizes", "type: short\nsizes"),
    ("sizes", "a" * 2**23 + "\nsizes"), ("space directions: (", "space directions: none ("),
    ("space origin: (", "byte skip: 99999999999\nspace origin: ("), ("space origin: (", "space origin: (\xff"),
    ("space origin: (", "line skip: 99999999999\nspace origin: ("),
])  # fmt: skip
def test_a_header_that_makes_no_sense(tmp_path, old, new):
    volume.write(from_array(counting((5, 4, 3))), tmp_path / "scan.nrrd")
    message = refusal(change(tmp_path / "scan.nrrd", old.encode(), new.encode("latin-1")))
    assert "broken or truncated" in message and len(message) < 400
