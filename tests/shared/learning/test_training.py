"""Training that can be killed anywhere: the end is the same, byte for byte."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from unittest import mock

import keras
import numpy as np
import pytest

from shared import runs
from shared.errors import InputError
from shared.learning import checkpoints, training
from shared.learning.batches import Batches
from shared.learning.examples import Slices
from shared.learning.prepared import store

STEPS, EVERY = 24, 3

# A process that imports everything once and then, for each line it reads, forks a child that trains in the folder named there.
# "write:K" as second word: the child kills itself in the middle of its K-th write.
TRAINER = textwrap.dedent(f"""
    import contextlib, os, signal, sys
    import keras, numpy as np
    from shared import files
    from shared.learning import checkpoints, training
    from shared.learning.batches import Batches
    from shared.learning.examples import Slices

    def fragile(kill_at):
        whole, count = checkpoints.written_whole, [0]
        @contextlib.contextmanager
        def written_whole(path):
            with whole(path) as temporary:
                yield temporary
                count[0] += 1
                if count[0] == kill_at:
                    with open(temporary, "r+b") as file:
                        file.truncate(os.path.getsize(temporary) // 2)
                    os.kill(os.getpid(), signal.SIGKILL)
        return written_whole

    training.CHECKPOINT_S = 0.0  # a checkpoint after every step

    def train(data, folder):
        training.seed_everything(3)
        layers = keras.layers
        model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(4, 3, padding="same", activation="relu"),
                                  layers.BatchNormalization(), layers.Dropout(0.2, seed=5), layers.Conv2D(3, 1)])
        def validate(model):
            return {{"val_dice": float(np.sin(7 * np.sum(model.layers[0].kernel.numpy())))}}
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        training.fit(model, Batches(Slices([data]), 2, seed=1), steps={STEPS}, loss=loss, monitor="val_dice",
                     optimizer=keras.optimizers.Adam(0.01), validate=validate, validate_every={EVERY}, folder=folder)

    for line in sys.stdin:
        data, folder, *kill = line.split()
        pid = os.fork()
        if pid == 0:
            if kill:
                checkpoints.written_whole = fragile(int(kill[0].partition(":")[2]))
            train(data, folder)
            sys.stdout.flush()
            os._exit(0)
        print(f"child {{pid}}", flush=True)
        print(f"ended {{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}}", flush=True)
""")


class Trainer:
    """The process above, and what becomes of its children."""

    def __init__(self, data):
        self.data = data
        self.process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", TRAINER], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip

    def expect(self, word):
        for line in self.process.stdout:
            if line.startswith(word):
                return int(line.split()[1])
        raise AssertionError("the trainer died")

    def run(self, folder, kill_after_s=None, kill_at_write=None):
        """Exit code of one child: 0 when it came to its end, -9 when it was killed."""
        self.process.stdin.write(f"{self.data} {folder}{f' write:{kill_at_write}' if kill_at_write else ''}\n")
        self.process.stdin.flush()
        child = self.expect("child")
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return self.expect("ended")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    rng = np.random.default_rng(0)
    channels = {"image": rng.normal(size=(8, 8, 11)), "label": rng.integers(0, 3, (8, 8, 11))}
    return store(tmp_path_factory.mktemp("stored"), "case", lambda: channels)


@pytest.fixture(scope="module")
def trainer(stored):
    trainer = Trainer(stored)
    yield trainer
    trainer.process.stdin.close()
    trainer.process.wait(10)
    trainer.process.stdout.close()


@pytest.fixture(scope="module")
def unbroken(trainer, tmp_path_factory):
    """A run that was left alone, and how long one takes (a second one: the first waits for the trainer's imports)."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert trainer.run(folder) == 0
    start = time.monotonic()
    assert trainer.run(tmp_path_factory.mktemp("timed")) == 0
    return folder, time.monotonic() - start


def result(folder):
    return {name: (folder / name).read_bytes() for name in (runs.BEST, runs.HISTORY)} | {
        "variables": variables(folder / runs.CHECKPOINT)
    }


def variables(path):
    with np.load(path) as file:
        return {name: file[name].tobytes() for name in file.files if name != "state"}


def test_two_runs_are_byte_equal(trainer, unbroken, tmp_path):
    assert trainer.run(tmp_path) == 0
    assert result(tmp_path) == result(unbroken[0])


def test_killed_at_random_moments_and_resumed_it_ends_the_same(trainer, unbroken, tmp_path):
    folder, took_s = unbroken
    moments = random.Random(1)
    killed = finished = 0
    while killed < 20:
        run = tmp_path / str(finished)
        run.mkdir(exist_ok=True)
        if trainer.run(run, kill_after_s=moments.uniform(0, 1) * took_s) == -signal.SIGKILL:
            killed += 1
        else:
            assert result(run) == result(folder)
            finished += 1
    assert trainer.run(run) == 0
    assert result(run) == result(folder)


@pytest.mark.parametrize("write", [1, 2, 3, 5, 7, 9])
def test_killed_inside_a_write_and_resumed_it_ends_the_same(trainer, unbroken, tmp_path, write):
    assert trainer.run(tmp_path, kill_at_write=write) == -signal.SIGKILL
    assert trainer.run(tmp_path) == 0
    assert result(tmp_path) == result(unbroken[0])


def small_model():
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3, padding="same")])


