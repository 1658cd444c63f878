"""Network + images -> class probabilities, in memory bounded by one batch."""

import numpy as np
from scipy import special


def probabilities(model, images, batch_size):
    """Softmax of the model's logits; the sigmoid of a single one.

    Args:
        model: `keras.Model` from (B, ..., 1) to logits (B, ..., classes).
        images: (n, ..., 1) float32.
        batch_size: images through the network at once; the last batch is filled up, so that the network is compiled once.

    Returns:
        (n, ..., classes) float32.
    """
    batch_size = min(batch_size, len(images))
    parts = []
    for start in range(0, len(images), batch_size):
        parts.append(activated(logits(model, images[start : start + batch_size], batch_size)))
    return np.concatenate(parts)


def logits(model, images, batch_size):
    """The model's output for at most `batch_size` images, which are filled up to that many with copies of the last."""
    filled = np.concatenate([images, np.repeat(images[-1:], batch_size - len(images), axis=0)])
    return np.asarray(model.predict_on_batch(filled))[: len(images)]


def activated(values):
    """Probabilities of logits (..., classes): softmax over the last axis, or the sigmoid where there is one."""
    return special.expit(np.asarray(values, np.float32)) if values.shape[-1] == 1 else softmax(values)


def softmax(values):
    """Of logits, over the last axis, in float32."""
    values = np.asarray(values, np.float32)
    exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
