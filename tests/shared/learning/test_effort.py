"""Arithmetic of networks, and the time that it takes."""

import keras

from shared.learning import effort


def network(shape):
    image = keras.Input(shape)
    inner = keras.layers.Conv2D(4, 3, padding="same")(image)
    small = keras.layers.Conv2D(8, 2, strides=2)(inner)
    return keras.Model(image, keras.layers.Conv2DTranspose(3, 2, strides=2)(keras.layers.ReLU()(small)))


def test_operations_by_hand():
    first, second, up = 9 * 1 * 4 * 10 * 8, 4 * 4 * 8 * 5 * 4, 4 * 8 * 3 * 5 * 4  # multiplications
    assert effort.operations(network((10, 8, 1))) == 2 * (first + second + up)
    assert effort.operations(network((None, 8, 1))) == 0


def test_a_step_takes_as_long_as_its_arithmetic(monkeypatch):
    clock = iter([0.0, 9.0, 10.0, 12.0, 20.0, 25.0])  # the best of three takes two seconds
    monkeypatch.setattr(effort.time, "perf_counter", lambda: next(clock))
    model = network((10, 8, 1))
    timed = 2 * effort.IMAGES * effort.PIXELS**2 * 9 * effort.CHANNELS**2
    assert effort.seconds_of_step(model, 5, "float32") == 3 * 5 * effort.operations(model) / (timed / 2)