def fit(stored, folder, model=None, **changes):
    options = {
        "steps": 4,
        "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "optimizer": keras.optimizers.Adam(0.01),
        "validate": lambda model: {"val_dice": 0.5},
        "validate_every": 2,
        "monitor": "val_dice",
        "folder": folder,
    }
    return training.fit(model or small_model(), Batches(Slices([stored]), 2, seed=0), **{**options, **changes})


def test_best_weights_are_those_of_the_highest_score_and_the_first_of_equals(stored, tmp_path):
    scores = iter([0.2, 0.9, 0.9, 0.1])
    kernels = []

    def validate(model):
        kernels.append(keras.ops.convert_to_numpy(model.layers[0].kernel).copy())
        return {"val_dice": next(scores)}

    ended = fit(stored, tmp_path, steps=8, validate=validate)
    assert (ended["best_step"], ended["best_score"]) == (4, 0.9)
    best = small_model()
    best.load_weights(tmp_path / runs.BEST)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(best.layers[0].kernel), kernels[1])
    assert not np.array_equal(kernels[1], kernels[2])


def test_history_has_a_row_per_validation_and_the_mean_loss_since_the_last(stored, tmp_path):
    model = small_model()
    losses = iter([1.0, 2.0, 3.0, 8.0, 5.0])
    model.train_on_batch = lambda *batch: next(losses)
    fit(stored, tmp_path, model=model, steps=5)
    lines = (tmp_path / runs.HISTORY).read_text().splitlines()
    assert lines[0] == "step,epoch,learning_rate,loss,val_dice"
    assert [line.split(",")[0] for line in lines[1:]] == ["2", "4", "5"]  # the last step validates too
    assert [float(line.split(",")[3]) for line in lines[1:]] == [1.5, 5.5, 5.0]


def test_a_finished_run_does_nothing_more(stored, tmp_path):
    fit(stored, tmp_path)
    before = result(tmp_path)
    fit(stored, tmp_path, model=small_model())
    assert result(tmp_path) == before


class Scores:
    """Validates with given scores, one after the other; gives up (as a kill would) where there are none left."""

    def __init__(self, *scores):
        self.scores = list(scores)

    def __call__(self, model):
        if not self.scores:
            raise KeyboardInterrupt
        return {"val_dice": self.scores.pop(0)}


# the best comes at validation 3 (step 6), equals of it and the low ones after it count: two of them at step 10, three at step 12
PATIENT = (0.2, 0.1, 0.5, 0.5, 0.4, 0.3, 0.9, 0.8)


@pytest.mark.parametrize(("patience", "steps", "best"), [(1, 4, 2), (2, 10, 6), (3, 12, 6), (4, 16, 14), (None, 16, 14)])
def test_patience(stored, tmp_path, patience, steps, best):
    ended = fit(stored, tmp_path, steps=16, patience=patience, validate=Scores(*PATIENT))
    assert (ended["steps"], ended["best_step"]) == (steps, best)
    rows = (tmp_path / runs.HISTORY).read_text().splitlines()
    assert [int(row.split(",")[0]) for row in rows[1:]] == list(range(2, steps + 1, 2))


