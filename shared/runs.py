"""The run folder: what was run, on what, and what came out.

RUNS/<package>/<experiment>[-<preset>]/<dataset>/fold<k>/
    run.json           recipe, split, seed, versions, commit, data fingerprint, durations
    best.weights.h5    checkpoint.npz    history.csv    tensorboard/
    predictions/       cases.csv    summary.md    figures/
"""

import concurrent.futures
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path

from shared import volume
from shared.errors import InputError
from shared.files import fingerprint, write_json

PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy", "scipy", "nibabel", "SimpleITK")


def folder_of(workdir, package, experiment, preset, dataset, fold):
    """Where a run lies below `workdir`."""
    return Path(workdir) / package / (experiment if preset == "paper" else f"{experiment}-{preset}") / dataset / f"fold{fold}"


def identity(package, experiment, preset, dataset, fold, seed, recipe, structures, split, digests, **more):
    """Everything that decides the result of a run, for `open_run`.

    Args:
        package, experiment, preset, dataset, fold, seed: as in its command.
        recipe: dataclass of numbers.
        structures: label value on disk -> name, of what is predicted.
        split: `splits.Split`.
        digests: fingerprints of the cases.
        **more: whatever else decides.
    """
    import keras

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


def open_run(folder, identity, command):
    """Start a run, or take up the one in `folder` if it is the same.

    Args:
        folder: the run's.
        identity: of `identity`.
        command: how to run it again.

    Returns:
        The record in run.json.

    Raises:
        InputError: the folder holds a run with another identity.
    """
    path = folder / "run.json"
    identity = json.loads(json.dumps(identity))
    if path.exists():
        record = read_record(folder)
        differing = [key for key in identity if record.get(key) != identity[key]]
        if differing:
            raise InputError(f"{folder} holds a run with another {', '.join(differing)}; choose another --workdir or remove it")
        return record
    record = {**identity, "command": command, "commit": commit(), "versions": versions(), "hardware": hardware(), "seconds": {}}
    write_json(path, record)
    return record


def read_record(folder):
    """The content of a run folder's run.json.

    Raises:
        InputError: it is missing or broken.
    """
    try:
        return json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'run.json'}: unreadable ({error}); remove the folder to start again") from error


def folder_holding(weights):
    """The run folder that `weights` names: itself, or the one that the file lies in."""
    weights = Path(weights)
    return weights if weights.is_dir() else weights.parent


def load_recipe(folder, Recipe):
    """The `Recipe` (a dataclass) of a run folder, and label value on disk -> structure name.

    Raises:
        InputError: no run.json, or one that says something else.
    """
    path = folder / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        recipe = Recipe(**{key: tuple(v) if isinstance(v, list) else v for key, v in record["recipe"].items()})
        return recipe, {int(value): name for value, name in record["structures"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a run of this package ({error})") from error


def is_done(folder):
    return (folder / "summary.md").is_file()


def fingerprints(cases):
    """Content fingerprint of every case, image and label, read in parallel."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(lambda case: fingerprint(*contents(case.image), *contents(case.label)), cases))


def contents(path):
    """The files behind a path: itself, the data beside a header, or the files of a DICOM folder."""
    return [] if path is None else volume.data_files(path)


def versions():
    import keras  # here: reading a run loads no framework, and none of the matplotlib that Keras brings

    found = {"python": platform.python_version(), "backend": keras.backend.backend()}
    for name in PACKAGES:
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
    import keras

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
