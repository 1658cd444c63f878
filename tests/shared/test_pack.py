"""A packed data set is the same data set, with fewer grey values."""

import shutil
import tarfile

import numpy as np
import pytest

from shared import datasets, pack, phantom
from shared.errors import InputError
from shared.scans import volume

ROOTS = {
    "acdc": lambda folder: phantom.write_acdc(folder, patients=1),
    "lasc": lambda folder: phantom.write_lasc(folder, cases=2, size=(80, 64)),
    "mmwhs_ct": lambda folder: phantom.write_mmwhs(folder, cases=1, spacing_mm=4),
}


def unpacked(archive, dataset, folder):
    """The cases in an archive, which is unpacked to the folder."""
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return datasets.find(dataset, folder / datasets.FOLDERS.get(dataset, dataset))


def scan_of(values, kind):
    return volume.from_array(np.array(values, kind).reshape(-1, 1, 1))


def test_rounding_by_hand():
    """From 0 to 1000 in 10 levels: multiples of 100, half of them up; 2 of 1001 values lie beyond the percentiles."""
    found = pack.rounded(scan_of(range(1001), np.int16), 10)
    assert found.scan.array.dtype == np.int16
    assert found.scan.array.ravel()[[0, 49, 51, 149, 151, 1000]].tolist() == [0, 0, 100, 100, 200, 1000]
    assert np.unique(found.scan.array).tolist() == list(range(0, 1001, 100))
    assert found.error == pytest.approx(100 / np.sqrt(12) / 998, rel=0.01)  # of a uniform error of one step


def test_offsets_and_floats():
    found = pack.rounded(scan_of(np.linspace(-1, 1, 2001), np.float32), 4).scan.array.ravel()
    np.testing.assert_allclose(np.unique(found), [-1, -0.501, -0.002, 0.497, 0.996], atol=1e-3)  # from the darkest value on
    assert np.abs(found - np.linspace(-1, 1, 2001)).max() <= 0.2496


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.float32])
def test_few_values_stay_as_they_are(kind):
    scan = scan_of([0, 7, 200, 255], kind)
    if np.issubdtype(kind, np.integer):
        np.testing.assert_array_equal(pack.rounded(scan, 256).scan.array, scan.array)
    np.testing.assert_array_equal(pack.rounded(scan_of([5] * 9, kind), 2).scan.array.ravel(), 5)


def test_the_largest_value_of_a_type_is_not_left():
    """The step is 64, and 256 is no uint8."""
    assert np.unique(pack.rounded(scan_of(range(256), np.uint8), 4).scan.array).tolist() == [0, 64, 128, 192, 255]


@pytest.mark.parametrize("dataset", ROOTS)
def test_the_archive_unpacks_to_the_same_cases(dataset, tmp_path):
    root = ROOTS[dataset](tmp_path / "root")
    archive = tmp_path / "small.tar.xz"
    said = pack.pack(dataset, root, archive, levels=64)
    cases = datasets.labelled(datasets.find(dataset, root))
    packed = datasets.labelled(unpacked(archive, dataset, tmp_path / "data"))
    assert said.startswith(f"{len(cases)} cases, ") and len(cases) == len(packed) > 0
    for case, other in zip(cases, packed, strict=True):
        assert (case.name, case.patient, case.phase, case.group) == (other.name, other.patient, other.phase, other.group)
        scan, small = datasets.load_image(case), datasets.load_image(other)
        np.testing.assert_allclose(small.affine, scan.affine, atol=1e-4)
        np.testing.assert_allclose(small.spacing_mm, scan.spacing_mm, atol=1e-5)
        low, high = np.percentile(scan.array, pack.RANGE)
        step = max((high - low) / 64, 1)
        assert np.abs(small.array.astype(float) - scan.array).max() <= step / 2 + 0.51
        references = datasets.load_reference(case, scan), datasets.load_reference(other, small)
        np.testing.assert_array_equal(*(each.array for each in references))


def test_two_archives_of_one_data_set_are_byte_equal(phantom_root, tmp_path):
    for name in ("a.tar.xz", "b.tar.xz"):
        pack.pack("acdc", phantom_root, tmp_path / name)
    assert (tmp_path / "a.tar.xz").read_bytes() == (tmp_path / "b.tar.xz").read_bytes()


def test_patients_without_references_stay_behind_with_their_tables(phantom_root, tmp_path):
    """One patient lacks both references, and one the second only: its scan goes along, since Info.cfg names it."""
    root = tmp_path / "acdc"
    shutil.copytree(phantom_root, root)
    whole = datasets.find("acdc", root)
    without, half = dict.fromkeys(case.patient for case in whole[:4])
    for case in whole:
        if case.patient == without or (case.patient == half and case.phase == "ES"):
            case.label.unlink()
    with pytest.warns(UserWarning, match="3 of .* scans have no reference"):
        said = pack.pack("acdc", root, tmp_path / "small.tar.xz")
    packed = unpacked(tmp_path / "small.tar.xz", "acdc", tmp_path / "data")
    assert said.startswith(f"{len(whole) - 3} cases, ")
    assert [(case.name, case.label is None) for case in packed] == [
        (case.name, case.name == f"{half}_ES") for case in whole if case.patient != without
    ]
    assert not list((tmp_path / "data").rglob(f"*{without}*"))


def test_patients_may_be_links(phantom_root, tmp_path):
    root = tmp_path / "links"
    root.mkdir()
    for folder in sorted((phantom_root / "training").iterdir())[:2]:
        (root / folder.name).symlink_to(folder)
    pack.pack("acdc", root, tmp_path / "small.tar.xz")
    packed = unpacked(tmp_path / "small.tar.xz", "acdc", tmp_path / "data")
    assert [(case.name, case.group) for case in packed] == [(case.name, case.group) for case in datasets.find("acdc", root)]


def test_formats_and_places_that_cannot_be_written_are_refused_before_anything_is_packed(tmp_path, monkeypatch):
    root = ROOTS["lasc"](tmp_path / "root")
    monkeypatch.setattr(pack, "members", lambda *_: pytest.fail("packed for nothing"))
    (tmp_path / "there.tar.xz").mkdir()
    with pytest.raises(InputError, match=r"there\.tar\.xz: a folder; expected the name of a file"):
        pack.pack("lasc", root, tmp_path / "there.tar.xz")
    mine = tmp_path / "mine"
    for folder in ("imagesTr", "labelsTr"):
        (mine / folder).mkdir(parents=True)
        for suffix in (".mhd", ".raw"):
            (mine / folder / f"p_ED{'_0000' * (folder == 'imagesTr')}{suffix}").write_bytes(b"")
    (mine / "dataset.json").write_text('{"labels": {"background": 0, "LV": 1}, "file_ending": ".mhd"}')
    with pytest.raises(InputError, match=r"p_ED_0000\.mhd: scans of this format cannot be packed; expected .nii"):
        pack.pack("nnunet", mine, tmp_path / "mine.tar.xz")
    assert not (tmp_path / "mine.tar.xz").exists()


def test_another_suffix_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match=r"acdc\.zip: expected a name that ends in \.tar\.xz"):
        pack.pack("acdc", tmp_path / "nowhere", tmp_path / "acdc.zip")
