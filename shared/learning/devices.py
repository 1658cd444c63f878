"""One training on several devices of a machine: each gets an equal part of every batch, and all have the same weights.

The step is that of one device with the whole batch: losses that pool all voxels of a batch, and batch normalisation, see the
batch as a whole. JAX does so by itself (`keras.distribution.DataParallel`). Under TensorFlow every device would see its own part
(`tf.distribute.MirroredStrategy`), so logits and labels are gathered before the loss, and `moments` are those of all parts.
Masks of dropout differ there from those of one device.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from shared.errors import InputError
from shared.framework import Tensor, keras, ops
from shared.learning.nested import Nested, leaves, mapped


class Devices:
    """One device, which needs nothing of the following.

    Attributes:
        count: of devices.
    """

    count = 1

    def scope(self) -> contextlib.AbstractContextManager:
        """The block in which networks and optimisers are made, and trained."""
        return contextlib.nullcontext()

    def alone(self) -> contextlib.AbstractContextManager:
        """The block, within `scope`, in which networks predict batches that are not split."""
        return contextlib.nullcontext()

    def compiled(self, model: keras.Model, optimizer: keras.Optimizer, loss: Any) -> None:
        """Compile a network for training with `loss`, or with a loss for each of its outputs."""
        model.compile(optimizer, loss, jit_compile="auto" if keras.backend.backend() == "jax" else False)

    def check(self, inputs: Nested) -> None:
        """Raise InputError unless a batch can be split evenly."""
        for array in leaves(inputs):
            self.check_batch(array.shape[0])

    def check_batch(self, size: int) -> None:
        """The same for a batch of `size` examples."""
        if size % self.count:
            text = f"a batch of {size} cannot be split evenly over {self.count} devices"
            raise InputError(f"--devices {self.count}: {text}; set batch_size (or another --devices)")


class Sharded(Devices):
    """Several devices of JAX."""

    def __init__(self, names: list[str]) -> None:
        self.count = len(names)
        self.distribution = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)

    def scope(self) -> contextlib.AbstractContextManager:
        return distributed(self.distribution)

    def alone(self) -> contextlib.AbstractContextManager:
        return distributed(None)


class Mirrored(Devices):
    """Several devices of TensorFlow."""

    def __init__(self, names: list[str]) -> None:
        import tensorflow as tf

        self.count, self.strategy = len(names), tf.distribute.MirroredStrategy(names)

    def scope(self) -> contextlib.AbstractContextManager:
        return self.strategy.scope()

    def compiled(self, model: keras.Model, optimizer: keras.Optimizer, loss: Any) -> None:
        import tensorflow as tf

        whole_step, count = model.train_step, self.count

        def step(batch: tuple) -> Any:
            place = tf.distribute.get_replica_context().replica_id_in_sync_group

            def part(array: Tensor) -> Tensor:
                size = tf.shape(array)[0] // count
                return array[place * size : (place + 1) * size]

            return whole_step(tuple(None if each is None else mapped(part, each) for each in batch))

        model.train_step = step
        super().compiled(model, optimizer, mapped(Gathered, loss))


class Gathered(keras.losses.Loss):
    """A loss of the whole batch, on a device that has a part of it."""

    def __init__(self, loss: keras.losses.Loss) -> None:
        super().__init__(name=loss.name, reduction="none")
        self.loss = loss

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if not context:  # Keras works out shapes
            return ops.mean(self.loss.call(y_true, y_pred))
        whole = [tf.ensure_shape(context.all_gather(part, axis=0), (None, *part.shape[1:])) for part in (y_true, y_pred)]
        found = self.loss.call(*whole)
        return ops.mean(found) / context.num_replicas_in_sync  # the gradients of all devices are added up


def sharing() -> int:
    """How many devices have a part each of the batch of the running step: more than 1 in a step of `Mirrored` only."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def moments(values: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean and variance over axes of the whole batch, of which a device may have a part."""
    if sharing() == 1:
        return ops.moments(values, axes=axes)
    import tensorflow as tf

    def of_all(part: Tensor) -> Tensor:
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, part)

    mean = of_all(ops.mean(values, axes))
    return mean, of_all(ops.mean(ops.square(values - mean), axes))


@contextlib.contextmanager
def distributed(distribution: Any) -> Iterator[None]:
    """In the block, Keras spreads variables and batches of JAX as `distribution` says."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(distribution)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def of(wanted: int | str) -> Devices:
    """The devices to train on: that many, or "all". They are the machine's accelerators, or else the backend's processors.

    Raises:
        InputError: there are fewer.
    """
    if wanted == 1:
        return Devices()
    names = names_here()
    if isinstance(wanted, int) and wanted > len(names):
        found = f"{len(names)} ({', '.join(names)})"
        raise InputError(f"--devices {wanted}: {keras.backend.backend()} finds only {found} on this machine")
    names = names if wanted == "all" else names[: int(wanted)]
    if len(names) == 1:
        return Devices()
    return Sharded(names) if keras.backend.backend() == "jax" else Mirrored(names)


def names_here() -> list[str]:
    """What the backend calls the machine's accelerators; where there are none, its processors, which count as one."""
    if keras.backend.backend() == "jax":
        return keras.distribution.list_devices()
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]
