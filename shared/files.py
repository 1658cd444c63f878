"""Files that appear whole or not at all, and fingerprints of what is in them."""

import contextlib
import csv
import hashlib
import json
import os
import re
import secrets
from pathlib import Path

from shared.errors import InputError

NAMES = {"case", "patient", "phase", "group", "structure"}  # columns that hold text, though it may look like a number
TEMPORARY = re.compile(r"\.(\d+)-[0-9a-f]{8}\.")  # process, and a number drawn for each file
TEXT = {"encoding": "utf-8", "errors": "backslashreplace"}  # names of files that we write down may be no UTF-8
_in_use = set()  # names of this process's temporary files


@contextlib.contextmanager
def written_whole(path):
    """Yield a temporary path beside `path`, with its suffixes; rename it to `path` when the block ends well, else remove it.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.{path.name}")
    _in_use.add(temporary.name)
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # the system takes the umask off
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary)):  # a full disk names no file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
        _in_use.discard(temporary.name)


def remove_leftovers(folder):
    """Remove the temporary files that killed processes of this machine left in `folder` and below; those in use stay."""
    for path in Path(folder).rglob(".*"):
        match = TEMPORARY.match(path.name)
        if match and path.name not in _in_use and not _runs(int(match[1])) and path.is_file():
            path.unlink(missing_ok=True)


def write_text(path, text):
    with written_whole(path) as temporary:
        temporary.write_text(text, **TEXT)


def write_json(path, content):
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_json(path):
    """The content of a JSON file.

    Raises:
        InputError: it cannot be read, or is not JSON in UTF-8.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:  # Python's error for text that is not UTF-8 is a ValueError
        reason = "brackets nested too deep" if isinstance(error, RecursionError) else error
        raise InputError(f"{path}: expected JSON in UTF-8 ({reason})") from error


def write_csv(path, rows):
    """Rows (dictionaries with the same keys) as CSV; floats keep nine digits, an undefined value is an empty cell."""
    with written_whole(path) as temporary, open(temporary, "w", newline="", **TEXT) as file:
        writer = csv.writer(file, lineterminator="\n")
        if rows:
            writer.writerow(rows[0])
            writer.writerows([_cell(value) for value in row.values()] for row in rows)


def read_csv(path):
    """The rows of a CSV file as dictionaries: names stay text, other columns of numbers become floats, empty cells NaN.

    Raises:
        InputError: it is not CSV in UTF-8, or a row has more or fewer cells than the first.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        try:
            rows = list(csv.DictReader(file))
        except (ValueError, csv.Error) as error:
            raise InputError(f"{path}: expected CSV in UTF-8 ({error})") from error
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise InputError(f"{path}: row {number} has more or fewer cells than the header")
    for column in set(rows[0] if rows else ()) - NAMES:
        try:
            numbers = [float(row[column] or "nan") for row in rows]
        except ValueError:
            continue
        for row, number in zip(rows, numbers, strict=True):
            row[column] = number
    return rows


def fingerprint(*contents):
    """Hexadecimal digest of file contents (`Path`) and values (anything whose `repr` is its value), order included."""
    digest = hashlib.sha256()
    for content in contents:
        if isinstance(content, Path):
            with open(content, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        else:
            digest.update(hashlib.sha256(repr(content).encode()).digest())
    return digest.hexdigest()


def _cell(value):
    if isinstance(value, float):
        return "" if value != value else f"{value:.9g}"
    return value


def _runs(pid):
    """Whether another process has this number; a name with our own number is from an earlier process, unless it is in use."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True
