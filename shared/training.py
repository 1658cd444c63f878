"""One training loop for all papers: byte-equal reruns, and exact resumption after a kill at any moment.

A run folder's checkpoint holds every variable of the model and the optimiser, the step, and the history so far. It is replaced
whole after each validation; whatever happened after it is forgotten and computed again, from the same batches.
"""

import contextlib
import dataclasses
import json
import time
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np

from shared import pipeline
from shared.errors import InputError
from shared.files import write_csv, written_whole
from shared.framework import keras, ops
from shared.progress import Progress, duration
from shared.ranges import number, whole
from shared.runs import BEST, CHECKPOINT, HISTORY


def fit(model, batches, *, steps, loss, optimizer, validate, validate_every, monitor, folder, augment=None, patience=None):
    """Train `model` until global step `steps` and leave the best weights in `folder`; go on from its checkpoint if it has one.

    Args:
        model: `keras.Model` that ends in logits.
        batches: `pipeline.Batches`.
        steps: batches in all.
        loss, optimizer: of Keras; a learning-rate schedule belongs to the optimiser.
        validate: `validate(model) -> dict` of numbers.
        validate_every: steps between validations (the last step validates too).
        monitor: the number of `validate` that selects the weights that are kept, higher is better; None keeps the last ones.
        folder: run folder; receives best.weights.h5, checkpoint.npz, history.csv and TensorBoard's files.
        augment: `augment(images, labels, parameters)` for batches of three parts.
        patience: validations in a row without a new best after which training stops; None: never.

    Returns:
        {"steps", "best_step", "best_score", "seconds"}: the last step done; the step of the weights kept, and its score (the step
        again where nothing is monitored); the seconds of all sessions added up.

    Raises:
        InputError: a checkpoint of another network, a loss that is not finite, or a patience below 1.
    """
    if patience is not None and patience < 1:
        raise InputError(f"patience {patience}: expected at least 1 validation, or none at all")
    folder = Path(folder)
    optimizer.name = "optimizer"  # weights files hold its name, and Keras numbers those of one process
    model.compile(optimizer, loss, jit_compile="auto" if keras.backend.backend() == "jax" else False)
    optimizer.build(model.trainable_variables)
    fresh = {"step": 0, "best_step": 0, "best_score": None, "validations_since": 0, "seconds": 0.0, "history": []}
    state = fresh | (restore(model, optimizer, folder / CHECKPOINT) or {})
    if state["step"]:
        print(f"going on from step {state['step']} of {steps}", flush=True)
    progress = Progress("step", steps, done=state["step"])
    write_scalars = tensorboard(folder / "tensorboard")
    start, earlier_s = time.monotonic(), state["seconds"]
    model.reset_metrics()
    for step, (images, labels, *parameters) in enumerate(pipeline.stream(batches, state["step"], steps), start=state["step"] + 1):
        if patience is not None and state["validations_since"] >= patience:
            print(f"stopped at step {state['step']}: no new best in {state['validations_since']} validations", flush=True)
            break
        if parameters:
            images, labels = augment(images, labels, *parameters)
        mean_loss = float(model.train_on_batch(images, labels))
        progress.step(f"loss {mean_loss:.4f}")
        if not np.isfinite(mean_loss):
            raise InputError(f"training diverged: the loss is {mean_loss} at step {step}; try a smaller learning rate")
        if step % validate_every and step < steps:
            continue
        rate = float(ops.convert_to_numpy(optimizer.learning_rate))
        row = {"step": step, "epoch": step // len(batches), "learning_rate": rate, "loss": mean_loss, **validate(model)}
        model.reset_metrics()
        state["step"] = step
        state["validations_since"] += 1
        state["history"].append(row)
        state["seconds"] = earlier_s + time.monotonic() - start
        score = step if monitor is None else row[monitor]
        if state["best_score"] is None or score > state["best_score"]:
            state["best_step"], state["best_score"], state["validations_since"] = step, score, 0
            with written_whole(folder / BEST) as temporary:
                model.save_weights(temporary)
        save(model, optimizer, state, folder / CHECKPOINT)
        write_csv(folder / HISTORY, state["history"])
        write_scalars(row)
        numbers = "  ".join(f"{key} {value:.4f}" for key, value in row.items() if key not in ("step", "epoch", "learning_rate"))
        best = f"best {state['best_score']:.4f} at {state['best_step']}  " if monitor else ""
        print(f"step {step}/{steps}  {numbers}  {best}{duration(state['seconds'])} so far", flush=True)
    return {"steps": state["step"]} | {key: state[key] for key in ("best_step", "best_score", "seconds")}


@dataclasses.dataclass(frozen=True, eq=False)
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """`warmup_rate` for the first `warmup_steps`, then half a cosine over all `steps`, from `rate` at step 0 to `final_rate` at
    the last: constant where they are equal."""

    steps: int
    rate: float
    final_rate: float
    warmup_rate: float
    warmup_steps: int

    def __call__(self, step):
        step = ops.cast(step, "float32")
        done = ops.minimum(step / self.steps, 1)
        rate = self.final_rate + (self.rate - self.final_rate) * (1 + ops.cos(np.pi * done)) / 2
        return ops.where(step < self.warmup_steps, self.warmup_rate, rate)

    def get_config(self):
        return dataclasses.asdict(self)


def seed_everything(seed):
    """Seed Python, numpy and the backend, and make TensorFlow's operations deterministic."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


@contextlib.contextmanager
def precision(name):
    """Build layers that compute in `name`: "float32", "bfloat16" (variables stay float32), or "auto", which takes bfloat16
    where the machine computes in it. Yields the name taken."""
    if name not in ("float32", "bfloat16", "auto"):
        raise InputError(f"precision {name!r}: expected float32, bfloat16 or auto")
    if name == "auto":
        name = "bfloat16" if has_bfloat16() else "float32"
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if name == "bfloat16" else "float32")
    try:
        yield name
    finally:
        keras.config.set_dtype_policy(before)


def has_bfloat16():
    """Whether the accelerator, or else the processor, multiplies bfloat16 matrices in hardware."""
    if keras.backend.backend() == "jax":
        import jax

        if jax.default_backend() != "cpu":
            return True
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            return tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0)) >= (8, 0)
    with contextlib.suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        return keras.backend.backend() == "tensorflow" and ("avx512_bf16" in flags or "amx_bf16" in flags)
    return False


def save(model, optimizer, state, path):
    """Write every variable and `state` (JSON) into one .npz file."""
    arrays = {f"{i:04d}": ops.convert_to_numpy(variable) for i, variable in enumerate(variables(model, optimizer))}
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **arrays)


def restore(model, optimizer, path):
    """Fill model and optimiser from a checkpoint and return its state; None where there is no checkpoint.

    Raises:
        InputError: it cannot be read, or belongs to another network.
    """
    if not path.exists():
        return None
    wanted = variables(model, optimizer)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            state = json.loads(content["state"].tobytes())
            arrays = [content[f"{i:04d}"] for i in range(len(wanted))]
            complete = len(content.files) == len(wanted) + 1
    except (
        OSError,
        LookupError,
        ValueError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RecursionError,
    ) as error:
        raise InputError(f"{path}: not a checkpoint of this network ({error}); remove the run folder to start again") from error
    if not complete or any(array.shape != tuple(variable.shape) for array, variable in zip(arrays, wanted, strict=True)):
        raise InputError(f"{path}: checkpoint of another network; remove the run folder to start again")
    if not is_state(state) or not all(map(usable, arrays, wanted)):
        raise InputError(f"{path}: damaged, it holds values that no training writes; remove the run folder to start again")
    for variable, array in zip(wanted, arrays, strict=True):
        variable.assign(array)
    return state


def is_state(state):
    """Whether `state` is what `fit` saves."""
    count, rows = whole(0, 10**12), state.get("history") if isinstance(state, dict) else None
    return (
        isinstance(rows, list)
        and all(isinstance(row, dict) and row.keys() == rows[0].keys() and all(map(is_number, row.values())) for row in rows)
        and all(count.holds(state.get(field)) for field in ("step", "best_step", "validations_since"))
        and number(0, 1e12).holds(state.get("seconds"))
        and (state.get("best_score") is None or is_number(state["best_score"]))
    )


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def usable(array, variable):
    """Whether `array` has the type of a variable and is finite."""
    return array.dtype.name == keras.backend.standardize_dtype(variable.dtype) and bool(np.isfinite(array).all())


def load_weights(model, path):
    """Fill `model` from a weights file of Keras.

    Raises:
        InputError: no such file, or one that does not fit the model in every layer.
    """
    if not path.is_file():
        raise InputError(f"{path}: missing; the run has not come to its first validation yet")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Skipping")  # Keras leaves layers that it cannot fill as they are
            model.load_weights(path)
    except (OSError, ValueError, KeyError, UserWarning) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path}: broken, or not weights of the network {model.name} of this run ({reason})") from error


def variables(model, optimizer):
    metrics = {id(variable) for variable in model.metrics_variables}
    return [variable for variable in model.variables if id(variable) not in metrics] + list(optimizer.variables)


def tensorboard(folder):
    """A function that writes a history row's numbers for TensorBoard; does nothing under other backends than TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        return lambda row: None
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(folder))

    def write(row):
        with writer.as_default(step=row["step"]):
            for name, value in row.items():
                tf.summary.scalar(name, value)
        writer.flush()

    return write
