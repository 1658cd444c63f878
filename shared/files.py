"""Files that appear whole or not at all, and fingerprints of what is in them."""

import contextlib
import csv
import hashlib
import json
import os
import tempfile
from pathlib import Path

from shared.errors import InputError

ESCAPED = "backslashreplace"  # names of files may hold bytes that are no text
NAMES = {"case", "patient", "phase", "group", "structure"}  # columns that hold text, though it may look like a number


@contextlib.contextmanager
def written_whole(path):
    """Yield a temporary path beside `path`, with its suffixes; rename it to `path` when the block ends well, else remove it.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=f".{path.name}")
    os.close(handle)
    temporary = Path(temporary)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text):
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=ESCAPED)


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
    with written_whole(path) as temporary, open(temporary, "w", newline="", encoding="utf-8", errors=ESCAPED) as file:
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


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
