"""Try inputs of the fuzz by their numbers: `python -m tests.fuzz 417 418` says of each how it was damaged and answered.

An input that crashes or hangs ends this process with a traceback: `test_fuzz.py` starts another one for the inputs behind it.
"""

import argparse
import dataclasses
import faulthandler
import json
import os
import tempfile
import time
from pathlib import Path

from tests.fuzz.verdict import SUBJECTS, judge, made

SECONDS = 120  # that one input may take


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="+", type=int, metavar="NUMBER")
    parser.add_argument("--workplace", type=Path, help="folder that keeps the valid files (default: a new one)")
    parser.add_argument("--json", action="store_true", help="a line of JSON before each input and one after it")
    options = parser.parse_args()
    out, err = (os.fdopen(os.dup(number), "w", buffering=1) for number in (1, 2))
    if options.json:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    faulthandler.enable(err)
    with tempfile.TemporaryDirectory() as folder:
        workplace = options.workplace or Path(folder)
        for number in options.numbers:
            made(SUBJECTS[number % len(SUBJECTS)], workplace)
            faulthandler.dump_traceback_later(SECONDS, exit=True, file=err)
            if options.json:
                print(json.dumps({"number": number}), file=out)
            start = time.monotonic()
            verdict = judge(number, workplace)
            faulthandler.cancel_dump_traceback_later()
            if options.json:
                print(json.dumps({**dataclasses.asdict(verdict), "seconds": round(time.monotonic() - start, 2)}), file=out)
            else:
                print(*(f"{name}: {value}" for name, value in vars(verdict).items()), sep="\n", file=out)


if __name__ == "__main__":
    main()
