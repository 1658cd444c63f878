"""What all commands share: their arguments, and whatever goes wrong as one line with exit status 2."""

import argparse
import contextlib
import os
import signal
import sys
import traceback
import warnings
from pathlib import Path

from shared import startup
from shared.datasets import DATASETS, HOMEPAGES
from shared.errors import InputError
from shared.progress import clear_line

LINE = 280  # characters of a message at most, without "error: "
OF_ONE_KIND = 3  # warnings
NOBODY_READS = 141  # status of a command whose output goes to a pipe that was closed, as of any Unix command
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Arguments of a command; what is wrong with them is one line too."""

    def error(self, message):
        self.exit(2, f"error: {one_line(message)} (--help says more)\n")

    def exit(self, status=0, message=None):
        flush()
        super().exit(status, message)


@contextlib.contextmanager
def one_line_errors(debug=False):
    """End with one line on stderr and status 2 on bad input, a failing disk or too little memory; `debug` adds the traceback.

    Each warning is one line as well, shown once; of those that one place in the code gives, say for each of a hundred files, the
    first few are shown. Ctrl-C ends with one line and status 130, a closed pipe (`| head`) without any.
    """
    shown = {}  # place in the code -> the texts that it gave
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not in a notebook
            stream.reconfigure(errors="backslashreplace")  # names of files may be no UTF-8

    def show(message, category, filename, lineno, *_):
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
            f"out of memory ({one_line(error, 120) or 'no more is known'}); a smaller batch_size or width (--set) needs less",
            debug,
        )


def fail(message, debug):
    if debug:
        traceback.print_exc()
    clear_line()
    print(f"error: {one_line(message)}", file=sys.stderr)
    sys.exit(2)


def said(error):
    """What an exception says; of the operating system's the file first, and without its number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error) or type(error).__name__


def one_line(text, limit=LINE):
    """`text` in one line of printable characters; of a long one the middle, "...", stands for what is left out."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(str(text).split()))
    if len(text) <= limit:
        return text
    half = (limit - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def is_out_of_memory(error):
    """Python's and NumPy's own error, or what TensorFlow and JAX raise when a device has no more memory."""
    return isinstance(error, MemoryError) or "ResourceExhausted" in type(error).__name__ or "RESOURCE_EXHAUSTED" in str(error)


def flush():
    """Write out what was printed so far."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        nobody_reads()


def nobody_reads():
    """End silently. The interpreter flushes once more when it ends: nothing is read there either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(NOBODY_READS)


def add_debug(parser):
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_data(parser, required=True):
    """--dataset and --data-root."""
    parser.add_argument("--dataset", required=required, choices=DATASETS, help="layout of the data")
    places = "default: $CARDIAC_DATA/DATASET, then data/DATASET; the phantom needs none"
    parser.add_argument("--data-root", type=Path, help=f"folder the data was unpacked to ({places})")


def fold(text):
    """The value of --fold: a whole number from 0 or "all"."""
    return text if text == "all" else within(text, 0, 10_000, " or all")


def seed(text):
    """The value of --seed: a whole number of 32 bits."""
    return within(text, 0, 2**32 - 1)


def within(text, low, high, otherwise=""):
    """`text` as a whole number from `low` to `high`."""
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is None or not low <= number <= high:
        raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}{otherwise}, found {text!r}")
    return number


def workdir(text):
    """The value of --workdir: a folder that is there, or can be made."""
    folder = Path(text)
    nearest = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not nearest.is_dir():
        raise argparse.ArgumentTypeError(f"expected a folder, but {nearest} is none")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"expected a folder that can be written, {nearest} cannot")
    return folder


def data_root(dataset, root, workdir):
    """The folder of a data set: `root`, or where none is given, $CARDIAC_DATA/DATASET or data/DATASET, the first that is there;
    for the phantom a folder of its own in `workdir`.

    Raises:
        InputError: none is given and none is there.
    """
    if root is not None:
        return root
    if dataset == "phantom":
        return workdir / "phantom"
    parent = os.environ.get("CARDIAC_DATA")
    places = [*([Path(parent) / dataset] if parent else []), Path("data") / dataset]
    for place in places:
        if place.is_dir():
            return place
    looked = " or ".join([*([] if parent else [f"$CARDIAC_DATA/{dataset} (CARDIAC_DATA is not set)"]), *map(str, places)])
    raise InputError(
        f"no {dataset} data in {looked}: get them from {HOMEPAGES[dataset]} and give --data-root DIR, or try --dataset phantom, "
        "which needs none"
    )
