"""Files that appear whole or not at all, and fingerprints of what is in them."""

import contextlib
import csv
import functools
import hashlib
import json
import os
import platform
import re
import secrets
from pathlib import Path

from shared.errors import InputError

# columns that hold text, though it may look like a number
NAMES = {"case", "patient", "phase", "group", "structure", "side", "scan", "ed_scan", "es_scan"}
LARGEST = 1e15  # numbers of tables; squares of larger ones would not be exact, or overflow
TEMPORARY = re.compile(r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.")  # machine, process, and a number drawn for each file
TEXT = {"encoding": "utf-8", "errors": "backslashreplace"}  # names of files that we write down may be no UTF-8
_in_use = set()  # names of this process's temporary files


@contextlib.contextmanager
def written_whole(path):
    """Yield a temporary path beside `path`, with its suffixes; rename it to `path` when the block ends well, else remove it.

    What a killed process left of an earlier try to write `path` is removed.

    Raises:
        InputError: there is a device or a pipe at `path`.
        OSError: the folder cannot be made or written.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):  # whoever may write to /dev would replace /dev/null by a file
        raise InputError(f"{path}: a device or a pipe; expected the name of a file to write")
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in _leftovers(path.parent.glob(".*")):
        if left.name.endswith(f".{path.name}"):
            left.unlink(missing_ok=True)
    temporary = path.with_name(f".{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.{path.name}")
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
    for path in _leftovers(Path(folder).rglob(".*")):
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


def read_csv(path, columns=()):
    """The rows of a CSV file as dictionaries: names stay text, other columns of numbers become floats, empty cells NaN.

    Args:
        path: of the file.
        columns: those that the file must have. All of them except `NAMES` must hold numbers or nothing.

    Raises:
        InputError: the file is missing, is no CSV table, or has no rows; a row has more or fewer cells than the header; a column
            is missing, is there twice, or holds text in the place of a number.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets put a byte order mark in front
            reader = csv.DictReader(file, strict=True)
            lines = [(reader.line_num, row) for row in reader]
            header = list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a table in CSV format ({error}); make it again or remove it") from error
    missing = [column for column in columns if column not in header]
    if missing or len(set(header)) < len(header):
        what = f"no column {', '.join(missing[:3])}" if missing else "two columns have the same name"
        raise InputError(f"{path}: {what}; found {', '.join(header)[:100] or 'an empty file'}; make the file again or remove it")
    if not lines:
        raise InputError(f"{path}: the table has a header and no rows; make it again or remove it")
    for line, row in lines:
        if None in row or None in row.values():
            raise InputError(f"{path}: line {line} does not have the {len(header)} cells of the header; make the file again")
    for column in header:
        if column not in NAMES:
            _to_numbers(path, column, lines, column in columns)
    return [row for _, row in lines]


def _to_numbers(path, column, lines, must):
    """Replace the texts of a column by floats; leave it where one is no number, or raise InputError where it `must` be."""
    numbers = []
    for line, row in lines:
        try:
            numbers.append(float(row[column] or "nan"))
            usable = not abs(numbers[-1]) > LARGEST
        except ValueError:
            usable = False
        if not usable and must:
            found = row[column][:40]
            raise InputError(f"{path}: line {line}, column {column}: expected a number or nothing, found {found!r}")
        if not usable:
            return
    for (_, row), number in zip(lines, numbers, strict=True):
        row[column] = number


def visible(folder, pattern):
    """The paths below `folder` that match a glob `pattern`, sorted, without hidden files and folders.

    A Mac leaves a small file called ._NAME beside every file that it copies to a foreign disk.
    """
    folder = Path(folder)
    found = (path for path in folder.glob(pattern))
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


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


def _leftovers(paths):
    """Those of `paths` that are temporary files of processes of this machine which no longer run."""
    for path in paths:
        match = TEMPORARY.match(path.name)
        if match and match[1] == _machine() and path.name not in _in_use and not _runs(int(match[2])) and path.is_file():
            yield path


@functools.cache
def _machine():
    """What tells this machine from others that write into the same folder."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _runs(pid):
    """Whether another process has this number; a name with our own number is from an earlier process, unless it is in use."""
    if pid == os.getpid():
        return False
    if os.name == "nt":  # where the call below would be a Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True
