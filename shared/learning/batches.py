"""Examples -> batches, ahead of the training step: `tf.data` under TensorFlow, threads under any other backend.

Example i of epoch e depends on (seed, e, i) only, so any run can go on from any step.
"""

import collections
import concurrent.futures
from collections.abc import Callable, Generator
from functools import lru_cache

import numpy as np

from shared.errors import InputError
from shared.learning.examples import AUGMENTATION, EXAMPLE, ORDER, Examples, generator
from shared.learning.nested import Nested, leaves, mapped

READ_AHEAD = 3  # batches
Stream = Generator[tuple[Nested, ...], None, None]


class Batches:
    """Batch s of the endless training stream, by random access.

    Every epoch shows the examples in a new order, each once; the last, incomplete batch of an epoch is dropped.

    Args:
        examples: what the batches are made of.
        batch_size: examples per batch.
        seed: of order, examples and augmentation; each of them has a separate generator.
        draw: `draw(rng) -> parameters` of an augmentation, called for each example; with None batches have no parameters.

    Raises:
        InputError: fewer examples than one batch.
    """

    def __init__(
        self, examples: Examples, batch_size: int, seed: int, draw: Callable[[np.random.Generator], Nested] | None = None
    ) -> None:
        if len(examples) < batch_size:
            raise InputError(f"{len(examples)} training examples are fewer than one batch of {batch_size}; set batch_size lower")
        self.examples, self.batch_size, self.seed, self.draw = examples, batch_size, seed, draw
        self._order = lru_cache(maxsize=4)(lambda epoch: generator(seed, ORDER, epoch).permutation(len(examples)))

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self.examples) // self.batch_size

    def __getitem__(self, step: int) -> tuple[Nested, ...]:
        """(inputs, targets) or (inputs, targets, parameters) of global step `step`: arrays (B, ...), nested as the examples'."""
        epoch, place = divmod(step, len(self))
        indices = range(place * self.batch_size, (place + 1) * self.batch_size)
        return mapped(lambda *arrays: np.stack(arrays), *(self.example(epoch, i) for i in indices))

    def example(self, epoch: int, index: int) -> tuple[Nested, ...]:
        """Example `index` of `epoch` as its batch stacks it."""
        rng = generator(self.seed, EXAMPLE, epoch, index)
        inputs, targets = self.examples.one(int(self._order(epoch)[index]), rng)
        if self.draw is None:
            return inputs, targets
        return inputs, targets, self.draw(generator(self.seed, AUGMENTATION, epoch, index))


def stream(batches: Batches, start: int, stop: int) -> Stream:
    """Iterate over batches `start` to `stop` - 1 in order, some made ahead in the background.

    Batches are nested alike and have the same types; their extents may differ. An error of the examples comes out unchanged.
    """
    from shared.framework import keras

    return _tf_data(batches, start, stop) if keras.backend.backend() == "tensorflow" else _threads(batches, start, stop)


def _tf_data(batches: Batches, start: int, stop: int) -> Stream:
    import tensorflow as tf

    if start >= stop:
        return
    ready = {start: batches[start]}  # made here, since TensorFlow asks for the types before the first step
    types = mapped(lambda array: array.dtype, ready[start])
    failed = []

    def arrays(step: np.int64) -> list:
        try:
            batch = ready.pop(int(step)) if step in ready else batches[int(step)]
            return leaves(mapped(lambda _, array: array, types, batch))  # dicts in the order of `types`
        except Exception as error:
            failed.append(error)  # TensorFlow turns it into a text
            raise

    def load(step: "tf.Tensor") -> tuple:
        return tuple(tf.numpy_function(arrays, [step], leaves(types), stateful=False))

    dataset = tf.data.Dataset.range(start, stop).map(load, num_parallel_calls=READ_AHEAD, deterministic=True)
    try:
        for tensors in dataset.prefetch(READ_AHEAD):
            coming = iter(tensors)
            yield mapped(lambda _, coming=coming: next(coming), types)
    except tf.errors.OpError:
        if failed:
            raise failed[0] from None  # the original error, not TensorFlow's that contains it
        raise


def _threads(batches: Batches, start: int, stop: int) -> Stream:
    with concurrent.futures.ThreadPoolExecutor(READ_AHEAD) as pool:
        coming = collections.deque(pool.submit(batches.__getitem__, s) for s in range(start, min(start + READ_AHEAD, stop)))
        for step in range(start, stop):
            if step + READ_AHEAD < stop:
                coming.append(pool.submit(batches.__getitem__, step + READ_AHEAD))
            yield coming.popleft().result()
