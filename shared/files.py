"""Files that appear whole or not at all, tables and JSON, and fingerprints of contents."""

import contextlib
import csv
import functools
import hashlib
import json
import os
import platform
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.errors import InputError

# columns of text, even where the text looks like a number
NAMES = {"case", "patient", "phase", "group", "vendor", "structure", "method", "side", "scan", "ed_scan", "es_scan", "reasons"}
LARGEST = 1e15  # of the numbers in tables; squares of larger ones would not be exact, or overflow
TEMPORARY = re.compile(r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.")  # machine, process, and a number drawn for each file
TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace"}  # because file names may not be UTF-8
_in_use: set[str] = set()  # names of this process's temporary files


@contextlib.contextmanager
def written_whole(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, with its suffixes; rename it if the block succeeds, else remove it.

    Temporary files that a killed process left when it wrote `path` are removed too.

    Raises:
        InputError: `path` is a folder, a device or a pipe.
        OSError: the folder cannot be made or written.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: a folder; expected the name of a file to write")
    if path.exists() and not path.is_file():  # the superuser would replace /dev/null by a file
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


def remove_leftovers(folder: Path | str) -> None:
    """Remove the temporary files that killed processes of this machine left in `folder` and below; those in use stay."""
    for path in _leftovers(Path(folder).rglob(".*")):
        path.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, **TEXT)


def write_json(path: Path | str, content: object) -> None:
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_json(path: Path | str) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: the file cannot be read, is not JSON in UTF-8, or says something twice.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=_once)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:  # Python's error for text that is not UTF-8 is a ValueError
        reason = "brackets nested too deep" if isinstance(error, RecursionError) else error
        raise InputError(f"{path}: expected JSON in UTF-8 ({reason})") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table of a JSON file, in which every name stands once."""
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)[:40]!r} is there twice")
    return table


def write_csv(path: Path | str, rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows, which have the same keys, as CSV; floats keep nine digits, and an undefined value is an empty cell."""
    with written_whole(path) as temporary, open(temporary, "w", newline="", **TEXT) as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, row in enumerate(rows):
            if number == 0:
                writer.writerow(row)
            writer.writerow([_cell(value) for value in row.values()])


def read_csv(path: Path | str, columns: Iterable[str] = (), texts: Iterable[str] = ()) -> list[dict[str, Any]]:
    """The rows of a CSV file. Names stay text; other columns of numbers become floats, where an empty cell is NaN.

    Args:
        path: of the file.
        columns: those that the file must have; except for `NAMES`, they must hold numbers or nothing.
        texts: further columns that the file must have, and that stay text.

    Raises:
        InputError: the file is missing, is not a CSV table, or has no rows; a row has more or fewer cells than the header; a
            column is missing, is there twice, or holds text in the place of a number.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets put a byte order mark in front
            reader = csv.DictReader(file, strict=True)
            lines: list[tuple[int, dict[str, Any]]] = [(reader.reader.line_num, row) for row in reader]
            header = list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a table in CSV format ({error}); make it again or remove it") from error
    columns, texts = tuple(columns), tuple(texts)
    missing = [column for column in (*columns, *texts) if column not in header]
    if missing or len(set(header)) < len(header):
        what = f"no column {', '.join(missing[:3])}" if missing else "two columns have the same name"
        what += " (columns are separated by commas)" if missing and len(header) == 1 and re.search(r"[;\t]", header[0]) else ""
        raise InputError(f"{path}: {what}; found {', '.join(header)[:100] or 'an empty file'}; make the file again or remove it")
    if not lines:
        raise InputError(f"{path}: the table has a header and no rows; make it again or remove it")
    for line, row in lines:
        if None in row.keys() or None in row.values():
            raise InputError(f"{path}: line {line} does not have the {len(header)} cells of the header; make the file again")
    for column in header:
        if column not in NAMES and column not in texts:
            _to_numbers(path, column, lines, column in columns)
    return [row for _, row in lines]


def _to_numbers(path: Path | str, column: str, lines: Sequence[tuple[int, dict[str, Any]]], must: bool) -> None:
    """Replace the texts of a column by floats. If one is not a number, raise InputError if it `must` be, else change nothing."""
    numbers: list[float] = []
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


def visible(folder: Path | str, pattern: str) -> list[Path]:
    """The paths below `folder` that match a glob `pattern`, sorted, without hidden files and folders.

    A Mac adds a small hidden file ._NAME for every file that it copies to a foreign disk.
    """
    folder = Path(folder)
    found = folder.glob(pattern)
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def files_below(folder: Path | str) -> list[Path]:
    """All files in a folder and below it, sorted, without hidden ones; links are followed, and each folder is entered once."""
    files: list[Path] = []
    entered = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, followlinks=True):
        real = {os.path.realpath(os.path.join(place, name)): name for name in sorted(folders, reverse=True) if name[0] != "."}
        folders[:] = [name for path, name in real.items() if path not in entered]
        entered.update(real)
        files += [Path(place, name) for name in names if name[0] != "."]
    return sorted(file for file in files if file.is_file())


def fingerprint(*contents: object) -> str:
    """Hexadecimal digest of file contents (`Path`) and values (anything whose `repr` shows its value), in this order."""
    digest = hashlib.sha256()
    for content in contents:
        if isinstance(content, Path):
            with open(content, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        else:
            digest.update(hashlib.sha256(repr(content).encode()).digest())
    return digest.hexdigest()


def as_written(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a CSV file as `read_csv` gives it back after `write_csv`: floats have nine digits."""
    return {name: float(_cell(value) or "nan") if isinstance(value, float) else value for name, value in row.items()}


def _cell(value: float | Any) -> Any:
    if isinstance(value, float):
        return "" if value != value else f"{value:.9g}"
    return value


def _leftovers(paths: Iterable[Path]) -> Iterator[Path]:
    """The temporary files among `paths` whose process was one of this machine and no longer runs."""
    for path in paths:
        match = TEMPORARY.match(path.name)
        if match and match[1] == _machine() and path.name not in _in_use and not _runs(int(match[2])) and path.is_file():
            yield path


@functools.cache
def _machine() -> str:
    """Digits that distinguish this machine from others that write into the same folder."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _runs(pid: int) -> bool:
    """Whether another process has this number. A file with our own number is in `_in_use`, or an earlier process left it."""
    if pid == os.getpid():
        return False
    if os.name == "nt":  # there, the call below would be a Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # the process is another user's
        return True
    return True
