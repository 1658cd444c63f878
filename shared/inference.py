"""Network + images -> class probabilities, in memory bounded by one batch."""

import numpy as np


def probabilities(model, images, batch_size):
    """Softmax of the model's logits.

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
        batch = images[start : start + batch_size]
        filled = np.concatenate([batch, np.repeat(batch[-1:], batch_size - len(batch), axis=0)])
        parts.append(softmax(np.asarray(model.predict_on_batch(filled))[: len(batch)]))
    return np.concatenate(parts)


def softmax(logits):
    """Over the last axis, in float32."""
    logits = np.asarray(logits, np.float32)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
