"""What all commands share: their arguments, and errors as one line with exit status 2."""

import argparse
import contextlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO, TypeVar

from shared import startup
from shared.datasets import DATASETS, FOLDERS, HOMEPAGES, PHANTOM
from shared.errors import InputError
from shared.progress import clear_line

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Recipe = TypeVar("Recipe", bound="DataclassInstance")

RUNS = Path("runs")  # where runs are kept, unless --workdir says another folder
LINE = 280  # characters of a message at most, without "error: "
OF_ONE_KIND = 3  # how many warnings from one place in the code are shown
NOBODY_READS = 141  # status of a command whose output goes to a closed pipe, like that of other Unix commands
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Arguments of a command; wrong ones give one line too."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {one_line(message)} (--help says more)\n")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        flush()
        super().exit(status, message)


@contextlib.contextmanager
def one_line_errors(debug: bool = False) -> Iterator[None]:
    """End with one line on stderr and status 2 on bad input, a failing disk or too little memory; `debug` adds the traceback.

    Each warning is one line as well, shown once; if one place in the code warns often, say about each of a hundred files, only
    the first few warnings are shown. Ctrl-C ends with one line and status 130, a closed pipe (`| head`) without any line.
    """
    shown: dict[tuple, list[str]] = {}  # place in the code -> the texts that it gave
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not in a notebook
            stream.reconfigure(errors="backslashreplace")  # file names may not be UTF-8

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        texts, text = shown.setdefault((category, filename, lineno), []), one_line(message)
        if text not in texts and len(texts) < OF_ONE_KIND:
            texts.append(text)
            clear_line()
            print(f"warning: {text}{' (more of this kind are not shown)' * (len(texts) == OF_ONE_KIND)}", file=sys.stderr)

    try:
        with warnings.catch_warnings(), startup.ctrl_c(signal.default_int_handler):
            warnings.showwarning = show
            yield
        flush()
    except BrokenPipeError:
        nobody_reads()
    except (InputError, OSError) as error:
        fail(said(error), debug)
    except KeyboardInterrupt as stopped:
        clear_line()
        print("; ".join(["stopped", *map(str, stopped.args)]), file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        fail(
            f"out of memory ({one_line(error, 120) or 'no details'}); a smaller batch_size or width (--set) needs less",
            debug,
        )


def fail(message: str, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exc()
    clear_line()
    print(f"error: {one_line(message)}", file=sys.stderr)
    sys.exit(2)


def said(error: Exception) -> str:
    """The message of an exception; that of the operating system begins with the file and leaves out the error's number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error) or type(error).__name__


def one_line(text: object, limit: int = LINE) -> str:
    """`text` in one line of printable characters; where it is too long, "..." replaces the middle."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(str(text).split()))
    if len(text) <= limit:
        return text
    half = (limit - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def is_out_of_memory(error: Exception) -> bool:
    """Whether it is Python's and NumPy's own error, or that of TensorFlow and JAX when a device has no more memory."""
    return isinstance(error, MemoryError) or "ResourceExhausted" in type(error).__name__ or "RESOURCE_EXHAUSTED" in str(error)


def flush() -> None:
    """Write out everything that was printed so far."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        nobody_reads()


def nobody_reads() -> NoReturn:
    """End silently. The interpreter flushes once more when it ends, so what is left goes to the null device."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(NOBODY_READS)


def add_debug(parser: argparse.ArgumentParser) -> None:
    """--debug."""
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_data(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """--dataset and --data-root."""
    parser.add_argument("--dataset", required=required, choices=DATASETS, help="layout of the data")
    places = "default: $CARDIAC_DATA/DATASET, then data/DATASET; the phantom needs none"
    parser.add_argument("--data-root", type=Path, help=f"folder the data was unpacked to ({places})")


def fold(text: str) -> int | str:
    """The value of --fold: a whole number from 0, or "all"."""
    return text if text == "all" else within(text, 0, 10_000, " or all")


def devices(text: str) -> int | str:
    """The value of --devices: a whole number from 1, or "all"."""
    return text if text == "all" else within(text, 1, 1024, " or all")


def seed(text: str) -> int:
    """The value of --seed: a whole number of 32 bits."""
    return within(text, 0, 2**32 - 1)


def within(text: str, low: int, high: int, otherwise: str = "") -> int:
    """`text` as a whole number from `low` to `high`; `otherwise` is what messages allow besides."""
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}{otherwise}, found {text!r}")
    return number


def check_tables(*paths: Path) -> None:
    """Raise InputError unless --output, the first of these files, has the name of a table, and none of them is a folder."""
    if not paths[0].name.endswith(".csv") or any(path.is_dir() for path in paths):
        raise InputError(f"{paths[0]}: expected the name of a table that ends in .csv for --output")


def workdir(text: str) -> Path:
    """The value of --workdir: a folder that exists, or can be made."""
    folder = Path(text)
    nearest = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not nearest.is_dir():
        raise argparse.ArgumentTypeError(f"expected a folder, but {nearest} is not one")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"expected a folder that can be written, but {nearest} cannot")
    return folder


def data_root(dataset: str, root: Path | None, workdir: Path) -> Path:
    """The folder of a data set: `root`; without it the first of $CARDIAC_DATA/DATASET and data/DATASET that exists.

    CT and MR of MM-WHS share the folder mmwhs. The phantom has its own folder in `workdir`.

    Raises:
        InputError: no folder is given and none exists.
    """
    if root is not None:
        return root
    if dataset == PHANTOM:
        return workdir / PHANTOM
    parent, folder = os.environ.get("CARDIAC_DATA"), FOLDERS.get(dataset, dataset)
    places = [*([Path(parent) / folder] if parent else []), Path("data") / folder]
    for place in places:
        if place.is_dir():
            return place
    looked = " or ".join([*([] if parent else [f"$CARDIAC_DATA/{folder} (CARDIAC_DATA is not set)"]), *map(str, places)])
    raise InputError(
        f"no {dataset} data in {looked}: get them from {HOMEPAGES[dataset]} and give --data-root DIR, or try --dataset phantom, "
        "which needs none"
    )