@pytest.mark.parametrize("done", range(7))
def test_patience_goes_on_where_it_was_left(stored, tmp_path, monkeypatch, done):
    """Killed after `done` validations and resumed, a run stops at the same step with the same bytes."""

    def run(folder, scores):
        keras.utils.clear_session()  # layers are named by a count, and best.weights.h5 holds their names
        training.seed_everything(0)
        return fit(stored, folder, steps=16, patience=3, validate=Scores(*scores))

    monkeypatch.setattr(training, "CHECKPOINT_S", 0.0)
    unbroken = run(tmp_path / "unbroken", PATIENT)
    if done < 6:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "killed", PATIENT[:done])
    else:
        run(tmp_path / "killed", PATIENT)
    resumed = run(tmp_path / "killed", PATIENT[done:6])  # a seventh validation would raise
    assert {**resumed, "seconds": 0} == {**unbroken, "seconds": 0}
    assert result(tmp_path / "killed") == result(tmp_path / "unbroken")
    again = run(tmp_path / "killed", [])
    assert again == resumed
    assert result(tmp_path / "killed") == result(tmp_path / "unbroken")


def test_checkpoints_are_written_by_the_clock_and_at_the_end_not_at_each_validation(stored, tmp_path, monkeypatch):
    written = []
    for name in ("save", "save_best"):
        real = getattr(checkpoints, name)
        monkeypatch.setattr(checkpoints, name, lambda *a, name=name, real=real: (written.append(name), real(*a)))
    fit(stored, tmp_path / "rare", steps=12, validate_every=1, validate=Scores(*np.arange(12) / 12))
    assert written == ["save_best", "save"]
    rare, frequent = tmp_path / "rare", tmp_path / "frequent"
    written.clear()
    monkeypatch.setattr(training, "CHECKPOINT_S", 0.0)
    fit(stored, frequent, steps=12, validate_every=3, validate=Scores(0.5, 0.1, 0.9, 0.2))
    assert written.count("save") == 12 and written.count("save_best") == 2  # at the bests alone: steps 3 and 9
    assert len((rare / runs.HISTORY).read_text().splitlines()) == 13


def test_the_best_weights_of_an_earlier_validation_are_written_later(stored, tmp_path, monkeypatch):
    """Their bytes are those that are written at once, and training goes on from where it was."""

    def run(folder, every_s):
        monkeypatch.setattr(training, "CHECKPOINT_S", every_s)
        keras.utils.clear_session()
        training.seed_everything(0)
        fit(stored, folder, steps=8, validate=Scores(0.2, 0.9, 0.3, 0.1))
        return result(folder)

    assert run(tmp_path / "late", 1000.0) == run(tmp_path / "at once", 0.0)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has the choice")
@pytest.mark.parametrize("deterministic", [True, False])
def test_operations_are_deterministic_unless_told_not_to_be(deterministic, monkeypatch):
    import tensorflow as tf

    asked = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: asked.append(True))
    training.seed_everything(0, deterministic)
    assert asked == [True] * deterministic


@pytest.mark.parametrize("moment", ["training", "validating"])
def test_ctrl_c_is_noted_and_nothing_done_is_lost(stored, tmp_path, moment):
    """A signal in the middle of step 5, or of the validation after step 4: what was begun ends, its checkpoint is written, and
    the rest comes out as if nothing had been."""

    def run(folder, interrupted=False):
        keras.utils.clear_session()
        training.seed_everything(0)
        model, calls = small_model(), []
        step = model.train_on_batch

        def train_on_batch(*arguments):
            calls.append(1)
            if interrupted and moment == "training" and len(calls) == 5:
                signal.raise_signal(signal.SIGINT)
            return step(*arguments)

        def validate(model):
            if interrupted and moment == "validating" and len(calls) == 4:
                signal.raise_signal(signal.SIGINT)
            return {"val_dice": 0.5}

        model.train_on_batch = train_on_batch
        return fit(stored, folder, model=model, steps=8, validate=validate)

    run(tmp_path / "unbroken")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "stopped", interrupted=True)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    with np.load(tmp_path / "stopped" / runs.CHECKPOINT) as content:
        assert json.loads(content["state"].tobytes())["step"] == {"training": 5, "validating": 4}[moment]
    run(tmp_path / "stopped")
    assert result(tmp_path / "stopped") == result(tmp_path / "unbroken")


