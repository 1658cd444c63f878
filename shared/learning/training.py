"""One training loop for all papers: byte-equal reruns, and exact resumption after a kill at any moment.

A run folder's checkpoint holds every variable of the model and the optimiser, the step, and the history so far. It is replaced
whole every `CHECKPOINT_S` seconds, on Ctrl-C and at the end, with the best weights and the history up to there; whatever happened
after it is forgotten and computed again, from the same batches.
"""

import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shared.errors import InputError
from shared.files import write_csv
from shared.framework import keras, ops
from shared.learning import checkpoints
from shared.learning.batches import stream
from shared.progress import Progress, clear_line, duration
from shared.runs import HISTORY

CHECKPOINT_S = 300.0  # between two checkpoints; at each validation they would add up to terabytes


def fit(model, batches, *, steps, loss, optimizer, validate, validate_every, monitor, folder, augment=None, patience=None):
    """Train `model` until global step `steps` and leave the best weights in `folder`; go on from its checkpoint if it has one.

    Args:
        model: `keras.Model` that ends in logits.
        batches: `batches.Batches`.
        steps: batches in all.
        loss, optimizer: of Keras; a learning-rate schedule belongs to the optimiser.
        validate: `validate(model) -> dict` of numbers.
        validate_every: steps between validations (the last step validates too).
        monitor: the number of `validate` that selects the weights that are kept, higher is better; None keeps the last ones.
        folder: run folder; receives best.weights.h5, checkpoint.npz, history.csv and TensorBoard's files.
        augment: `augment(inputs, targets, parameters)` for batches of three parts.
        patience: validations in a row without a new best after which training stops; None: never.

    Returns:
        {"steps", "best_step", "best_score", "seconds"}: the last step done; the step of the weights kept, and its score (the step
        again where nothing is monitored); the seconds of all sessions added up.

    Raises:
        InputError: a checkpoint of another network, a loss that is not finite, or a patience below 1.
        KeyboardInterrupt: Ctrl-C, after the step or validation that it came in and its checkpoint.
    """
    if patience is not None and patience < 1:
        raise InputError(f"patience {patience}: expected at least 1 validation, or none at all")
    folder = Path(folder)
    optimizer.name = "optimizer"  # weights files hold its name, and Keras numbers those of one process
    model.compile(optimizer, loss, jit_compile="auto" if keras.backend.backend() == "jax" else False)
    optimizer.build(model.trainable_variables)
    model.reset_metrics()
    # the loss is added up from validation to validation, since Keras forgets it after each batch
    fresh = {"step": 0, "best_step": 0, "best_score": None, "validations_since": 0, "loss_sum": 0.0, "loss_steps": 0,
             "seconds": 0.0, "history": []}  # fmt: skip
    state = checkpoints.restore(folder, model, optimizer) or fresh
    if state["step"]:
        print(f"going on from step {state['step']} of {steps}", flush=True)
    if state["history"]:
        write_csv(folder / HISTORY, state["history"])  # the checkpoint's counts, whatever became of the file
    progress = Progress("step", steps, done=state["step"])
    write_scalars = tensorboard(folder / "tensorboard")
    start, earlier_s = time.monotonic(), state["seconds"]
    saved, saved_step, best = start, state["step"], None

    def seconds():
        return earlier_s + time.monotonic() - start

    def validated(step):
        """Add a row to the history, and whether its weights are the best so far."""
        mean_loss = state["loss_sum"] / state["loss_steps"]
        rate = float(ops.convert_to_numpy(optimizer.learning_rate))
        row = {"step": step, "epoch": step // len(batches), "learning_rate": rate, "loss": mean_loss, **validate(model)}
        state["loss_sum"], state["loss_steps"] = 0.0, 0
        state["validations_since"] += 1
        state["history"].append(row)
        score = step if monitor is None else row[monitor]
        better = state["best_score"] is None or score > state["best_score"]
        if better:
            state["best_step"], state["best_score"], state["validations_since"] = step, score, 0
        write_scalars(row)
        numbers = "  ".join(f"{key} {value:.4f}" for key, value in row.items() if key not in ("step", "epoch", "learning_rate"))
        suffix = f"best {state['best_score']:.4f} at {state['best_step']}  " if monitor else ""
        clear_line()
        print(f"step {step}/{steps}  {numbers}  {suffix}{duration(seconds())} so far", flush=True)
        return better

    def save():
        state["seconds"] = seconds()
        if best is not None:
            checkpoints.save_best(folder, model, optimizer, best)
        if state["history"]:
            write_csv(folder / HISTORY, state["history"])
        checkpoints.save(folder, model, optimizer, state)  # last: after it nothing is written again

    with contextlib.closing(stream(batches, state["step"], steps)) as coming, noted_interrupts() as interrupted:
        for step in range(state["step"] + 1, steps + 1):
            if patience is not None and state["validations_since"] >= patience:
                clear_line()
                print(f"stopped at step {state['step']}: no new best in {state['validations_since']} validations", flush=True)
                break
            inputs, targets, *parameters = next(coming)
            if parameters:
                inputs, targets = augment(inputs, targets, *parameters)
            batch_loss = float(model.train_on_batch(inputs, targets))
            progress.step(f"loss {batch_loss:.4f}")
            if not np.isfinite(batch_loss):
                raise InputError(f"training diverged: the loss is {batch_loss} at step {step}; try a smaller learning rate")
            state["loss_sum"] += batch_loss
            state["loss_steps"] += 1
            if (step % validate_every == 0 or step == steps) and validated(step):
                best = checkpoints.copy_of(model, optimizer)
            state["step"] = step
            if interrupted.is_set() or time.monotonic() - saved >= CHECKPOINT_S:
                save()
                saved, saved_step, best = time.monotonic(), step, None
            if interrupted.is_set():
                raise KeyboardInterrupt
        if state["step"] > saved_step:
            save()
    return {"steps": state["step"]} | {key: state[key] for key in ("best_step", "best_score", "seconds")}


@contextlib.contextmanager
def noted_interrupts():
    """Within the block Ctrl-C is noted in the event that is yielded, not raised: it could land in the framework's own code.

    A second one is raised: who presses twice does not want to wait for the end of a long validation.
    """
    noted = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    ignored = before is signal.SIG_IGN  # as in the background of a script
    if ignored or threading.current_thread() is not threading.main_thread():  # signals are the main thread's alone
        yield noted
        return

    def note(*_):
        noted.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


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


def trained(build: Callable[[], keras.Model], precision_name: str, weights: Path) -> keras.Model:
    """The network that `build` gives, in the precision of a recipe, with the weights of a file.

    Raises:
        InputError: a file that does not fit the network.
    """
    with precision(precision_name):
        model = build()
    checkpoints.load_weights(model, weights)
    return model


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
