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
import time
from pathlib import Path

import keras

from shared import evaluation, plots, report, statistics, volume
from shared.datasets import load_image
from shared.errors import InputError
from shared.files import fingerprint, read_csv, write_csv, write_json, write_text
from shared.progress import Progress, duration
from shared.training import HISTORY

PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy", "scipy", "nibabel", "SimpleITK")


def folder_of(workdir, package, experiment, preset, dataset, fold):
    """Where a run lies below `workdir`."""
    return Path(workdir) / package / (experiment if preset == "paper" else f"{experiment}-{preset}") / dataset / f"fold{fold}"


def open_run(folder, identity, command):
    """Start a run, or take up the one in `folder` if it is the same.

    Args:
        folder: the run's.
        identity: everything that decides the result (recipe, split, seed, data), as JSON values.
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


def is_done(folder):
    return (folder / "summary.md").is_file()


def fingerprints(cases):
    """Content fingerprint of every case, image and label, read in parallel."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(lambda case: fingerprint(*contents(case.image), *contents(case.label)), cases))


def contents(path):
    """The files behind a path: itself, or those of a DICOM folder."""
    if path is None:
        return []
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def evaluate(folder, cases, predict, record, headline):
    """Predict and score `cases`, and write predictions/, cases.csv, summary.md and figures/ of the run.

    Args:
        folder: the run's.
        cases: labelled test cases.
        predict: `predict(scan Volume) -> label map Volume`, values as on disk.
        record: of `open_run`; its durations receive "evaluate".
        headline: first lines of summary.md.
    """
    start = time.monotonic()
    structures = {int(value): name for value, name in record["structures"].items()}
    rows = []
    for case in Progress("predicting and scoring", len(cases)).over(cases):
        predicted = predict(load_image(case))
        volume.write(predicted, folder / "predictions" / f"{case.name}.nii.gz")
        about = {"case": case.name, "patient": case.patient, "phase": case.phase, "group": case.group}
        rows += evaluation.score(predicted, volume.read_labels(case.label), structures, about)
    write_csv(folder / "cases.csv", rows)
    draw(folder, cases, rows, structures)
    record["seconds"]["evaluate"] = round(time.monotonic() - start, 1)
    write_json(folder / "run.json", record)
    took = ", ".join(f"{what} {duration(seconds)}" for what, seconds in record["seconds"].items())
    facts = [
        f"- command: `{record['command']}`",
        f"- commit {record['commit']}; {record['hardware']}; {took}",
        f"- data {record['dataset']}, fingerprint {record['data'][:12]}",
    ]
    table = report.summarise(rows)
    lines = [*headline, "", *facts, "", *table, "", evaluation.RULE, ""]
    write_text(folder / "summary.md", "\n".join(lines))
    print("\n".join(["", *table, ""]))
    for picture in sorted((folder / "figures").glob("*.png")):
        print(f"picture: {picture}")


def draw(folder, cases, rows, structures):
    """figures/: best, median and worst case, the learning curve, and agreement of EF where there are ED and ES."""
    dice = report.dice_by_case(rows)
    ranked = sorted(cases, key=lambda case: dice[case.name])
    panels = []
    for name, case in (("best", ranked[-1]), ("median", ranked[len(ranked) // 2]), ("worst", ranked[0])):
        image, reference = load_image(case), volume.read_labels(case.label)
        predicted = volume.read_labels(folder / "predictions" / f"{case.name}.nii.gz")
        panels.append((f"{name}: {case.name}\nreference", image, reference, reference))
        panels.append((f"{name}: {case.name}\npredicted, Dice {dice[case.name]:.3f}", image, predicted, reference))
    plots.overlay(folder / "figures" / "best_median_worst.png", panels, structures)
    history = read_csv(folder / HISTORY)
    plots.learning_curve(
        folder / "figures" / "learning_curve.png", history, [(["loss", "val_loss"], "log"), (["val_dice"], "linear")]
    )
    functions = []
    for cavity in ("LV", "RV"):
        ours, reference = report.ejection_fractions([row for row in rows if row["structure"] == cavity])
        if len(ours) > 1:
            functions.append((f"{cavity} ejection fraction", "%", ours, reference, statistics.agreement(ours, reference)[0]))
    if functions:
        plots.bland_altman(folder / "figures" / "ejection_fraction.png", functions)


def versions():
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
