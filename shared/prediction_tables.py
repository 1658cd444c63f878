"""volumes.csv and function.csv of the prediction commands, which later commands add to."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.errors import InputError
from shared.files import read_csv, write_csv
from shared.prediction_jobs import is_file_name, name_of
from shared.scans import volume
from shared.scoring import function

Row = dict[str, Any]  # of a table: column -> value
DOUBT = ("doubt", "reasons")  # columns of volumes.csv between the frame and the volumes


def write_tables(volumes: Sequence[Row], functions: Sequence[Row], output: Path, order: Sequence[Path] = ()) -> None:
    """Write volumes.csv and, where there are rows, function.csv into the folder `output`, or next to the file `output`.

    Rows that an earlier command wrote into the folder stay, unless the label map of their scan was replaced now.

    Args:
        volumes, functions: rows from `segment`.
        output: folder or file name, from the command line.
        order: scans whose rows, those of earlier commands too, come in this order, after those of all others.
    """
    place = {str(scan): number for number, scan in enumerate(order)}
    replaced = {name_of(Path(row["scan"])) for row in volumes}
    pairs = list(zip(table_paths(output), (volumes, functions), strict=True))
    for path, rows in reversed(pairs):  # a row in volumes.csv means "done", so that table comes last
        kept = []
        if not is_file_name(output) and path.exists():
            kept = [row for row in earlier_rows(path, list(rows[0]) if rows else None) if not scans_of(row) & replaced]
        if kept or rows:
            write_csv(path, sorted([*kept, *rows], key=lambda row: place.get(str(row.get("scan") or row.get("ed_scan")), -1)))
            print(f"wrote {path}")
        else:
            path.unlink(missing_ok=True)  # its label map was replaced


def forget(output: Path, scans: Iterable[Path]) -> None:
    """Take the rows of scans that are going to be segmented out of the tables in the folder `output`: if the command dies on the
    way, no row may describe a label map that is no longer there."""
    going = {name_of(scan) for scan in scans}
    for path in table_paths(output):
        rows = earlier_rows(path, None) if path.exists() else []
        kept = [row for row in rows if not scans_of(row) & going]
        if kept and len(kept) < len(rows):
            write_csv(path, kept)
        elif rows and not kept:
            path.unlink()


def check_tables(output: Path, structures: Mapping[int, str], scans: Iterable[Path]) -> None:
    """Check the tables in the folder `output`, and warn where the label map of another scan will be replaced.

    Args:
        output: folder or file name, from the command line.
        structures: label value -> name.
        scans: paths of those that will be segmented.

    Raises:
        InputError: rows for these structures cannot be added to a table.
    """
    earlier: list[Row] = []
    for path, columns in zip(table_paths(output), columns_of(structures), strict=True):
        if not is_file_name(output) and path.exists():
            earlier += earlier_rows(path, columns)
    before = {name_of(Path(row["scan"])): row["scan"] for row in earlier if "scan" in row}
    for scan in scans:
        other = before.get(name_of(scan))
        if other and Path(other).resolve() != scan.resolve():
            text = f"the label map of {other} is replaced by that of {scan}, which has the same name"
            warnings.warn(f"{text}; to keep both, choose another --output", stacklevel=2)


def columns_of(structures: Mapping[int, str]) -> tuple[list[str], list[str]]:
    """The columns of volumes.csv and of function.csv."""
    volumes, functions = function.columns(structures)
    return [*volumes[:2], *DOUBT, *volumes[2:]], functions


def earlier_rows(path: Path, columns: list[str] | None) -> list[Row]:
    """The rows of a table that an earlier command wrote.

    Args:
        path: of the file.
        columns: those that it must have; None allows any.

    Raises:
        InputError: see `files.read_csv`; or the table has other columns.
    """
    rows = read_csv(path, [column for column in columns or () if column not in DOUBT])
    if columns and list(rows[0]) != columns:
        raise InputError(f"{path}: a table with other structures, or another order: {', '.join(rows[0])[:100]}; choose another "
                         "--output or move it away")  # fmt: skip
    return rows


def scans_of(row: Row) -> set[str]:
    """The names of the label maps that a row of a table describes."""
    return {name_of(Path(row[column])) for column in ("scan", "ed_scan", "es_scan") if column in row}


def table_paths(output: Path) -> tuple[Path, Path]:
    """The files for the tables of volumes and of function."""
    folder, prefix = (output.parent, f"{volume.stem(output)}_") if is_file_name(output) else (output, "")
    return folder / f"{prefix}volumes.csv", folder / f"{prefix}function.csv"
