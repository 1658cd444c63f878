"""Normalisation through the fused kernel: Keras' layers to the last digit that float32 holds."""

import keras
import numpy as np
import pytest
from keras import ops

from shared.learning.layers import BatchNormalization, InstanceNormalization

TENSORFLOW = keras.backend.backend() == "tensorflow"
SHAPES = [(7, 3), (4, 6, 3), (5, 4, 6, 3), (2, 4, 3, 5, 3)]
OPTIONS = {"momentum": 0.9, "epsilon": 1e-3}


def noise(shape, seed=0, mean=2.0, std=3.0):
    return np.random.default_rng(seed).normal(mean, std, shape).astype(np.float32)


def pair(shape, **options):
    """Our layer and Keras' one with the same random variables, of which each name is checked."""
    layers = BatchNormalization(**OPTIONS, **options), keras.layers.BatchNormalization(**OPTIONS, **options)
    random = np.random.default_rng(1)
    values = {"gamma": random.normal(1, 0.5, shape[-1]), "beta": random.normal(0, 1, shape[-1]),
              "moving_mean": random.normal(0, 1, shape[-1]), "moving_variance": random.uniform(0.5, 2, shape[-1])}  # fmt: skip
    for layer in layers:
        layer.build(shape)
        assert [variable.name for variable in layer.variables] == ["gamma", "beta", "moving_mean", "moving_variance"]
        for variable in layer.variables:
            variable.assign(values[variable.name])
    return layers


def array(tensor):
    return ops.convert_to_numpy(tensor)


def assert_close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(array(found), array(expected), rtol=tolerance, atol=tolerance)


# Against Keras --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_same_in_training_and_inference(shape):
    ours, theirs = pair(shape)
    for step in range(3):
        inputs = noise(shape, step)
        assert_close(ours(inputs, training=True), theirs(inputs, training=True))
        assert_close(ours.moving_mean, theirs.moving_mean)
        assert_close(ours.moving_variance, theirs.moving_variance)
    inputs = noise(shape, 9)
    before = [array(variable) for variable in ours.variables]
    expected = theirs(inputs, training=False)
    assert_close(ours(inputs, training=False), expected)
    assert_close(ours(inputs), expected)
    for variable, value in zip(ours.variables, before, strict=True):
        np.testing.assert_array_equal(array(variable), value)


@pytest.mark.parametrize("shape", SHAPES)
def test_frozen_layer_infers(shape):
    ours, theirs = pair(shape)
    ours.trainable = theirs.trainable = False
    before = array(ours.moving_mean)
    assert_close(ours(noise(shape), training=True), theirs(noise(shape), training=True))
    np.testing.assert_array_equal(array(ours.moving_mean), before)


@pytest.mark.skipif(not TENSORFLOW, reason="takes TensorFlow's gradient")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_same_gradients(shape, training):
    import tensorflow as tf

    inputs, weights = tf.constant(noise(shape)), noise(shape, 5)
    gradients = []
    for layer in pair(shape):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(layer(inputs, training=training) ** 2 * weights)
        gradients.append(tape.gradient(loss, [inputs, layer.gamma.value, layer.beta.value]))
    for ours, theirs in zip(*gradients, strict=True):
        scale = float(tf.reduce_max(tf.abs(theirs)))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("shape", SHAPES)
def test_same_in_a_compiled_model_of_open_size(shape):
    """Sizes that are known only when an image comes, as in networks that take any."""
    ours, theirs = pair(shape)
    x = keras.Input((*[None] * (len(shape) - 2), shape[-1]))
    models = [keras.Model(x, layer(x)) for layer in (ours, theirs)]
    for model in models:
        model.compile("sgd", "mse")
        assert model.outputs[0].shape == x.shape
        model.train_on_batch(noise(shape), noise(shape, 1))
    for variable, other in zip(ours.variables, theirs.variables, strict=True):
        assert_close(variable, other)
    larger = noise((shape[0] + 1, *(n + 2 for n in shape[1:-1]), shape[-1]), 2)
    assert_close(models[0].predict_on_batch(larger), models[1].predict_on_batch(larger))


