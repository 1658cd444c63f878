"""Examples -> batches, ahead of the training step: `tf.data` under TensorFlow, threads under any other backend."""

import collections
import concurrent.futures

import numpy as np

from shared.errors import InputError
from shared.learning.examples import AUGMENTATION

READ_AHEAD = 3  # batches


class Batches:
    """Batch s of the endless training stream, by random access; the last, incomplete batch of an epoch is dropped.

    Args:
        examples: a `sampling.Examples`.
        batch_size: examples a batch.
        draw: `draw(rng) -> parameters` of an augmentation, called for each example; None gives (images, labels) alone.

    Raises:
        InputError: fewer examples than one batch.
    """

    def __init__(self, examples, batch_size, draw=None):
        if len(examples) < batch_size:
            raise InputError(f"{len(examples)} training examples are fewer than one batch of {batch_size}")
        self.examples, self.batch_size, self.draw = examples, batch_size, draw

    def __len__(self):
        """Batches of one epoch."""
        return len(self.examples) // self.batch_size

    def __getitem__(self, step):
        """(images, labels) or (images, labels, parameters) of global step `step`."""
        epoch, place = divmod(int(step), len(self))
        indices = range(place * self.batch_size, (place + 1) * self.batch_size)
        images, labels = zip(*(self.examples.example(epoch, i) for i in indices), strict=True)
        drawn = [np.stack([self.draw(self.examples.rng(AUGMENTATION, epoch, i)) for i in indices])] if self.draw else []
        return (np.stack(images), np.stack(labels), *drawn)


def stream(batches, start, stop):
    """Iterate over batches `start` to `stop` - 1 in order, some made ahead in the background."""
    from shared.framework import keras

    return _tf_data(batches, start, stop) if keras.backend.backend() == "tensorflow" else _threads(batches, start, stop)


def _tf_data(batches, start, stop):
    import tensorflow as tf

    if start >= stop:
        return
    first, failed = batches[start], []
    signature = [tf.TensorSpec(part.shape, part.dtype) for part in first]

    def batch(step):
        try:
            return batches[step]
        except Exception as error:
            failed.append(error)  # TensorFlow makes a text of it
            raise

    def load(step):
        parts = tf.numpy_function(batch, [step], [spec.dtype for spec in signature], stateful=False)
        return tuple(tf.ensure_shape(part, spec.shape) for part, spec in zip(parts, signature, strict=True))

    dataset = tf.data.Dataset.range(start, stop).map(load, num_parallel_calls=READ_AHEAD, deterministic=True)
    try:
        yield from dataset.prefetch(READ_AHEAD)
    except tf.errors.OpError:
        if failed:
            raise failed[0] from None  # as it was before TensorFlow put it into an error of its own
        raise


def _threads(batches, start, stop):
    with concurrent.futures.ThreadPoolExecutor(READ_AHEAD) as pool:
        coming = collections.deque(pool.submit(batches.__getitem__, s) for s in range(start, min(start + READ_AHEAD, stop)))
        for step in range(start, stop):
            if step + READ_AHEAD < stop:
                coming.append(pool.submit(batches.__getitem__, step + READ_AHEAD))
            yield coming.popleft().result()
