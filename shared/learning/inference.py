"""Network + images -> class probabilities, in memory bounded by one batch."""

import threading
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from shared.learning.nested import Nested, leaves, mapped

if TYPE_CHECKING:
    import keras

# Several threads prepare cases, and under JAX Keras gives a network's buffers away while it predicts.
ONE_AT_A_TIME = threading.Lock()


def probabilities(model: "keras.Model", inputs: Nested, batch_size: int) -> np.ndarray:
    """Softmax over the classes of the model's logits, or the sigmoid where there is only one class.

    Args:
        model: from the inputs to logits (B, ..., classes).
        inputs: (n, ..., channels) float32; a dict or tuple of such arrays where the model has several inputs.
        batch_size: examples through the network at once; the last batch is filled up, so that the network is compiled once.

    Returns:
        (n, ..., classes) float32.
    """
    count = length(inputs)
    batch_size = min(batch_size, count)
    parts = [mapped(lambda array, s=start: array[s : s + batch_size], inputs) for start in range(0, count, batch_size)]
    return np.concatenate([activated(logits(model, part, batch_size)) for part in parts])


def logits(model: "keras.Model", inputs: Nested, batch_size: int) -> np.ndarray:
    """The model's output for at most `batch_size` examples, which are filled up to that many with copies of the last."""
    missing = batch_size - length(inputs)
    filled = mapped(lambda array: np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]), inputs)
    with ONE_AT_A_TIME:
        return np.asarray(model.predict_on_batch(filled))[: length(inputs)]


def length(inputs: Nested) -> int:
    """How many examples there are."""
    return len(leaves(inputs)[0])


def activated(values: np.ndarray) -> np.ndarray:
    """Probabilities of logits (..., classes): softmax over the last axis, or the sigmoid where it has length 1."""
    return special.expit(np.asarray(values, np.float32)) if values.shape[-1] == 1 else softmax(values)


def softmax(values: np.ndarray) -> np.ndarray:
    """Softmax of logits over the last axis, in float32."""
    values = np.asarray(values, np.float32)
    exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