def test_a_second_ctrl_c_does_not_wait():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), training.noted_interrupts() as noted:
            signal.raise_signal(signal.SIGINT)
            assert noted.is_set()
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("patience", [0, -1])
def test_patience_below_one_is_refused(stored, tmp_path, patience):
    with pytest.raises(InputError, match=f"patience {patience}: expected at least 1"):
        fit(stored, tmp_path, patience=patience)


def test_schedule():
    schedule = training.Schedule(1000, 0.01, 0.002, 0.5, 50)
    # 0.002 + 0.008 (1 + cos(pi step / 1000)) / 2: the cosine of 60, 90, 120 and 180 degrees, and nothing beyond the end
    steps, rates = (0, 49, 1000 / 3, 500, 2000 / 3, 1000, 5000), (0.5, 0.5, 0.008, 0.006, 0.004, 0.002, 0.002)
    np.testing.assert_allclose([float(schedule(step)) for step in steps], rates, rtol=1e-5)
    assert float(schedule(50)) == pytest.approx(0.002 + 0.004 * (1 + np.cos(np.pi / 20)), rel=1e-5)


def test_schedule_survives_its_config():
    config = training.Schedule(100, 0.1, 0.01, 0.001, 5).get_config()
    assert config == {"steps": 100, "rate": 0.1, "final_rate": 0.01, "warmup_rate": 0.001, "warmup_steps": 5}
    again = keras.optimizers.Adam(training.Schedule.from_config(config))
    again.iterations.assign(60)
    expected = 0.01 + 0.09 * (1 + np.cos(0.6 * np.pi)) / 2
    assert float(keras.ops.convert_to_numpy(again.learning_rate)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("damage", ["another network", "truncated", "garbage"])
def test_a_checkpoint_that_does_not_fit_is_refused(stored, tmp_path, damage):
    fit(stored, tmp_path)
    path = tmp_path / runs.CHECKPOINT
    model = small_model()
    if damage == "another network":
        model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 5, padding="same")])
    else:
        path.write_bytes(path.read_bytes()[:200] if damage == "truncated" else b"no checkpoint")
    with pytest.raises(InputError, match="remove the run folder") as refused:
        fit(stored, tmp_path, model=model, steps=6)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("damage", ["no array", "encrypted", "no state"])
