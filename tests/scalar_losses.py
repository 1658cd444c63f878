"""A loss as a number, and its gradient."""

from keras import ops


def value(loss, labels, logits):
    result = loss(labels, logits)
    assert tuple(result.shape) == ()
    return float(ops.convert_to_numpy(result))


def gradient(loss, labels, logits):
    import tensorflow as tf

    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        result = loss(labels, logits)
    return tape.gradient(result, logits).numpy()
