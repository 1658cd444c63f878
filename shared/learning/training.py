"""One training loop for all papers: byte-equal reruns, and exact resumption after a kill at any moment.

A run folder's checkpoint holds every variable of the model and the optimiser, the step, and the history so far. It is replaced
whole every `CHECKPOINT_S` seconds, on Ctrl-C and at the end, with the best weights and the history up to there. What was computed
after it is lost when a run is killed, and is computed again from the same batches.
"""

import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import InputError
from shared.files import write_csv
from shared.framework import compiled, keras, ops
from shared.learning import checkpoints
from shared.learning.arithmetic import building_in
from shared.learning.batches import Batches, stream
from shared.learning.devices import Devices
from shared.learning.nested import Nested
from shared.progress import Progress, clear_line, duration
from shared.runs import HISTORY

CHECKPOINT_S = 300.0  # between two checkpoints; at each validation they would add up to terabytes
LONG_S, STEPS_TIMED = 24 * 3600.0, 2  # a training longer than this is announced after so many steps, besides the first


def fit(
    model: keras.Model,
    batches: Batches,
    *,
    steps: int,
    loss: keras.losses.Loss,
    optimizer: keras.optimizers.Optimizer,
    validate: Callable[[keras.Model], dict[str, float]],
    validate_every: int,
    monitor: str | None,
    folder: Path,
    augment: Callable[..., tuple[Any, Any]] | None = None,
    patience: int | None = None,
    spread: Devices | None = None,
) -> dict[str, Any]:
    """Train `model` until global step `steps` and leave the best weights in `folder`; go on from its checkpoint if it has one.

    Args:
        model: ends in logits.
        batches: `batches.Batches`.
        steps: number of batches in all.
        loss, optimizer: of Keras; a learning-rate schedule belongs to the optimiser.
        validate: `validate(model) -> dict` of numbers.
        validate_every: steps between validations (the last step validates too).
        monitor: the number of `validate` that selects the weights that are kept, higher is better; None keeps the last ones.
        folder: run folder; receives best.weights.h5, checkpoint.npz, history.csv and TensorBoard's files.
        augment: `augment(inputs, targets, parameters)` for batches of three parts.
        patience: validations in a row without a new best after which training stops; None: never.
        spread: devices in whose `scope` the model and the optimiser were made; None: one.

    Returns:
        {"steps", "best_step", "best_score", "seconds"}: the last step done; the step of the weights kept, and its score (the step
        again where nothing is monitored); the seconds of training, all starts of the run added up.

    Raises:
        InputError: a checkpoint of another network, a loss that is not finite, a patience below 1, or a batch that cannot be
            split over the devices.
        KeyboardInterrupt: Ctrl-C, after the step or validation that it came in and its checkpoint.
    """
    if patience is not None and patience < 1:
        raise InputError(f"patience {patience}: expected at least 1 validation, or none at all")
    optimizer.name = "optimizer"  # weights files hold its name, and Keras numbers those of one process
    spread = spread or Devices()
    spread.compiled(model, optimizer, loss)
    augment = augment and compiled(augment)
    optimizer.build(model.trainable_variables)
    model.reset_metrics()
    loop = Loop(model, optimizer, steps, len(batches), validate, monitor, Path(folder))
    with contextlib.closing(stream(batches, loop.state["step"], steps)) as coming, noted_interrupts() as interrupted:
        for step in range(loop.state["step"] + 1, steps + 1):
            if patience is not None and loop.state["validations_since"] >= patience:
                loop.say_stopped()
                break
            inputs, targets, *parameters = next(coming)
            if parameters and augment:
                inputs, targets = augment(inputs, targets, *parameters)
            spread.check(inputs)
            loop.learn(step, inputs, targets)
            if step % validate_every == 0 or step == steps:
                with spread.alone():
                    loop.look(step)
            loop.state["step"] = step
            if interrupted.is_set() or loop.checkpoint_is_due():
                loop.save()
            if interrupted.is_set():
                raise KeyboardInterrupt
        if loop.state["step"] > loop.saved_step:
            loop.save()
    return {"steps": loop.state["step"]} | {key: loop.state[key] for key in ("best_step", "best_score", "seconds")}


