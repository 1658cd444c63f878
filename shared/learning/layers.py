"""Normalisation by statistics of the batch or of each example, through TensorFlow's fused kernel on that backend."""

import contextlib
from collections.abc import Iterator
from typing import Any

from shared.framework import Tensor, keras, ops
from shared.learning import devices

_plain = False


@keras.saving.register_keras_serializable("shared")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over the last axis, with the same variables and numbers, but a third faster in training.

    Args:
        unbiased: True updates the moving variance with the batch variance times n / (n - 1), like TensorFlow 1's fused layer for
            2D images; False with the plain batch variance, like Keras. Outputs in training use the plain one in both cases.
        **options: of the Keras layer (`momentum`, `epsilon`, `name`, ...).
    """

    def __init__(self, unbiased: bool = False, **options: Any) -> None:
        super().__init__(**options)
        if self.axis != -1 or self.renorm or self.synchronized or not (self.center and self.scale):
            raise ValueError("BatchNormalization: only the plain form over the last axis, with scale and offset")
        self.unbiased = unbiased

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor = None) -> Tensor:
        if not (training and self.trainable):
            statistics = self.moving_mean, self.moving_variance
            return self.normalised(inputs, *statistics)[0]
        outputs, mean, variance = self.normalised(inputs)
        if self.unbiased:
            count = ops.cast(ops.size(inputs), "float32") / inputs.shape[-1] * devices.sharing()
            variance = variance * (count / ops.maximum(count - 1, 1))
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return outputs

    def normalised(self, inputs: Tensor, mean: Tensor = None, variance: Tensor = None) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs normalised by the given statistics or the batch's own, and these statistics (variance not times n / (n - 1))."""
        if keras.backend.backend() == "tensorflow" and (mean is not None or devices.sharing() == 1):
            return self.normalised_fused(inputs, mean, variance)
        values = ops.cast(inputs, "float32")
        if mean is None:
            mean, variance = devices.moments(values, tuple(range(len(inputs.shape) - 1)))
        outputs = ops.batch_normalization(values, mean, variance, -1, self.beta, self.gamma, self.epsilon)
        return ops.cast(outputs, self.compute_dtype), mean, variance

    def normalised_fused(self, inputs: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        import tensorflow as tf

        shape = ops.shape(inputs)
        if len(shape) != 4:  # the kernel knows images only; statistics do not care how the voxels are arranged
            inputs = ops.reshape(inputs, (shape[0], shape[1], -1, shape[-1]) if len(shape) > 3 else (shape[0], 1, -1, shape[-1]))
        from_batch = mean is None
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            fast(inputs, inputs.shape[-1]), self.gamma, self.beta, mean, variance, epsilon=self.epsilon, is_training=from_batch
        )
        if from_batch:  # the kernel returns the variance times n / (n - 1)
            count = ops.cast(ops.size(inputs), "float32") / inputs.shape[-1]
            variance = variance * ((count - 1) / count)
        return ops.reshape(ops.cast(outputs, self.compute_dtype), shape), mean, variance

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "unbiased": self.unbiased}


def fast(values: Tensor, channels: int) -> Tensor:
    """In float32 where the channels are no multiple of 16: for them TensorFlow's kernel takes ten times as long in bfloat16, on
    processors (8 channels of 786,432 voxels, both directions: 149 ms, and 15 ms with the cast)."""
    return ops.cast(values, "float32") if channels % 16 else values


@contextlib.contextmanager
def plain_operations() -> Iterator[None]:
    """In the block, `InstanceNormalization` uses no kernel of a backend's own, which other runtimes rebuild less exactly."""
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before


@keras.saving.register_keras_serializable("shared")
class InstanceNormalization(keras.layers.Layer):
    """Every channel of every example by its own mean and variance over the voxels, then scale and offset.

    It does the same in training and prediction, and does not depend on the rest of the batch.
    """

    def __init__(self, epsilon: float = 1e-3, **options: Any) -> None:
        super().__init__(**options)
        self.epsilon = epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.gamma = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="beta")

    def call(self, inputs: Tensor) -> Tensor:
        if keras.backend.backend() == "tensorflow" and not _plain:
            return self.normalised_fused(inputs)
        values = ops.cast(inputs, "float32")
        mean, variance = ops.moments(values, axes=tuple(range(1, len(inputs.shape) - 1)), keepdims=True)
        scale = ops.rsqrt(variance + self.epsilon) * ops.cast(self.gamma, "float32")
        outputs = (values - mean) * scale + ops.cast(self.beta, "float32")
        return ops.cast(outputs, self.compute_dtype)

    def normalised_fused(self, inputs: Tensor) -> Tensor:
        """The channels of all examples become channels of one image, whose batch statistics are then those of each example."""
        import tensorflow as tf

        batch, channels = ops.shape(inputs)[0], inputs.shape[-1]
        voxels = ops.transpose(ops.reshape(inputs, (batch, -1, channels)), (1, 0, 2))
        scale, offset = (ops.tile(ops.cast(each, "float32"), (batch,)) for each in (self.gamma, self.beta))
        image = fast(ops.reshape(voxels, (1, -1, 1, batch * channels)), channels)
        outputs = tf.compat.v1.nn.fused_batch_norm(image, scale, offset, epsilon=self.epsilon, is_training=True)[0]
        outputs = ops.transpose(ops.reshape(ops.cast(outputs, self.compute_dtype), (-1, batch, channels)), (1, 0, 2))
        return ops.reshape(outputs, ops.shape(inputs))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}
