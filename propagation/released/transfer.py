"""Download a file: a download that was cut is continued, and an answer that is not what was asked for is refused."""

import http
import http.client
import math
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO

from shared.errors import InputError
from shared.learning.foreign import printable, reason
from shared.progress import Progress

TIMEOUT_S = 30
CHUNK = 2**20  # bytes
SIZE_LIMIT = 2**30  # bytes; the largest file has 240 MB


def download(url: str, part: Path) -> None:
    """Download the file at `url` to the path `part`; go on where `part` ends.

    Raises:
        InputError: another kind of address, no answer, an error of the server, less than the server announced, or something
            other than a file at `part`.
    """
    check_address(url)
    check_place(part)
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.build_opener(Redirects).open(request, timeout=TIMEOUT_S) as response:
            receive(response, part, start)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise unreachable(url, f"the server says {error.code} {printable(error.reason)}") from error
        if error.headers.get("Content-Range") != f"bytes */{start}":  # else everything is there
            part.unlink()
            download(url, part)
    except urllib.error.URLError as error:
        raise unreachable(url, printable(str(error.reason))) from error
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        if not part.exists():
            raise unreachable(url, reason(error)) from error
        raise InputError(f"{url}: {reason(error)}; the same command goes on from the {part.stat().st_size} bytes here") from error


def check_address(url: str) -> None:
    """Raise InputError unless `url` is the address of something on a host, by http or https."""
    try:
        parts = urllib.parse.urlsplit(url)
        (parts.hostname or "").encode("idna")
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number, or the host's name not a name
        right = False
    if not right or not url.isascii() or not url.isprintable() or " " in url:
        raise InputError(f"{printable(url)}: expected an address that starts with http:// or https:// and a host, in ASCII")


def check_place(path: Path) -> None:
    """Raise InputError where something other than a file is at `path`; the target of a link would be overwritten."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        what = "a link" if path.is_symlink() else "no file"
        raise InputError(f"{path}: expected a file or nothing there, found {what}; remove it")


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to another address of the same kind, or from http to https."""

    def redirect_request(
        self,
        request: urllib.request.Request,
        response: IO[bytes],
        code: int,
        message: str,
        headers: http.client.HTTPMessage,
        url: str,
    ) -> urllib.request.Request | None:
        before, after = (urllib.parse.urlsplit(address).scheme for address in (request.full_url, url))
        if after not in (before, "https"):
            response.close()
            raise InputError(f"{request.full_url}: the server leads on to {printable(url)}; expected an address by {before}")
        return super().redirect_request(request, response, code, message, headers, url)


def receive(response: http.client.HTTPResponse, part: Path, start: int) -> None:
    """Write the body of a response to `part`: after its first `start` bytes where the server goes on from there, else anew."""
    continued = response.status == http.HTTPStatus.PARTIAL_CONTENT
    if continued and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        raise InputError(f"{response.url}: expected bytes {start}-, found {response.headers.get('Content-Range')}; remove {part}")
    size = start if continued else 0
    total = None if response.length is None else size + response.length
    progress = Progress(f"{part.stem}, MB", math.ceil((total or SIZE_LIMIT) / CHUNK), done=size // CHUNK)
    with open(part, "ab" if continued else "wb") as file:
        while size <= SIZE_LIMIT and (chunk := response.read(CHUNK)):
            file.write(chunk)
            size += len(chunk)
            progress.step()
    if size > SIZE_LIMIT:
        part.unlink()
        raise InputError(f"{response.url}: more than {SIZE_LIMIT} bytes, no file of the authors' is as large")
    if total is not None and size < total:
        raise InputError(f"{response.url}: cut at {size} of {total} bytes; the same command goes on from there")


def unreachable(url: str, what: str) -> InputError:
    return InputError(f"{url}: {what}; the authors' address may be gone for good: --base names the address of a copy")
