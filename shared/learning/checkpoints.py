"""The network of a run on disk: its best weights, and the checkpoint from which training continues."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import InputError
from shared.files import written_whole
from shared.framework import keras, ops
from shared.recipes import number, whole
from shared.runs import BEST, CHECKPOINT

AGAIN = "remove the run folder to start again"


def save(folder: Path, model: keras.Model, optimizer: keras.Optimizer, state: dict[str, Any]) -> None:
    """Write all `variables` and `state`, which is JSON, into one file."""
    arrays = {f"{i:04d}": ops.convert_to_numpy(variable) for i, variable in enumerate(variables(model, optimizer))}
    with written_whole(folder / CHECKPOINT) as temporary, open(temporary, "wb") as file:
        np.savez(file, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **arrays)


def restore(folder: Path, model: keras.Model, optimizer: keras.Optimizer) -> dict[str, Any] | None:
    """Fill model and optimiser from the checkpoint in `folder` and return its state; None if there is no checkpoint.

    Raises:
        InputError: the checkpoint is damaged, or belongs to another network.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    wanted = variables(model, optimizer)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            state = json.loads(content["state"].tobytes())
            arrays = [content[f"{i:04d}"] for i in range(len(wanted))]
            complete = len(content.files) == len(wanted) + 1
    except Exception as error:  # NumPy and zipfile raise many kinds
        raise InputError(f"{path}: not a checkpoint of this network ({reason(error)}); {AGAIN}") from error
    pairs = list(zip(wanted, arrays, strict=True))
    if not complete or any(array.shape != tuple(variable.shape) for variable, array in pairs):
        raise InputError(f"{path}: checkpoint of another network; {AGAIN}")
    if not is_state(state) or not all(usable(array, variable) for variable, array in pairs):
        raise InputError(f"{path}: damaged, it holds values that no training writes; {AGAIN}")
    for variable, array in pairs:
        variable.assign(array)
    return state


def is_state(state: Any) -> bool:
    """Whether `state` is what `training.fit` saves."""
    count, rows = whole(0, 10**12), state.get("history") if isinstance(state, dict) else None
    return (
        isinstance(rows, list)
        and all(isinstance(row, dict) and row.keys() == rows[0].keys() and all(map(is_number, row.values())) for row in rows)
        and all(count.holds(state.get(field)) for field in ("step", "best_step", "validations_since", "loss_steps"))
        and is_number(state.get("loss_sum"))
        and state["best_step"] <= state["step"]
        and number(0, 1e12).holds(state.get("seconds"))
        and (state.get("best_score") is None or is_number(state["best_score"]))
    )


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def usable(array: np.ndarray, variable: keras.Variable) -> bool:
    """Whether `array` has the type of the variable and is finite."""
    return array.dtype.name == keras.backend.standardize_dtype(variable.dtype) and bool(np.isfinite(array).all())


def copy_of(model: keras.Model, optimizer: keras.Optimizer) -> list[np.ndarray]:
    """The values of all `variables`, for `save_best`."""
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables(model, optimizer)]


def save_best(folder: Path, model: keras.Model, optimizer: keras.Optimizer, values: Sequence[np.ndarray]) -> None:
    """Write `values`, which `copy_of` took earlier, as weights (Keras adds the optimiser's); no variable changes."""
    now = copy_of(model, optimizer)
    assign(model, optimizer, values)
    with written_whole(folder / BEST) as temporary:
        model.save_weights(temporary)
    assign(model, optimizer, now)


def assign(model: keras.Model, optimizer: keras.Optimizer, values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(variables(model, optimizer), values, strict=True):
        variable.assign(value)


def load_weights(model: keras.Model, path: Path) -> None:
    """Fill `model` from a weights file of Keras (see `runs.weights_of`).

    Raises:
        InputError: the file does not fit the model in every layer, or its numbers are not finite.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Skipping")  # else Keras leaves out layers that it cannot fill
            model.load_weights(path)
    except Exception as error:  # Keras and h5py raise many kinds
        raise InputError(f"{path}: broken, or not weights of the network {model.name} of this run ({reason(error)})") from error
    bad = [variable.path for variable in model.weights if not np.isfinite(ops.convert_to_numpy(variable)).all()]
    if bad:
        raise InputError(f"{path}: {len(bad)} tensors hold NaN or infinite values, first {bad[0]}; train again")


def reason(error: Exception) -> str:
    """The beginning of the message of another library's exception."""
    return next((line.strip()[:100] for line in str(error).splitlines() if line.strip()), type(error).__name__)


def variables(model: keras.Model, optimizer: keras.Optimizer) -> list[keras.Variable]:
    """Everything that the further course of training depends on: the model's variables, its running loss, and the optimiser's.

    The running losses of single outputs, which Keras makes at the first step, do not count.
    """
    metrics = {id(variable) for variable in model.metrics_variables}
    own = [variable for variable in model.variables if id(variable) not in metrics]
    running = [variable for metric in model.metrics[:1] for variable in metric.variables]
    return own + running + list(optimizer.variables)
