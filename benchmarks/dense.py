"""The network of Penso 2020 at full width, against the same network in plain Keras without our pipeline."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.timing import report
from dense_unet import predict as prediction
from dense_unet import train as training_command
from dense_unet.recipe import DENSE
from shared.datasets import Case
from shared.lazy import lazily
from shared.learning import inference

with lazily():
    from dense_unet import augmentation, losses
    from shared import framework
    from shared.framework import keras, ops
    from shared.learning import arithmetic
    from tests.dense_unet import plain_keras

SHARES = (930, 30, 25, 20)  # of background, LV, RV, Myo, as they are in short-axis images
BATCH = 2


def dense_unet(cases: Sequence[Case], folder: Path, rounds: int) -> None:
    """One training step of batch 2 with its augmentation, and ten slices."""
    rng = np.random.default_rng(0)
    images = rng.random((10, 176, 176, 1)).astype(np.float32)
    labels = rng.integers(0, 4, (10, 176, 176)).astype(np.uint8)
    twin = plain_keras.unet()
    weights = np.array(losses.class_weights(DENSE.class_weights, SHARES))[labels]
    twin.compile(keras.optimizers.Adam(DENSE.learning_rate), keras.losses.SparseCategoricalCrossentropy(), jit_compile=False)
    rivals: dict[str, tuple[Callable, Callable]] = {
        "plain Keras": (
            partial(twin.train_on_batch, images[:BATCH], labels[:BATCH], weights[:BATCH]),
            partial(twin.predict, images, batch_size=10, verbose=0),
        )
    }
    draws = [augmentation.draw(np.random.default_rng(i), DENSE) for i in range(BATCH)]
    drawn = {name: ops.convert_to_tensor(np.stack([draw[name] for draw in draws])) for name in draws[0]}
    augment = framework.compiled(augmentation.apply)
    for precision in ("float32", "auto"):
        with arithmetic.building_in(precision) as name:
            model = prediction.network(DENSE)
        model.compile(training_command.optimizer(DENSE, 1), losses.of(DENSE, SHARES), jit_compile=False)

        def step(model: "keras.Model" = model) -> None:
            model.train_on_batch(*augment(images[:BATCH], labels[:BATCH], drawn))

        rivals[f"ours, {name}"] = step, partial(inference.probabilities, model, images, 10)
    report(f"dense_unet, training step, batch {BATCH}", {name: run for name, (run, _) in rivals.items()}, rounds)
    report("dense_unet, ten slices", {name: run for name, (_, run) in rivals.items()}, rounds)
