"""What all commands share: their arguments, and errors as one line with exit status 2."""

import argparse
import contextlib
import dataclasses
import json
import sys
import traceback
import warnings
from pathlib import Path

from shared.datasets import DATASETS
from shared.errors import InputError


class Parser(argparse.ArgumentParser):
    """Arguments of a command; what is wrong with them is one line too."""

    def error(self, message):
        self.exit(2, f"error: {message} (--help says more)\n")


@contextlib.contextmanager
def one_line_errors(debug=False):
    """End with one line on stderr and status 2 on bad input or a failing disk; `debug` shows the traceback as well.

    Of warnings, the first of each kind is shown, in a line of its own.
    """
    shown = set()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not in a notebook
            stream.reconfigure(errors="backslashreplace")  # names of files may be no UTF-8

    def show(message, category, *place, **options):
        if category not in shown:
            print(f"warning: {message} (further warnings of this kind are not shown)", file=sys.stderr)
        shown.add(category)

    try:
        with warnings.catch_warnings():
            warnings.showwarning = show
            yield
    except (InputError, OSError, MemoryError) as error:
        if debug:
            traceback.print_exc()
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)


def add_debug(parser):
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_data(parser, required=True):
    """--dataset and --data-root."""
    parser.add_argument("--dataset", required=required, choices=DATASETS, help="layout of the data")
    parser.add_argument("--data-root", type=Path, help="folder the data was unpacked to (the phantom needs none)")


def fold(text):
    """The value of --fold: a whole number or "all"."""
    try:
        return text if text == "all" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number or all, found {text!r}") from None


def data_root(dataset, root, workdir):
    """The given root, or for the phantom a folder of its own in `workdir`.

    Raises:
        InputError: no root for a data set that needs one.
    """
    if root is None and dataset != "phantom":
        raise InputError(f"--data-root is needed: the folder that {dataset} was unpacked to")
    return root or workdir / "phantom"


def override(recipe, assignments):
    """`recipe` with "field=value" texts applied, each value read as the field's type.

    Raises:
        InputError: no such field, or a value of another type.
    """
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or name not in vars(recipe):
            raise InputError(f"--set {assignment}: expected FIELD=VALUE with a field of {', '.join(vars(recipe))}")
        recipe = dataclasses.replace(recipe, **{name: parse(name, text, getattr(recipe, name))})
    return recipe


def parse(name, text, current):
    """`text` as a value of the type of `current`; tuples as comma-separated items of the type of their first."""
    if isinstance(current, tuple):
        return tuple(parse(name, item.strip(), current[0]) for item in text.split(","))
    if isinstance(current, str):
        return text
    try:
        value = json.loads(text.lower())
    except ValueError:
        value = text
    if isinstance(current, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(current):
        raise InputError(f"--set {name}={text}: expected a value of type {type(current).__name__}")
    return value