@pytest.mark.parametrize(
    "options",
    [{"axis": 1}, {"axis": -2}, {"scale": False}, {"center": False}, {"renorm": True}],
    ids=lambda options: str(options),
)
def test_options_of_keras_are_honoured_or_refused(options):
    inputs = noise((4, 5, 5, 5))
    expected = array(keras.layers.BatchNormalization(**options)(inputs, training=True))
    try:
        found = array(BatchNormalization(**options)(inputs, training=True))
    except (TypeError, ValueError):
        return
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


# By hand --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 1), (2, 2, 1), (1, 2, 2, 1), (1, 2, 1, 2, 1)])
@pytest.mark.parametrize(("unbiased", "variance"), [(False, 5.0), (True, 5.0 * 4 / 3)])
def test_moving_variance_by_hand(shape, unbiased, variance):
    """1, 3, 5, 7: mean 4, variance 5, or 20 / 3 divided by n - 1. Outputs take 5 in both cases."""
    layer = BatchNormalization(unbiased=unbiased, momentum=0.9, epsilon=1e-3)
    outputs = layer(np.array([1, 3, 5, 7], np.float32).reshape(shape), training=True)
    np.testing.assert_allclose(array(outputs).ravel(), np.array([-3, -1, 1, 3]) / np.sqrt(5.001), rtol=1e-5)
    np.testing.assert_allclose(array(layer.moving_mean), 0.9 * 0 + 0.1 * 4, rtol=1e-6)
    np.testing.assert_allclose(array(layer.moving_variance), 0.9 * 1 + 0.1 * variance, rtol=1e-6)


def test_inference_by_hand():
    layer = BatchNormalization(epsilon=1.0)
    layer.build((None, 1))
    for variable, value in zip(layer.variables, (2, 5, 10, 3), strict=True):  # gamma, beta, mean, variance
        variable.assign([value])
    assert float(array(layer(np.array([[14.0]], np.float32)))[0, 0]) == pytest.approx(2 * (14 - 10) / np.sqrt(3 + 1) + 5)


@pytest.mark.parametrize("unbiased", [False, True])
def test_one_voxel_has_no_variance(unbiased):
    layer = BatchNormalization(unbiased=unbiased, momentum=0.5)
    outputs = layer(np.full((1, 1, 1, 2), 7, np.float32), training=True)
    np.testing.assert_array_equal(array(outputs), 0)
    np.testing.assert_allclose(array(layer.moving_mean), 3.5)
    np.testing.assert_allclose(array(layer.moving_variance), 0.5)


# Precision ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_bfloat16(shape, training):
    layer = BatchNormalization(**OPTIONS, dtype="mixed_bfloat16")
    reference = BatchNormalization(**OPTIONS)
    inputs = ops.cast(ops.convert_to_tensor(noise(shape, mean=50)), "bfloat16")
    exact = ops.cast(inputs, "float32")
    found, expected = layer(inputs, training=training), reference(exact, training=training)
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    np.testing.assert_allclose(array(ops.cast(found, "float32")), array(expected), rtol=2**-7, atol=2**-7)
    for variable, other in zip(layer.variables, reference.variables, strict=True):
        assert keras.backend.standardize_dtype(variable.dtype) == "float32"
        assert_close(variable, other)  # bfloat16 would be off by some 1e-3


@pytest.mark.skipif(not TENSORFLOW, reason="takes TensorFlow's gradient")
@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_gradients(shape):
    import tensorflow as tf

    gradients = []
    for dtype in ("mixed_bfloat16", "float32"):
        layer = BatchNormalization(**OPTIONS, dtype=dtype)
        inputs = tf.cast(tf.constant(noise(shape)), layer.compute_dtype)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(tf.cast(layer(inputs, training=True), "float32") ** 3)
        gradients.append([tf.cast(g, "float32").numpy() for g in tape.gradient(loss, [inputs, layer.gamma.value])])
    for found, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.05 * np.abs(expected).max())


