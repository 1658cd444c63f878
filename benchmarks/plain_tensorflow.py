"""The networks of Baumgartner 2017 against a twin of the authors' graph in plain TensorFlow operations."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from acdc_segmenter_tf import train as training_command
from acdc_segmenter_tf.recipe import UNET2D_MODIFIED
from benchmarks.timing import report
from shared.datasets import Case
from shared.lazy import lazily
from shared.learning import inference

with lazily():
    from acdc_segmenter_tf import losses
    from acdc_segmenter_tf import model as acdc_networks
    from shared.learning import arithmetic
    from tests.acdc_segmenter_tf import plain_tf

NAME = "unet2D_bn_modified"


def networks(cases: Sequence[Case], folder: Path, rounds: int) -> None:
    """2D U-Net (mod.), 212 x 212: one training step of batch 2, and ten slices."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(10, 212, 212, 1)).astype(np.float32)
    labels = rng.integers(0, 4, (10, 212, 212)).astype(np.uint8)
    step, forward = authors_graph()
    rivals: dict[str, tuple[Callable, Callable]] = {}
    rivals["plain TensorFlow"] = (lambda: step(images[:2], labels[:2]), lambda: [forward(images[i : i + 1]) for i in range(10)])
    for precision in ("float32", "auto"):
        with arithmetic.building_in(precision) as name:
            model = acdc_networks.build("unet2d_modified", (212, 212))
        model.compile(training_command.optimizer(UNET2D_MODIFIED), losses.of(UNET2D_MODIFIED), jit_compile=False)
        rivals[f"ours, {name}"] = (
            partial(model.train_on_batch, images[:2], labels[:2]),
            partial(inference.probabilities, model, images, 10),
        )
    report("training step, batch 2", {name: run for name, (run, _) in rivals.items()}, rounds)
    report("ten slices", {name: run for name, (_, run) in rivals.items()}, rounds)


def authors_graph() -> tuple[Callable[..., np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """A training step and a forward pass of the authors' graph, as functions of numpy arrays."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    weights = {
        name: tf.Variable(
            rng.normal(0, 0.05, shape) if name.endswith("/W") else np.ones(shape),
            dtype=tf.float32,
            trainable="moving" not in name,
        )  # fmt: skip
        for name, shape in plain_tf.shapes(NAME).items()
    }
    trainable = [variable for variable in weights.values() if variable.trainable]
    optimizer = tf.compat.v1.train.AdamOptimizer(0.01)
    class_weights = tf.constant([0.1, 0.3, 0.3, 0.3])

    @tf.function
    def step(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = plain_tf.logits(NAME, weights, images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), logits)
            loss = tf.reduce_mean(losses * tf.gather(class_weights, tf.cast(labels, tf.int32)))
        optimizer.apply_gradients(zip(tape.gradient(loss, trainable), trainable, strict=True))
        return loss

    @tf.function
    def forward(images: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(plain_tf.logits(NAME, weights, images))

    return lambda *batch: step(*batch).numpy(), lambda images: forward(images).numpy()