def test_a_checkpoint_that_is_an_odd_archive_is_refused(stored, tmp_path, damage):
    """NumPy gives bytes for what is no array, and zipfile raises RuntimeError where a password is asked for."""
    fit(stored, tmp_path)
    path = tmp_path / runs.CHECKPOINT
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if damage == "no array":
        members["state.npy"] = b"x" * 100
    elif damage == "no state":
        del members["state.npy"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    if damage == "encrypted":
        content = bytearray(path.read_bytes())
        for place in (content.index(b"PK\3\4") + 6, content.index(b"PK\1\2") + 8):  # the flags of the first member
            content[place] |= 1
        path.write_bytes(content)
    with pytest.raises(InputError, match="not a checkpoint of this network .*; remove the run folder") as refused:
        fit(stored, tmp_path, steps=6)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300 + len(str(tmp_path))


def test_the_history_is_that_of_the_checkpoint(stored, tmp_path):
    """A run that goes on at its last step only scores: it would stumble over a damaged history.csv at its very end."""
    fit(stored, tmp_path)
    history = (tmp_path / runs.HISTORY).read_bytes()
    (tmp_path / runs.HISTORY).write_text("step\n1,2,3\n")
    fit(stored, tmp_path)
    assert (tmp_path / runs.HISTORY).read_bytes() == history


@pytest.mark.parametrize("error", [
    RuntimeError("bad heap free list"), TypeError("no\nreason"), AttributeError(), ValueError("x" * 5000),
])  # fmt: skip
def test_weights_over_which_keras_or_h5py_raise_anything_are_refused(error, tmp_path, monkeypatch):
    model = small_model()
    monkeypatch.setattr(type(model), "load_weights", mock.Mock(side_effect=error))
    with pytest.raises(InputError, match=r"w\.weights\.h5: broken, or not weights of the network") as refused:
        checkpoints.load_weights(model, tmp_path / "w.weights.h5")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300 + len(str(tmp_path))


def change(path, **parts):
    """Replace parts of a checkpoint."""
    with np.load(path) as content:
        parts = {**content, **parts}
    np.savez(path, **parts)


SHAPE = (3, 3, 1, 3)  # of the first variable of `small_model`
GOOD = {
    "step": 4,
    "best_step": 4,
    "best_score": 0.5,
    "validations_since": 0,
    "loss_sum": 0.3,
    "loss_steps": 2,
    "seconds": 1.5,
    "history": [{"step": 4, "loss": 0.1}],
}


@pytest.mark.parametrize("state", [
    [], 3, {}, b"{", b"[" * 100_000, b"\xff", *({**GOOD, field: value} for field, values in {
        "step": [-1, 1.5, "4", None, True, 10**30], "best_step": [-1, "x"], "best_score": ["high", [], True],
        "validations_since": [-1, None], "seconds": [-1, "x", None, float("nan")],
        "history": [None, {}, "x", [3], [{"step": "4"}], [{"step": 1}, {"loss": 1}]],
    }.items() for value in values), {field: value for field, value in GOOD.items() if field != "history"},
])  # fmt: skip
def test_a_checkpoint_with_another_state_is_refused(tmp_path, state):
    model, optimizer = small_model(), keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    path = tmp_path / runs.CHECKPOINT
    checkpoints.save(tmp_path, model, optimizer, GOOD)
    assert checkpoints.restore(tmp_path, model, optimizer) == GOOD
    content = state if isinstance(state, bytes) else json.dumps(state).encode()
    change(path, state=np.frombuffer(content, np.uint8))
    with pytest.raises(InputError, match="checkpoint.npz: .*; remove the run folder to start again") as refused:
        checkpoints.restore(tmp_path, model, optimizer)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("array", [
    np.full(SHAPE, np.nan, np.float32), np.zeros(SHAPE), np.zeros(SHAPE, np.int32), np.zeros(SHAPE, "U3"),
], ids=["NaN", "float64", "int32", "text"])  # fmt: skip
def test_a_checkpoint_with_other_values_is_refused(tmp_path, array):
    model, optimizer = small_model(), keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    path, before = tmp_path / runs.CHECKPOINT, model.get_weights()
    checkpoints.save(tmp_path, model, optimizer, GOOD)
    change(path, **{"0000": array})
    with pytest.raises(InputError, match="damaged, it holds values that no training writes"):
        checkpoints.restore(tmp_path, model, optimizer)
    assert all(map(np.array_equal, before, model.get_weights()))  # nothing was filled


def test_divergence_is_said_in_one_line(stored, tmp_path):
    class Broken(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.mean(y_pred, axis=(1, 2, 3)) * float("nan")

    with pytest.raises(InputError, match="diverged.*step 1"):
        fit(stored, tmp_path, loss=Broken())
    assert not (tmp_path / runs.BEST).exists()


def test_a_training_that_takes_days_says_so_after_its_first_steps(stored, tmp_path, monkeypatch, capsys):
    def fit(folder):
        model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 1)])
        training.fit(model, Batches(Slices([stored]), 2, seed=1), steps=4, loss=keras.losses.SparseCategoricalCrossentropy(True),
                     optimizer=keras.optimizers.Adam(), validate=lambda model: {}, validate_every=4, monitor=None,
                     folder=tmp_path / folder)  # fmt: skip
        return capsys.readouterr().out

    assert "here, at the speed of the first steps" not in fit("short")
    monkeypatch.setattr(training, "LONG_S", 0.0)
    assert fit("long").count("here, at the speed of the first steps") == 1
