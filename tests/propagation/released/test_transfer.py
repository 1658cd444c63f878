"""Downloads from a server of our own: whole, continued, cut and refused."""

import io
import socket
import urllib.request

import pytest

from propagation.released import transfer
from propagation.released.transfer import download
from tests.propagation.released.small import refusal


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("fault", [None, "no length"])
def test_whole_download(fault, ranges, tmp_path):
    ranges.fault = fault
    download(ranges.url + "file", tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == ranges.files["/there/file"]
    assert ranges.asked == [("/there/file", None)]


@pytest.mark.parametrize(("fault", "start"), [(None, 5), (None, 3 * transfer.CHUNK), ("no length", 5)])
def test_partial_download_is_continued(fault, start, ranges, tmp_path):
    content = ranges.files["/there/file"]
    ranges.fault = fault
    (tmp_path / "part").write_bytes(content[:start])
    download(ranges.url + "file", tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == content
    assert ranges.asked == [("/there/file", f"bytes={start}-")]


def test_server_without_ranges_starts_over(ranges, tmp_path):
    ranges.fault = "no ranges"
    (tmp_path / "part").write_bytes(b"old")
    download(ranges.url + "file", tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == ranges.files["/there/file"]


def test_complete_part_is_taken_and_a_longer_one_is_not(ranges, tmp_path):
    content = ranges.files["/there/file"]
    for left in (content, content + b"more"):
        (tmp_path / "part").write_bytes(left)
        download(ranges.url + "file", tmp_path / "part")
        assert (tmp_path / "part").read_bytes() == content
    assert [span for _, span in ranges.asked] == [f"bytes={len(content)}-", f"bytes={len(content) + 4}-", None]


def test_cut_download_goes_on_the_next_time(ranges, tmp_path):
    content = ranges.files["/there/file"]
    half = len(content) // 2
    ranges.fault = "cut"
    line = refusal(download, ranges.url + "file", tmp_path / "part")
    assert line == f"{ranges.url}file: cut at {half} of {len(content)} bytes; the same command goes on from there"
    assert (tmp_path / "part").read_bytes() == content[:half]
    ranges.fault = None
    download(ranges.url + "file", tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == content
    assert ranges.asked[-1] == ("/there/file", f"bytes={half}-")


def test_answer_to_another_range_is_refused(ranges, tmp_path):
    ranges.fault = "wrong range"
    (tmp_path / "part").write_bytes(b"old")
    assert "expected bytes 3-, found bytes 4-" in refusal(download, ranges.url + "file", tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == b"old"


@pytest.mark.parametrize("fault", [None, "no length"])
def test_endless_file_is_refused(fault, ranges, tmp_path, monkeypatch):
    ranges.fault = fault
    monkeypatch.setattr(transfer, "SIZE_LIMIT", 2 * transfer.CHUNK)
    assert "no file of the authors' is as large" in refusal(download, ranges.url + "file", tmp_path / "part")
    assert names(tmp_path) == []


def test_dead_addresses(server, tmp_path):
    part = tmp_path / "part"
    line = refusal(download, server.url + "file", part)
    assert line.startswith(f"{server.url}file: the server says 404 Not Found; ") and "--base" in line
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    assert "refused" in refusal(download, f"http://127.0.0.1:{closed}/file", part)
    for address in ("file:///etc/passwd", "ftp://127.0.0.1/x", "/etc/passwd", "", "http://", "https:///x", "http://[", "http://[::1",
                    "http://a b", "http://a\nb/", "http://127.0.0.1:99999/x", "http://127.0.0.1:x/y", "http://127.0.0.1:0/x",
                    "http://user:p@/x", "http://\udcff/", "http://127.0.0.1/\u00fc", f"http://{'a' * 300}/"):  # fmt: skip
        assert "expected an address that starts with http:// or https://" in refusal(download, address, part)
    assert not part.exists()


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/x", "file:///etc/passwd", "data:text/plain,x"])
def test_redirects_to_something_else_are_refused(address, server, tmp_path):
    server.leads_to["/there/file"] = address
    line = refusal(download, server.url + "file", tmp_path / "part")
    assert line.startswith(f"{server.url}file: the server ") and address in line
    assert names(tmp_path) == []


def test_redirects_to_another_place_are_followed(ranges, tmp_path):
    ranges.leads_to["/old"] = ranges.url + "file"
    download(ranges.url.replace("/there/", "/old"), tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == ranges.files["/there/file"]


@pytest.mark.parametrize(("before", "after", "right"), [
    ("https", "http", False), ("https", "ftp", False), ("http", "https", True), ("https", "https", True), ("http", "http", True),
])  # fmt: skip
def test_redirects_never_give_up_encryption(before, after, right):
    def redirected():
        request = urllib.request.Request(f"{before}://example.org/a")
        return transfer.Redirects().redirect_request(request, io.BytesIO(), 302, "Found", {}, f"{after}://example.org/b")

    if right:
        assert redirected().full_url == f"{after}://example.org/b"
    else:
        assert refusal(redirected).endswith(f"leads on to {after}://example.org/b; expected an address by {before}")


def test_unknown_host(tmp_path, monkeypatch):
    def lookup(*arguments, **options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    for variable in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    assert "Name or service not known; " in refusal(download, "http://www.example.org/x", tmp_path / "part")


def test_silent_server(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(transfer, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes the call, says nothing
        assert "timed out" in refusal(download, f"http://127.0.0.1:{listener.getsockname()[1]}/file", tmp_path / "part")


def test_server_that_stalls(ranges, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT_S", 0.2)
    ranges.fault, ranges.files["/there/file"] = "stall", bytes(5000)
    line = refusal(download, ranges.url + "file", tmp_path / "part")
    ranges.go_on.set()
    assert line.startswith(f"{ranges.url}file: TimeoutError: timed out; the same command goes on from the ")


def test_server_that_does_not_speak_http(ranges, tmp_path):
    ranges.fault = "rude"
    assert "BadStatusLine: hello" in refusal(download, ranges.url + "file", tmp_path / "part")
