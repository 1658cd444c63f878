"""The run folder: what was run, on what, and what came out.

RUNS/<package>/<experiment>[-<preset>]/<dataset>/fold<k>/
    run.json           recipe, split, seed, versions, commit, data fingerprint, durations
    best.weights.h5    checkpoint.npz    history.csv    tensorboard/    lock
    predictions/       cases.csv    summary.md    figures/
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
from pathlib import Path

import filelock

from shared.errors import InputError
from shared.files import fingerprint, read_json, remove_leftovers, write_json
from shared.recipes import number, shown
from shared.scans import volume

BEST, CHECKPOINT, HISTORY, SUMMARY = "best.weights.h5", "checkpoint.npz", "history.csv", "summary.md"
FRAMEWORKS = ("keras", "tensorflow", "jax")
PREPARING = (
    "numpy",
    "scipy",
    "nibabel",
    "pydicom",
    "SimpleITK",
    "opencv-python-headless",
)  # libraries that decide what networks see


def folder_of(workdir, package, experiment, preset, dataset, fold):
    """Where a run lies below `workdir`."""
    return Path(workdir) / package / (experiment if preset == "paper" else f"{experiment}-{preset}") / dataset / f"fold{fold}"


def identity(package, experiment, preset, dataset, fold, seed, recipe, structures, split, digests, **more):
    """Everything that decides the result of a run, for `opened`.

    Args:
        package, experiment, preset, dataset, fold, seed: as in its command.
        recipe: dataclass of numbers.
        structures: label value on disk -> name, of what is predicted.
        split: `splits.Split`.
        digests: fingerprints of the cases.
        **more: whatever else decides.
    """
    from shared.framework import keras

    return {
        "package": package,
        "experiment": experiment,
        "preset": preset,
        "dataset": dataset,
        "fold": fold,
        "seed": seed,
        "recipe": vars(recipe),
        "structures": structures,
        "split": vars(split),
        "data": fingerprint(*digests),
        "backend": keras.backend.backend(),
        **more,
    }


@contextlib.contextmanager
def opened(folder, identity, command):
    """Start a run, or take up the one in `folder` if it is the same; within the block no other process can.

    Args:
        folder: the run's.
        identity: of `identity`.
        command: how to run it again.

    Yields:
        The record in run.json.

    Raises:
        InputError: the folder holds a run with another identity, or another process is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise InputError(f"{folder}: another process is at this run; wait for its end, or choose another --workdir") from None
    try:
        remove_leftovers(folder)
        yield record_of(folder, identity, command)
    finally:
        lock.release()


def record_of(folder, identity, command):
    """The content of run.json, which is written first where there is none."""
    path = folder / "run.json"
    identity = json.loads(json.dumps(identity))
    if path.exists():
        record = read_record(folder, "command", "commit", "hardware", "seconds")
        differing = [key for key in identity if record.get(key) != identity[key]]
        if differing:
            raise InputError(f"{folder} holds a run with another {', '.join(differing)}; choose another --workdir or remove it")
        return record
    record = {**identity, "command": command, "commit": commit(), "versions": versions(), "hardware": hardware(), "seconds": {}}
    write_json(path, record)
    return record


def read_record(folder, *fields):
    """The content of a run folder's run.json, in which `fields` have been checked.

    Raises:
        InputError: it is missing or broken, or one of the fields is missing or holds something else.
    """
    path = folder / "run.json"
    record = read_json(path)
    check_fields(record, path, *fields)
    if not isinstance(record, dict):
        raise InputError(f"{path}: expected a table of fields, found {shown(record)}; remove the run folder to start again")
    check_fields(record, path, *(field for field in LATER if field in record))
    return record


def check_fields(record, path, *fields):
    """Raise InputError unless the `record` at `path` is a dictionary with these fields, each of the right kind."""
    for field in fields:
        words, holds = FIELDS[field]
        if not isinstance(record, dict) or field not in record or not holds(record[field]):
            found = shown(record[field]) if isinstance(record, dict) and field in record else "no such field"
            raise InputError(f"{path}: {field}: expected {words}, found {found}; remove the run folder to start again")


def is_text(value):
    return isinstance(value, str)


def are_structures(value):
    """Whether `value` is label value -> name as JSON has it: whole numbers as texts, each once, and different names."""
    if not isinstance(value, dict) or not value or not all(is_text(name) and name.strip() for name in value.values()):
        return False
    labels = [int(label) for label in value if re.fullmatch("[1-9][0-9]{0,4}", label)]
    names = {name.casefold() for name in value.values()}
    return len(labels) == len(value) == len(names) and max(labels) < 2**16


def are_seconds(value):
    """Whether `value` is what was done -> seconds."""
    return isinstance(value, dict) and all(number(0, 1e12).holds(seconds) for seconds in value.values())


def is_split(value):
    """Whether `value` has the patients of the three sides."""
    sides = [value.get(side) for side in ("train", "validation", "test")] if isinstance(value, dict) else [None]
    return all(isinstance(side, list) and all(map(is_text, side)) for side in sides)


