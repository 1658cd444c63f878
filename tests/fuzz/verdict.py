"""Whether a damaged input was answered as it should be: it works, or it is one line and leaves nothing behind.

Input `n` is round `n // len(SUBJECTS)` of subject `n % len(SUBJECTS)`; its damage depends on `n` alone.
"""

import contextlib
import hashlib
import importlib
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

from shared import cli
from shared.errors import InputError
from shared.files import TEMPORARY
from shared.scans import volume
from tests.fuzz import mutations
from tests.fuzz.subjects import SUBJECTS
from tests.fuzz.values import pick

ROOT = Path(__file__).parents[2]
ALONE = 20  # every 20th round of a command is a process of its own
MEMORY = 3 * 2**30  # bytes of address space that an input may take on top of what its subject has taken before
LONGEST_LINE = 310  # "error: ", 280 characters, and "(--help says more)"
LONGEST_MESSAGE = 300  # without folders
BY_NUMPY = re.compile("encountered in|divide by zero|Warning:")  # texts that mean nothing to a user
ALLOWED_TO_CHANGE = ("lock", "events.out", "run.json", "history.csv")  # of a run, which records how far it came


@dataclass(frozen=True)
class Verdict:
    """Number and kind of the input, how it was damaged, how it was answered, and what is wrong with the answer ("": nothing)."""

    number: int
    kind: str
    damage: str
    answer: str
    fault: str


def numbers(sampled=False):
    """The numbers of all inputs, or of those in the sample."""
    rounds = [subject.sampled if sampled else subject.rounds for subject in SUBJECTS]
    return [r * len(SUBJECTS) + i for r in range(max(rounds)) for i in range(len(SUBJECTS)) if r < rounds[i]]


def judge(number, workplace):
    """The `Verdict` on an input. `workplace` is a folder that keeps the valid files of every subject."""
    subject = SUBJECTS[number % len(SUBJECTS)]
    originals = made(subject, Path(workplace))
    with tempfile.TemporaryDirectory(dir=workplace) as place, limited_memory():
        folder = Path(place) / "input"
        shutil.copytree(originals, folder, symlinks=True)
        rng = np.random.default_rng(number)
        arguments, damage = list(subject.arguments), ""
        if subject.damages:
            damage = damage_files(folder, subject, rng)
        else:
            arguments = mutations.argued(arguments, rng)
            damage = repr(arguments)[:300]
        before = snapshot(folder)
        try:
            if subject.reader:
                answer, faults = read(subject, folder)
            else:
                alone = not subject.stops and number // len(SUBJECTS) % ALONE == ALONE - 1
                answer, faults = commanded(subject, arguments, folder, alone)
            faults += left_behind(before, snapshot(folder), answer)
            if not faults and answer == "works" and subject.label_map and subject.damages:
                faults += check_label_map(*(folder / name for name in subject.label_map))
        except Exception:
            answer, faults = "", [traceback.format_exc()]
    return Verdict(number, subject.name, damage, answer, "; ".join(faults))


def made(subject, workplace):
    """The folder with the valid files of a subject."""
    folder = workplace / str(SUBJECTS.index(subject))
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        subject.make(partial)
        with tempfile.TemporaryDirectory(dir=workplace) as place:  # reached is what is meant to be reached
            copy = shutil.copytree(partial, Path(place) / "input", symlinks=True)
            answer, faults = read(subject, copy) if subject.reader else commanded(subject, subject.arguments, copy)
            assert not faults and (answer == "works" or "stopped: the work begins" in answer), (subject.name, answer, faults)
        partial.rename(folder)
    return folder


def damage_files(folder, subject, rng):
    """Damage one of the subject's files, rarely several; say which and how."""
    files = sorted({path for pattern in subject.damages for path in folder.glob(pattern) if path.is_file()})
    done = []
    for _ in range(pick([1] * 9 + [3], rng)):
        path = pick(files, rng)
        if not path.is_file():
            continue
        if rng.random() < 0.08:
            what = mutations.exchanged(path, files, rng)
        else:
            what, content = mutations.damaged(path.read_bytes(), path.name, rng)
            path.write_bytes(content)
        done.append(f"{path.relative_to(folder)}: {what}")
    return "; ".join(done)


