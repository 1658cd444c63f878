"""Many scans, named in a table: the prediction command with --list.

What is done stays done: a label map with its row in volumes.csv is not made again, so the command can be killed and started
again. A scan that cannot be segmented is a line in failures.csv, and costs the others nothing.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from shared.errors import InputError
from shared.files import read_csv, write_csv
from shared.overlap import Outcome
from shared.prediction_jobs import Job, is_file_name
from shared.prediction_tables import Row, table_paths
from shared.progress import Progress
from shared.segmenting import say_doubt

FAILURES = "failures.csv"
EVERY_S = 30.0  # between two writings of the tables


def scans_of(table: Path) -> list[Path]:
    """Absolute paths of the scans in the column `scan` of a CSV file; a relative name counts from the folder of that file.

    Later commands compare them with the tables, from whatever folder they are started.

    Raises:
        InputError: the file cannot be read, has no such column, or no row.
    """
    if not table.is_file():
        raise InputError(f"{table}: {'a folder; expected a table' if table.is_dir() else 'no such file'}")
    rows = read_csv(table, ("scan",))
    if not rows:
        raise InputError(f"{table}: no scans in it")
    names = [str(row["scan"]).strip() for row in rows]
    for number, name in enumerate(names, start=1):
        if not name or "\0" in name:
            raise InputError(f"{table}: its row {number} names no scan")
    return [Path(os.path.abspath(table.parent / name)) for name in names]


def left(todo: Sequence[Job], output: Path) -> list[Job]:
    """The jobs whose label map is missing, or its row in volumes.csv, or whose label map is that of another scan of this name.

    Raises:
        InputError: `output` is the name of one label map.
    """
    if is_file_name(output):
        raise InputError(f"{output}: the label maps of a list go to a folder")
    volumes = table_paths(output)[0]
    done = {os.path.realpath(row["scan"]) for row in read_csv(volumes, ("scan",))} if volumes.exists() else set()
    return [job for job in todo if not job.output.exists() or os.path.realpath(job.scan) not in done]


def segment_all(
    todo: Sequence[Job],
    run: Callable[..., None],
    write: Callable[[list[Row], list[Row]], None],
    output: Path,
) -> int:
    """Segment many scans, and return how many failed.

    Args:
        todo: what to segment.
        run: `run(todo, done=...)` segments them and calls `done(job, outcome)` after each; `outcome()` gives its rows of the
            tables.
        write: `write(volumes, functions)` adds rows to the tables.
        output: folder.
    """
    volumes: list[Row] = []
    functions: list[Row] = []
    failures: list[Row] = []
    place = {str(job.scan): number for number, job in enumerate(todo)}
    progress, written = Progress("scan", len(todo)), time.monotonic()

    def flush() -> None:
        nonlocal written
        if volumes:
            write(volumes, functions)
            volumes.clear()
            functions.clear()
        if failures:
            write_csv(output / FAILURES, sorted(failures, key=lambda row: place[str(row["scan"])]))
        written = time.monotonic()

    def done(job: Job, outcome: Outcome) -> None:
        try:
            found = outcome()
        except (InputError, OSError) as error:
            failures.append({"scan": str(job.scan), "error": str(error)})
        else:
            say_doubt(job, found[0])
            volumes.extend(found[0])
            functions.extend(found[1])
        progress.step()
        if time.monotonic() - written > EVERY_S:
            flush()

    (output / FAILURES).unlink(missing_ok=True)
    try:
        run(todo, done=done)
    finally:
        flush()
    return len(failures)
