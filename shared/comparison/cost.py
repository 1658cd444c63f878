"""What a method costs: its parameters, its training, and the seconds and memory of one prediction in a process of its own.

python -m shared.comparison.cost COMMAND... prints both as JSON. A process inherits the largest memory of the one that starts it,
so this small one stands between a program that may have trained networks and the command that is measured.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from shared import provenance, recipes, run_fields, runs
from shared.datasets import Case, load_image
from shared.errors import InputError
from shared.files import fingerprint, read_json, write_json
from shared.lazy import lazily
from shared.scans import volume

with lazily():
    from shared.framework import keras

RSS_BYTES = 1 if sys.platform == "darwin" else 1024  # the unit of `ru_maxrss`
KEPT = "cost.json"


@dataclass(frozen=True)
class Prediction:
    """The cost of predicting with one run.

    Attributes:
        parameters: of all networks that predict.
        seconds: of the whole prediction command for one volume, with the start of the libraries.
        memory_gib: the largest memory of that process.
        case: the volume.
        hardware: where it was measured.
        weights: fingerprint of the run's weights.
    """

    parameters: int
    seconds: float
    memory_gib: float
    case: str
    hardware: str
    weights: str


@dataclass(frozen=True)
class Cost:
    """What a method costs; None: not known."""

    training_s: float | None = None
    prediction: Prediction | None = None


def kept(folder: Path) -> dict[str, Prediction]:
    """Key of a method -> what was measured earlier.

    Raises:
        InputError: a damaged file.
    """
    path = folder / KEPT
    if not path.exists():
        return {}
    content, number = read_json(path), recipes.number(0, 1e12)
    try:
        found = {key: Prediction(**values) for key, values in content.items()}
        numbers = [value for each in found.values() for value in (each.parameters, each.seconds, each.memory_gib)]
        texts = [value for each in found.values() for value in (each.case, each.hardware, each.weights)]
        if not all(map(number.holds, numbers)) or not all(map(run_fields.is_text, texts)):
            raise TypeError
    except (AttributeError, TypeError):
        raise InputError(f"{path}: expected what predictions cost, found something else; remove it to measure again") from None
    return found


def of_run(key: str, folder: Path, kept_in: Path, predict: ModuleType, case: Case | None) -> Cost:
    """What a finished run costs. A prediction is measured once for its weights, and then kept.

    Args:
        key: of the method.
        folder: of the run.
        kept_in: the folder of what is kept.
        predict: module of the paper's prediction command.
        case: the one to predict; None: nothing is measured.

    Raises:
        InputError: a damaged file, or a prediction that fails.
    """
    record, known = runs.read_record(folder, "seconds", "weights"), kept(kept_in)
    training_s = sum(seconds for what, seconds in record["seconds"].items() if what.startswith("train "))
    weights = fingerprint(sorted(record["weights"].items()))
    found = known.get(key)
    if found is not None and found.weights != weights:
        found = None
    if found is None and case is not None:
        print(f"measuring a prediction by {folder}", flush=True)
        seconds, memory_gib = of_one(predict.__name__, folder, case)
        parameters = parameters_of(predict.load(folder))
        found = Prediction(parameters, seconds, memory_gib, case.name, provenance.hardware(), weights)
        write_json(kept_in / KEPT, {name: asdict(each) for name, each in {**known, key: found}.items()})
    return Cost(training_s, found)


def of_one(module: str, folder: Path, case: Case) -> tuple[float, float]:
    """Seconds and largest memory (GiB) of the command that predicts one case by the run in `folder`."""
    with tempfile.TemporaryDirectory() as place:
        scan, labels = Path(place) / f"{case.name}.nii.gz", Path(place) / "labels.nii.gz"
        volume.write(load_image(case), scan)
        return measure([sys.executable, "-m", module, "--weights", str(folder), str(scan), "-o", str(labels)])


def parameters_of(segmenter: Any) -> int:
    """The number of parameters of the networks of a paper's `Segmenter`."""
    return sum(int(part.count_params()) for part in vars(segmenter).values() if isinstance(part, keras.Model))


def measure(command: Sequence[str]) -> tuple[float, float]:
    """Seconds and largest memory (GiB) of a command.

    Raises:
        InputError: the command fails; its last line is the message.
    """
    done = subprocess.run([sys.executable, "-m", "shared.comparison.cost", *command], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise InputError(f"{' '.join(command[1:4])}: {said[-1].removeprefix('error: ')}")
    found = json.loads(done.stdout.splitlines()[-1])
    return found["seconds"], found["memory_gib"]


def usage(command: Sequence[str]) -> dict[str, float]:
    """What a command uses, whose standard output is dropped; ends this process with the command's status where that fails."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(os.waitstatus_to_exitcode(status))
    return {"seconds": round(time.monotonic() - started, 2), "memory_gib": round(used.ru_maxrss * RSS_BYTES / 2**30, 3)}


if __name__ == "__main__":
    if not sys.argv[1:] or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    print(json.dumps(usage(sys.argv[1:])))