@contextlib.contextmanager
def limited_memory():
    """Let this process take no more than `MEMORY` on top of what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


# Answers ------------------------------------------------------------------------------------------------------------------------


def read(subject, folder):
    """How a reader answers, and what is wrong with it."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        try:
            subject.reader(folder)
            answer, lines = "works", []
        except (InputError, OSError) as error:
            answer = str(error) if isinstance(error, InputError) else cli.said(error)
            lines = [answer]
    ours = (UserWarning, ResourceWarning)  # the latter are pydicom's, which leaves broken files to the collector
    faults = [f"{each.category.__name__}: {each.message}" for each in given if not issubclass(each.category, ours)]
    given = [each for each in given if issubclass(each.category, UserWarning)]
    for line in [*lines, *(str(each.message) for each in given)]:
        short = line.replace(str(folder), "")
        if "\n" in line or len(short) > LONGEST_MESSAGE:
            faults.append(f"not one short line: {line!r}")
    return answer, faults


def commanded(subject, arguments, folder, alone=False):
    """How a command answers, in this process or `alone` in its own, and what is wrong with it."""
    if alone:
        status, printed = started(subject.command, arguments, folder)
    else:
        module = importlib.import_module(subject.command)
        with contextlib.ExitStack() as stack:
            for stop in subject.stops:
                stack.enter_context(mock.patch(stop, side_effect=InputError("stopped: the work begins")))
            status, printed = captured(lambda: module.main(arguments), folder)
    lines = printed.splitlines()
    answer = "works" if status == 0 else lines[-1] if lines else f"status {status}"
    faults = []
    if status not in (0, 2):
        faults.append(f"status {status}: {printed[-3000:]}")
    errors = [line for line in lines if not line.startswith("warning: ")]
    debug = "--debug" in arguments
    if not debug and (len(errors) != (status == 2) or not all(line.startswith("error: ") for line in errors)):
        faults.append(f"status {status}, but stderr is {printed[-3000:]!r}")
    faults += [f"a long line: {line}" for line in lines if len(line) > LONGEST_LINE and not debug]
    faults += [f"a line of NumPy's: {line}" for line in lines if BY_NUMPY.search(line) and not debug]
    if "out of memory" in printed:
        faults.append(answer)
    return answer, faults


def started(module, arguments, folder):
    """Status and stderr of a command as a user starts it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module.removesuffix(".__main__"), *arguments]
    ended = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return ended.returncode, ended.stderr.decode(errors="replace")


def captured(call, folder):
    """Status of a command that runs inside a folder, and what it and its libraries write to stderr."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept, status = [os.dup(1), os.dup(2)], 0
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, contextlib.chdir(folder):
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            call()
        except SystemExit as ended:
            status = ended.code if ended.code is not None else 0
        except BaseException:
            status = "exception"
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(ValueError):
                    stream.flush()
            for number, copy in enumerate(kept, 1):
                os.dup2(copy, number)
                os.close(copy)
        err.seek(0)
        return status, err.read().decode(errors="replace")


# Files --------------------------------------------------------------------------------------------------------------------------


def snapshot(folder):
    """Path -> what is there, of everything in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[path] = os.readlink(path)
        elif path.is_file():
            found[path] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def left_behind(before, after, answer):
    """What is wrong with the files that an answer leaves behind."""
    faults = [f"left behind: {path}" for path in after if TEMPORARY.match(path.name) or ".partial" in str(path)]
    if answer != "works":
        changed = [path for path in before if after.get(path) != before[path] and not path.name.startswith(ALLOWED_TO_CHANGE)]
        faults += [f"changed by a command that failed: {path}" for path in changed]
    return faults


def check_label_map(path, scan_path):
    """Whether the label map at `path` lies on its scan and has known values only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels, scan = volume.read_labels(path), volume.read(scan_path)
    faults = []
    if labels.array.shape != scan.array.shape or not np.allclose(labels.affine, scan.affine, rtol=1e-4, atol=1e-3):
        faults.append(f"{path.name} {labels.array.shape} is not on the grid of its scan {scan.array.shape}")
    if not np.allclose(labels.spacing_mm, scan.spacing_mm, rtol=1e-4):
        faults.append(f"{path.name} has voxels of {labels.spacing_mm}, its scan of {scan.spacing_mm}")
    if labels.array.max() > 3:
        faults.append(f"{path.name} has the values {np.unique(labels.array)}")
    return faults
