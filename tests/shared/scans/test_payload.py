"""The voxels behind a header: undamaged, as many as declared, and from the header's own folder."""

import bz2
import gzip
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from shared import provenance
from shared.datasets import Case
from shared.errors import InputError
from shared.scans import volume
from shared.scans.volume import from_array
from tests.shared.scans.itk_files import SPACE, SUFFIXES, change, nrrd
from tests.volumes import oblique, refusal

ROOT = Path(__file__).parents[3]
HEADERS = {".nrrd": ".nhdr", ".mha": ".mhd"}


@pytest.mark.filterwarnings("ignore:.*axes that are not at right angles")
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
    code = """
import sys
from shared import cli
from shared.scans import volume
with cli.one_line_errors():
    volume.read(sys.argv[1])
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / f"scan{suffix}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1 and "scan" in done.stderr


# Data next to the header ----------------------------------------------------------------------------------------------------


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
    before = provenance.fingerprints([case])
    data.write_bytes(data.read_bytes()[:-1] + b"\7")
    assert provenance.fingerprints([case]) != before
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