# Saving ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unbiased", [False, True])
def test_config_and_weights_come_back(tmp_path, unbiased):
    layer = BatchNormalization(unbiased=unbiased, momentum=0.97, epsilon=1e-4, name="conv1_bn")
    config = layer.get_config()
    again = BatchNormalization.from_config(config)
    assert (again.unbiased, again.momentum, again.epsilon, again.name) == (unbiased, 0.97, 1e-4, "conv1_bn")
    assert again.get_config() == config
    restored = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(restored) is BatchNormalization and restored.unbiased == unbiased

    model, copy = (keras.Sequential([keras.Input((4, 4, 2)), one]) for one in (layer, again))
    layer(noise((3, 4, 4, 2)), training=True)
    model.save_weights(tmp_path / "model.weights.h5")
    copy.load_weights(tmp_path / "model.weights.h5")
    for variable, other in zip(layer.variables, again.variables, strict=True):
        np.testing.assert_array_equal(array(variable), array(other))


def test_weights_go_to_and_from_keras_own_layer():
    ours, theirs = pair((None, 4, 4, 3))
    ours(noise((2, 4, 4, 3)), training=True)
    theirs.set_weights(ours.get_weights())
    inputs = noise((2, 4, 4, 3), 1)
    assert_close(ours(inputs), theirs(inputs))


# By each example's own statistics --------------------------------------------------------------------------------------------


def instance_pair(shape):
    """Our layer and Keras' group normalisation with a group for every channel, both with the same random variables."""
    layers = InstanceNormalization(epsilon=1e-2), keras.layers.GroupNormalization(groups=-1, epsilon=1e-2)
    random = np.random.default_rng(1)
    values = {"gamma": random.normal(1, 0.5, shape[-1]), "beta": random.normal(0, 1, shape[-1])}
    for layer in layers:
        layer.build(shape)
        assert [variable.name for variable in layer.variables] == ["gamma", "beta"]
        for variable in layer.variables:
            variable.assign(values[variable.name])
    return layers


@pytest.mark.parametrize("shape", [(4, 6, 3), (3, 5, 4, 2), (2, 4, 3, 5, 3), (1, 4, 3, 5, 1)])
def test_every_example_and_channel_by_its_own_statistics(shape):
    ours, theirs = instance_pair(shape)
    inputs = noise(shape) * np.arange(1, shape[0] + 1).reshape(-1, *[1] * (len(shape) - 1))
    for training in (True, False):
        assert_close(ours(inputs, training=training), theirs(inputs, training=training))


def test_values_of_an_instance_by_hand():
    layer = InstanceNormalization(epsilon=0.0)
    inputs = np.array([[[1.0, 10.0], [3.0, 10.0 + 2**-6]], [[-4.0, 0.0], [0.0, 8.0]]], np.float32)
    assert_close(layer(inputs), [[[-1, -1], [1, 1]], [[-1, -1], [1, 1]]], 1e-3)


def test_gradients_of_an_instance_are_those_of_keras():
    if not TENSORFLOW:
        pytest.skip("gradients of the fused kernel: TensorFlow only")
    import tensorflow as tf

    gradients = []
    for layer in instance_pair((2, 4, 3, 5, 3)):
        inputs = tf.constant(noise((2, 4, 3, 5, 3)))
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = ops.sum(layer(inputs) ** 3 * noise((2, 4, 3, 5, 3), 2))
        gradients.append(tape.gradient(loss, [inputs, *(variable.value for variable in layer.variables)]))
    for ours, theirs in zip(*gradients, strict=True):
        assert_close(ours, theirs, 2e-3)


def test_an_instance_in_bfloat16_keeps_its_statistics_in_float32():
    inputs = ops.cast(noise((2, 4, 4, 4, 3), mean=100.0), "bfloat16")
    layer, reference = InstanceNormalization(dtype="mixed_bfloat16"), InstanceNormalization()
    found = layer(inputs)
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    assert_close(ops.cast(found, "float32"), reference(ops.cast(inputs, "float32")), 0.03)


def test_config_of_an_instance_comes_back():
    layer = InstanceNormalization(epsilon=1e-4, name="enc1_norm")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(again) is InstanceNormalization and (again.epsilon, again.name) == (1e-4, "enc1_norm")
