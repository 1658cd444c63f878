"""One training on two devices, which are halves of a processor: the same losses and weights as on one, and one goes on where
two stopped."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from shared.errors import InputError
from shared.files import read_csv
from shared.learning import devices
from tests.test_backends import RUNS

BACKENDS = ["tensorflow", pytest.param("jax", marks=pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="no jax"))]
TWO_PROCESSORS = """
import sys
import keras
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    processor, halves = tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(processor, halves)
"""
COMMANDS = """
import importlib, json
for arguments in map(json.loads, sys.argv[2:]):
    importlib.import_module(f"{sys.argv[1]}.train").main(arguments)
"""
# No weight's gradient is 0 but for rounding, which Adam would enlarge to a step.
# Batch norm on 2D and 3D images, a loss that pools the batch, two outputs; validation by batches that cannot be split.
FIT = """
from pathlib import Path
import numpy as np
from keras import layers
from shared.learning import devices, training
from shared.learning.batches import Batches
from shared.learning.layers import BatchNormalization
from dense_unet.losses import PooledDice

class Noise:
    def __len__(self):
        return 12
    def one(self, index, rng):
        noise = np.random.default_rng(index)
        labels = noise.integers(0, 3, (8, 8))
        return (labels[..., None] + noise.normal(size=(8, 8, 1))).astype(np.float32), {"a": labels, "b": labels % 2}

def train(folder, count, steps):
    training.seed_everything(4)
    spread = devices.of(count)
    with spread.scope():
        image = keras.Input((8, 8, 1))
        flat = BatchNormalization(unbiased=True, name="flat")(layers.Conv2D(6, 3, padding="same", use_bias=False)(image))
        deep = BatchNormalization(name="deep")(layers.Reshape((8, 4, 2, 6))(layers.ReLU()(flat)))
        found = layers.Reshape((8, 8, 6))(layers.ReLU()(deep))
        logits = {"a": layers.Conv2D(3, 1, name="a")(found), "b": layers.Conv2D(2, 1, name="b")(found)}
        model = keras.Model(image, logits)
        def validate(model):
            return {"val": float(np.asarray(model.predict_on_batch(np.ones((1, 8, 8, 1), np.float32))["a"])[0].mean())}
        loss = {"a": PooledDice(1.0), "b": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
        training.fit(model, Batches(Noise(), 4, seed=1), steps=steps, loss=loss,
                     optimizer=keras.optimizers.Adam(0.01), validate=validate, validate_every=5, monitor="val",
                     folder=Path(folder), spread=spread)

for folder, count, steps in (("one", 1, 20), ("two", 2, 20), ("both", 2, 10), ("both", "all", 10), ("both", 1, 20)):
    Path(sys.argv[1], folder).mkdir(exist_ok=True)
    train(Path(sys.argv[1], folder), count, steps)
try:
    devices.of(3)
except Exception as error:
    print("refused:", error)
"""


def in_a_process(backend, code, *arguments):
    environment = {**os.environ, "KERAS_BACKEND": backend, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", TWO_PROCESSORS + code, *map(str, arguments)],
                           text=True, capture_output=True, env=environment)  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout


def differences(one, two):
    """The largest difference of a variable, and of a loss or validation score, between two run folders."""
    with np.load(one / "checkpoint.npz") as a, np.load(two / "checkpoint.npz") as b:
        names = [name for name in a.files if name != "state"]
        variables = max(np.abs(a[name].astype(float) - b[name].astype(float)).max(initial=0) for name in names)
    rows = zip(read_csv(one / "history.csv"), read_csv(two / "history.csv"), strict=True)
    return variables, max(abs(a[column] - b[column]) for a, b in rows for column in a)


@pytest.mark.parametrize("backend", BACKENDS)
def test_twenty_steps_on_two_devices_are_those_of_one_and_any_number_goes_on(backend, tmp_path):
    printed = in_a_process(backend, FIT, tmp_path)
    for other in ("two", "both"):
        assert max(differences(tmp_path / "one", tmp_path / other)) < 1e-5, other
    assert "refused: --devices 3" in printed and "finds only 2" in printed and "going on from step 10 of 20" in printed


PAPERS = ("acdc_segmenter_tf", "dense_unet", "dr_unet", "propagation")
QUICK = ("acdc_segmenter_tf", "tensorflow")
EACH = [
    pytest.param(package, backend, marks=() if (package, backend) == QUICK else pytest.mark.slow)
    for package in PAPERS
    for backend in ("tensorflow", "jax")
]


def arguments_of(package, phantom_root):
    experiment, fields, _ = RUNS[package]
    fields = fields | {"precision": "float32"}
    if package == "acdc_segmenter_tf":  # biases before batch norm have gradients of rounding, which Adam enlarges to a step
        fields |= {"learning_rate": 1e-4}
    settings = [text for field, value in fields.items() for text in ("--set", f"{field}={value}")]
    return ["--dataset", "acdc", "--data-root", str(phantom_root), "--preset", "quick", "--experiment", experiment, *settings]


@pytest.mark.parametrize(("package", "backend"), EACH)
def test_a_papers_training_on_two_devices(package, backend, phantom_root, tmp_path):
    places = {count: tmp_path / str(count) for count in (1, 2)}
    given = arguments_of(package, phantom_root)
    commands = [[*given, "--devices", str(count), "--workdir", str(place)] for count, place in places.items()]
    in_a_process(backend, COMMANDS, package, *map(json.dumps, commands))
    one, two = (place / package / f"{RUNS[package][0]}-quick" / "acdc" / "fold0" for place in places.values())
    losses = [[row["loss"] for row in read_csv(folder / "history.csv")] for folder in (one, two)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-3)
    assert (two / "summary.md").exists()


def test_batches_that_cannot_be_split_are_refused():
    pair = devices.Devices()
    pair.count = 2
    pair.check({"image": np.zeros((4, 8)), "more": (np.zeros((2, 3)),)})
    with pytest.raises(InputError, match="--devices 2: a batch of 3 cannot be split evenly over 2 devices; set batch_size"):
        pair.check({"image": np.zeros((3, 8))})


def test_one_processor_is_one_device():
    assert type(devices.of(1)) is type(devices.of("all")) is devices.Devices
    with pytest.raises(InputError, match="--devices 2: tensorflow finds only 1"):
        devices.of(2)
