"""How much arithmetic a network is, and how long its training takes here, before the first step."""

import time

import numpy as np

from shared.framework import keras, ops

IMAGES, PIXELS, CHANNELS, ROUNDS = 4, 128, 64, 3  # of the convolution that is timed


def operations(model: keras.Model) -> int:
    """Multiplications and additions of all convolutions for one example; 0 where the network takes examples of any extent."""
    if None in model.input_shape[1:]:
        return 0
    found = 0
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Conv3D)):
            found += 2 * int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:-1]))
        elif isinstance(layer, (keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)):
            found += 2 * int(np.prod(layer.kernel.shape)) * int(np.prod(layer.input.shape[1:-1]))
    return found


def seconds_of_step(model: keras.Model, batch: int, precision: str) -> float:
    """About how long a training step takes: a prediction and twice as much for the gradients, at the rate of a convolution; 0
    where the `operations` are not known."""
    work = 3 * batch * operations(model)
    if not work:
        return 0.0
    images = ops.ones((IMAGES, PIXELS, PIXELS, CHANNELS), dtype=precision)
    kernel = ops.ones((3, 3, CHANNELS, CHANNELS), dtype=precision)
    took = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        ops.convert_to_numpy(ops.conv(images, kernel, padding="same")[0, 0])
        took.append(time.perf_counter() - start)
    rate = 2 * IMAGES * PIXELS**2 * 9 * CHANNELS**2 / min(took)
    return work / rate