FIELDS = {  # field of run.json -> what it holds, in words and as a test
    "command": ("a text", is_text),
    "commit": ("a text", is_text),
    "hardware": ("a text", is_text),
    "recipe": ("a table of fields", lambda value: isinstance(value, dict)),
    "structures": ("label values from 1 to 65535, each with another name", are_structures),
    "seconds": ("a table of seconds", are_seconds),
    "split": ("lists of patients called train, validation and test", is_split),
    "weights": ("a table of fingerprints", lambda value: isinstance(value, dict) and all(map(is_text, value.values()))),
    "result": ("a table of results", lambda value: isinstance(value, dict)),
}


LATER = ("result", "weights")  # fields that a run has from its first trained network on


def write_record(folder, record):
    """Write run.json, with the fingerprint of every weights file that the run has by now."""
    record["weights"] = {path.relative_to(folder).as_posix(): fingerprint(path) for path in sorted(folder.rglob(BEST))}
    write_json(folder / "run.json", record)


def weights_of(folder, stage=""):
    """Path of the best weights of a run, or of one of its earlier stages.

    Raises:
        InputError: there are none yet, or they are not those that the run recorded.
    """
    path = folder / stage / BEST
    if not path.is_file():
        raise InputError(f"{path}: missing; the run has no weights yet")
    recorded = read_record(folder).get("weights", {}).get(path.relative_to(folder).as_posix())
    if recorded not in (None, fingerprint(path)):  # None: still in training, or trained before there were fingerprints
        raise InputError(f"{path}: damaged or exchanged, it is not the file that run.json records; copy the run again")
    return path


def folder_holding(weights):
    """The run folder that `weights` names: itself, or the one whose best.weights.h5 it is.

    Raises:
        InputError: neither.
    """
    weights = Path(weights)
    if weights.is_dir():
        return weights
    if weights.name != BEST or not weights.is_file():
        found = "another file" if weights.is_file() else "no such file"
        raise InputError(f"{weights}: expected a run folder or the {BEST} in it, found {found}")
    return weights.parent


def load_recipe(folder, Recipe):
    """The `Recipe` (a dataclass) of a run folder, and label value on disk -> structure name.

    Raises:
        InputError: no run.json, or one that says something else.
    """
    path = folder / "run.json"
    try:
        record = read_record(folder, "recipe", "structures")
        package, own = record.get("package"), Recipe.__module__.partition(".")[0]
        if package != own and is_text(package) and package.isidentifier():
            raise InputError(f"it is a run of {package[:40]}; use python -m {package[:40]}.predict")
        values = {field: tuple(value) if isinstance(value, list) else value for field, value in record["recipe"].items()}
        differing = values.keys() ^ {field.name for field in dataclasses.fields(Recipe)}
        if differing:
            raise InputError(f"the recipe lacks these fields or has them too many: {', '.join(sorted(differing))}")
        recipe = Recipe(**values)
        structures = {int(value): name for value, name in record["structures"].items()}
        wanted = [name.casefold() for name in vars(recipe).get("structures", structures.values())]
        if wanted != [name.casefold() for name in structures.values()]:
            raise InputError(f"structures {', '.join(structures.values())} are not those of the recipe")
    except InputError as error:
        raise InputError(f"{path}: not a run of this package ({str(error).removeprefix(f'{path}: ')})") from error
    return recipe, structures


def is_done(folder):
    return (folder / SUMMARY).is_file()


def fingerprints(cases):
    """Content fingerprint of every case, image and label, read in parallel."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(lambda case: fingerprint(*contents(case.image), *contents(case.label)), cases))


def contents(path):
    """The files behind a path: itself, the data beside a header, or the files of a DICOM folder."""
    return [] if path is None else volume.data_files(path)


@functools.cache
def code(package):
    """Fingerprint of what decides how the cases of a paper are prepared, besides data and recipe: the sources of `shared` and of
    the paper's package, and the libraries. All of it, since a source forgotten here would mean stale data."""
    folders = [Path(importlib.util.find_spec(name).origin).parent for name in ("shared", package)]
    sources = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return fingerprint([importlib.metadata.version(name) for name in PREPARING], *sources)


def versions():
    from shared.framework import keras  # here: reading a run loads no framework

    found = {"python": platform.python_version(), "backend": keras.backend.backend()}
    for name in (*FRAMEWORKS, *PREPARING):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit():
    """Commit of the source tree, "+" where it has changes; "unknown" outside a checkout."""
    try:
        command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        described = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip() or "unknown"


def hardware():
    """The accelerators, or else the processor and how many of its cores are ours."""
    from shared.framework import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
                 for gpu in tf.config.list_physical_devices("GPU")]  # fmt: skip
    elif keras.backend.backend() == "jax":
        import jax

        names = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    else:
        names = []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ", ".join(names) or f"{processor()}, {cores} cores"


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