class Loop:
    """What a training loop keeps: its state, which checkpoints hold, and the best weights since the last checkpoint."""

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        steps: int,
        steps_per_epoch: int,
        validate: Callable[[keras.Model], dict[str, float]],
        monitor: str | None,
        folder: Path,
    ) -> None:
        """Take up the training whose checkpoint is in `folder`, or begin a new one."""
        self.model, self.optimizer, self.validate, self.monitor, self.folder = model, optimizer, validate, monitor, folder
        self.steps, self.steps_per_epoch = steps, steps_per_epoch
        # the loss is added up from validation to validation, since Keras forgets it after each batch
        self.state: dict[str, Any] = checkpoints.restore(folder, model, optimizer) or {
            "step": 0, "best_step": 0, "best_score": None, "validations_since": 0, "loss_sum": 0.0, "loss_steps": 0,
            "seconds": 0.0, "history": [],
        }  # fmt: skip
        if self.state["step"]:
            print(f"going on from step {self.state['step']} of {steps}", flush=True)
        if self.state["history"]:
            write_csv(folder / HISTORY, self.state["history"])  # the checkpoint's history is the valid one
        self.progress = Progress("step", steps, done=self.state["step"])
        self.write_scalars = tensorboard(folder / "tensorboard")
        self.start = self.saved = time.monotonic()
        self.earlier_s, self.saved_step = self.state["seconds"], self.state["step"]
        self.best: list[np.ndarray] | None = None

    def seconds(self) -> float:
        """Seconds of training so far, all starts of the run added up."""
        return self.earlier_s + time.monotonic() - self.start

    def learn(self, step: int, inputs: Nested, targets: Nested) -> None:
        """One training step.

        Raises:
            InputError: the loss is not finite.
        """
        loss = float(np.ravel(self.model.train_on_batch(inputs, targets))[0])  # of several outputs, their sum comes first
        self.progress.step(f"loss {loss:.4f}")
        if self.progress.done == self.progress.first + STEPS_TIMED and self.progress.left_s() > LONG_S:
            clear_line()
            print(f"about {duration(self.progress.left_s())} here, at the speed of the first steps", flush=True)
        if not np.isfinite(loss):
            raise InputError(f"training diverged: the loss is {loss} at step {step}; try a smaller learning rate")
        self.state["loss_sum"] += loss
        self.state["loss_steps"] += 1

    def look(self, step: int) -> None:
        """Validate: add a row to the history, and keep a copy of the weights if they are the best so far."""
        state, rate = self.state, float(ops.convert_to_numpy(self.optimizer.learning_rate))
        row = {"step": step, "epoch": step // self.steps_per_epoch, "learning_rate": rate,
               "loss": state["loss_sum"] / state["loss_steps"], **self.validate(self.model)}  # fmt: skip
        state["loss_sum"], state["loss_steps"] = 0.0, 0
        state["validations_since"] += 1
        state["history"].append(row)
        score = step if self.monitor is None else row[self.monitor]
        if state["best_score"] is None or score > state["best_score"]:
            state["best_step"], state["best_score"], state["validations_since"] = step, score, 0
            self.best = checkpoints.copy_of(self.model, self.optimizer)
        self.write_scalars(row)
        numbers = "  ".join(f"{key} {value:.4f}" for key, value in row.items() if key not in ("step", "epoch", "learning_rate"))
        suffix = f"best {state['best_score']:.4f} at {state['best_step']}  " if self.monitor else ""
        clear_line()
        print(f"step {step}/{self.steps}  {numbers}  {suffix}{duration(self.seconds())} so far", flush=True)

    def checkpoint_is_due(self) -> bool:
        return time.monotonic() - self.saved >= CHECKPOINT_S

    def save(self) -> None:
        """Write the best weights, the history and the checkpoint, which comes last: after it nothing is written again."""
        self.state["seconds"] = self.seconds()
        if self.best is not None:
            checkpoints.save_best(self.folder, self.model, self.optimizer, self.best)
        if self.state["history"]:
            write_csv(self.folder / HISTORY, self.state["history"])
        checkpoints.save(self.folder, self.model, self.optimizer, self.state)
        self.saved, self.saved_step, self.best = time.monotonic(), self.state["step"], None

    def say_stopped(self) -> None:
        clear_line()
        since = f"no new best in {self.state['validations_since']} validations"
        print(f"stopped at step {self.state['step']}: {since}", flush=True)


@contextlib.contextmanager
def noted_interrupts() -> Iterator[threading.Event]:
    """Within the block Ctrl-C is noted in the event that is yielded, not raised: it could land in the framework's own code.

    A second Ctrl-C is raised: a user who presses it twice does not want to wait for the end of a long validation.
    """
    noted = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    ignored = before is signal.SIG_IGN  # as in the background of a script
    if ignored or threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        yield noted
        return

    def note(*_: object) -> None:
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
    the last step. The rate is constant if the two are equal."""

    steps: int
    rate: float
    final_rate: float
    warmup_rate: float
    warmup_steps: int

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        done = ops.minimum(step / self.steps, 1)
        rate = self.final_rate + (self.rate - self.final_rate) * (1 + ops.cos(np.pi * done)) / 2
        return ops.where(step < self.warmup_steps, self.warmup_rate, rate)

    def get_config(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def seed_everything(seed: int, deterministic: bool = True) -> None:
    """Seed Python, numpy and the backend, and make TensorFlow's operations deterministic unless told not to."""
    keras.utils.set_random_seed(seed)
    if deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def trained(build: Callable[[], keras.Model], precision_name: str, weights: Path) -> keras.Model:
    """The network that `build` gives, in the precision of a recipe, with the weights of a file.

    Raises:
        InputError: a file that does not fit the network.
    """
    with building_in(precision_name):
        model = build()
    checkpoints.load_weights(model, weights)
    return model


def tensorboard(folder: Path) -> Callable[[dict[str, float]], None]:
    """A function that writes a history row's numbers for TensorBoard. It does nothing unless the backend is TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        return lambda row: None
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(folder))

    def write(row: dict[str, float]) -> None:
        with writer.as_default(step=row["step"]):
            for name, value in row.items():
                tf.summary.scalar(name, value)
        writer.flush()

    return write
