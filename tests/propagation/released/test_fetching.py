"""Weight files from a server of our own, checked, and their checksums."""

import hashlib
import re

import pytest

from propagation.released.__main__ import main
from propagation.released.fetching import ADDRESSES, USUAL, fetch
from propagation.released.model import NETWORKS
from tests.propagation.released import authors_files
from tests.propagation.released.small import refusal

NAME = "apparentflow_net_fold3"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_fetched_file_is_checked_and_its_checksum_kept(site, weights_file, tmp_path):
    folder = tmp_path / "new" / "weights"
    assert fetch(NAME, folder, site.url) == folder / f"{NAME}.h5"
    assert (folder / f"{NAME}.h5").read_bytes() == weights_file
    assert names(folder) == ["SHA256SUMS", f"{NAME}.h5"]
    assert (folder / "SHA256SUMS").read_text() == f"{hashlib.sha256(weights_file).hexdigest()}  {NAME}.h5\n"
    fetch(NAME, folder, site.url.rstrip("/"))
    assert len(site.asked) == 1  # not downloaded again


def test_file_put_there_by_hand_is_checked(site, weights_file, tmp_path):
    (tmp_path / f"{NAME}.h5").write_bytes(weights_file)
    fetch(NAME, tmp_path, site.url)
    assert site.asked == [] and hashlib.sha256(weights_file).hexdigest() in (tmp_path / "SHA256SUMS").read_text()
    (tmp_path / f"{NAME}.h5").write_bytes(weights_file[:-1])
    assert "expected the sha256" in refusal(fetch, NAME, tmp_path, site.url)
    (tmp_path / "SHA256SUMS").unlink()
    assert "an HDF5 file; found OSError" in refusal(fetch, NAME, tmp_path, site.url)
    assert names(tmp_path) == [f"{NAME}.h5"]  # a file of the user's stays


def test_later_download_has_to_be_the_same(site, weights_file, tmp_path):
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  other.h5\n")
    fetch(NAME, tmp_path, site.url)
    (tmp_path / f"{NAME}.h5").unlink()
    kept = (tmp_path / "SHA256SUMS").read_text()
    assert kept.startswith(f"{'0' * 64}  other.h5\n")
    path = "/there/" + ADDRESSES[NAME]
    changed = bytearray(weights_file)
    changed[-1] ^= 1
    site.files[path] = bytes(changed)
    line = refusal(fetch, NAME, tmp_path, site.url)
    assert hashlib.sha256(weights_file).hexdigest() in line and hashlib.sha256(changed).hexdigest() in line
    assert names(tmp_path) == ["SHA256SUMS"] and (tmp_path / "SHA256SUMS").read_text() == kept
    site.files[path] = weights_file
    fetch(NAME, tmp_path, site.url)
    assert (tmp_path / "SHA256SUMS").read_text() == kept


def test_another_content_is_thrown_away(site, tmp_path):
    path = "/there/" + ADDRESSES[NAME]
    site.files[path] = b"<html>This page has moved</html>"
    line = refusal(fetch, NAME, tmp_path, site.url)
    assert line.startswith(f"{site.url}{ADDRESSES[NAME]}: downloaded and thrown away: ") and "an HDF5 file" in line
    assert names(tmp_path) == []

    other = authors_files.write(tmp_path / "roi.h5", authors_files.shapes("roi_net"))
    site.files[path] = other.read_bytes()
    other.unlink()
    assert "expected the weights of apparentflow_net, found those of roi_net" in refusal(fetch, NAME, tmp_path, site.url)
    assert names(tmp_path) == []


def test_names_lead_to_networks():
    networks = {re.sub(r"_(later|fold\d)$", "", name) for name in ADDRESSES}
    assert networks == set(NETWORKS) and len(ADDRESSES) == 17 == len(set(ADDRESSES.values()))
    assert set(USUAL) < set(ADDRESSES)


@pytest.mark.parametrize("name", [f"{NAME}.h5", f"{NAME}.h5.part"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "folder"])
def test_what_lies_in_the_place_of_a_file_is_not_touched(name, kind, site, tmp_path):
    folder, victim = tmp_path / "weights", tmp_path / "victim"
    folder.mkdir()
    if kind == "folder":
        (folder / name).mkdir()
    else:
        (folder / name).symlink_to(victim)
    if kind == "link":
        victim.write_bytes(b"mine")
    line = refusal(fetch, NAME, folder, site.url)
    assert line.startswith(
        f"{folder / name}: expected a file or nothing there, found {'no file' if kind == 'folder' else 'a link'}"
    )
    assert (victim.read_bytes() == b"mine") if kind == "link" else not victim.exists()
    assert site.asked == [] and names(folder) == [name]


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_checksums_that_cannot_be_read(content, site, weights_file, tmp_path, capsys):
    (tmp_path / f"{NAME}.h5").write_bytes(weights_file)
    sums = tmp_path / "SHA256SUMS"
    if content is None:
        sums.mkdir()
    else:
        sums.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["fetch", NAME, "--to", str(tmp_path), "--base", site.url])
    line = capsys.readouterr().err
    assert ended.value.code == 2 and line.startswith(f"error: {sums}: ") and line.count("\n") == 1
