"""Downloads from a server of our own: whole, continued, cut, refused, and with another content than expected."""

import hashlib
import http.server
import io
import re
import socket
import threading
import urllib.request
from dataclasses import replace

import numpy as np
import pytest

from propagation import released
from propagation.released import ADDRESSES, fetch, main, transfer
from propagation.released.model import NETWORKS
from propagation.released.transfer import download
from shared.errors import InputError
from tests.propagation.released import authors_files
from tests.propagation.released.test_released import narrow, seeded_weights

NAME = "apparentflow_net_fold3"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.files`; `server.leads_to` redirects, `server.fault` is what goes wrong, `server.asked` what was asked."""

    protocol_version = "HTTP/1.0"

    def do_GET(self):
        server, span = self.server, self.headers.get("Range")
        server.asked.append((self.path, span))
        if server.fault == "rude":
            return self.wfile.write(b"hello\n")
        if self.path in server.leads_to:
            self.send_response(302)
            self.send_header("Location", server.leads_to[self.path])
            return self.end_headers()
        if self.path not in server.files:
            return self.send_error(404)
        content = server.files[self.path]
        start = int(re.fullmatch(r"bytes=(\d+)-", span)[1]) if span and server.fault != "no ranges" else 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            first = start + 1 if server.fault == "wrong range" else start
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        body = content[start:]
        if server.fault != "no length":
            self.send_header("Content-Length", len(body))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if server.fault in ("cut", "stall") else body)
        if server.fault == "stall":
            server.go_on.wait(10)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.fault, server.asked, server.leads_to, server.go_on = {}, None, [], {}, threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}/there/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """Weights of a flow network with two channels where the authors' has 24."""
    model = narrow("apparentflow_net")
    return authors_files.write(tmp_path_factory.mktemp("weights") / "flow.h5", seeded_weights(model)).read_bytes()


@pytest.fixture
def site(server, weights_file, monkeypatch):
    """The server with that file at the authors' address."""
    monkeypatch.setitem(NETWORKS, "apparentflow_net", replace(NETWORKS["apparentflow_net"], width=2))
    server.files["/there/CardiacMotionFlow/flow/model_apparentflow_net_fold3_epoch050.h5"] = weights_file
    return server


def refusal(function, *arguments):
    with pytest.raises(InputError) as caught:
        function(*arguments)
    line = str(caught.value)
    assert line.isprintable() and len(line) < 1000
    return line


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# The transfer


@pytest.fixture
def ranges(server):
    server.files["/there/file"] = np.random.default_rng(0).bytes(3 * transfer.CHUNK + 17)
    return server


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


# The file


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
    assert set(released.USUAL) < set(ADDRESSES)


# The commands


def test_commands(site, tmp_path, capsys):
    main(["fetch", NAME, "--to", str(tmp_path), "--base", site.url])
    assert capsys.readouterr().out == f"{tmp_path}/{NAME}.h5: the weights of {NAME}\n"
    main(["check", f"{tmp_path}/{NAME}.h5"])
    digest = hashlib.sha256((tmp_path / f"{NAME}.h5").read_bytes()).hexdigest()
    count = sum(np.prod(v.shape, dtype=int) for v in narrow("apparentflow_net").weights)
    assert capsys.readouterr().out == (
        f"{tmp_path}/{NAME}.h5: apparentflow_net, {count:,} weights in 114 tensors, sha256 {digest}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fetch", "vgg", "--to", "{folder}", "--base", "{url}"], "unknown released file 'vgg': expected one of roi_net, "),
        (["fetch", "--to", "{folder}", "--base", "{url}"], "/ROI/model_roi_net_epoch050.h5: the server says 404"),
        (["check", "{folder}/absent.h5"], "no such file"),
        ([], "the following arguments are required: COMMAND"),
    ],
)  # fmt: skip
def test_commands_end_with_one_line_and_status_2(arguments, expected, server, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main([each.format(folder=tmp_path, url=server.url) for each in arguments])
    message = capsys.readouterr().err
    assert caught.value.code == 2 and message.startswith("error: ") and message.count("\n") == 1
    assert expected in message
