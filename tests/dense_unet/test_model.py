"""The network against the sheet's counts and shapes, and against a twin in plain Keras."""

import keras
import numpy as np
import pytest

from dense_unet import model as networks
from shared.errors import InputError
from tests.dense_unet import plain_keras

COUNTS = [  # network, options, parameters, of which trainable
    ("dense", {}, 15_148_036, 15_138_692),
    ("dense", {"growth": 12}, 14_916_164, 14_906_948),
    ("dense", {"dense_layers": (4, 3, 2, 1)}, 14_645_284, 14_636_132),
    ("plain", {}, 14_262_020, 14_253_188),
    ("dense", {"upsampling": "width"}, 23_060_100, 23_050_756),
    ("plain", {"upsampling": "width"}, 22_174_084, 22_165_252),
]
SHAPES = {  # layer -> extent and maps
    "enc1_2_relu": (176, 48), "enc2_2_relu": (88, 96), "enc3_2_relu": (44, 192), "enc4_2_relu": (22, 384),
    "bottom_2_relu": (11, 768), "dense1_4_merge": (176, 112), "dense2_4_merge": (88, 160), "dense3_4_merge": (44, 256),
    "dense4_4_merge": (22, 448), "up1": (176, 4), "up2": (88, 4), "up3": (44, 4), "up4": (22, 4), "merge1": (176, 116),
    "merge2": (88, 164), "merge3": (44, 260), "merge4": (22, 452), "dec1_2_relu": (176, 48), "dec2_2_relu": (88, 96),
    "dec3_2_relu": (44, 192), "dec4_2_relu": (22, 384), "logits": (176, 4),
}  # fmt: skip


@pytest.mark.parametrize(("network", "options", "parameters", "trainable"), COUNTS)
def test_parameters(network, options, parameters, trainable):
    model = networks.build(network, (176, 176), **options)
    assert model.count_params() == parameters
    assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) == trainable


def test_shapes_of_the_papers_network():
    model = networks.build("dense", (176, 176))
    found = {name: model.get_layer(name).output.shape[1:] for name in SHAPES}
    assert found == {name: (extent, extent, maps) for name, (extent, maps) in SHAPES.items()}
    assert networks.build("dense", (32, 48), 3, 2).output.shape == (None, 32, 48, 3)


def test_the_same_numbers_as_a_twin_in_plain_keras():
    keras.utils.set_random_seed(1)
    twin = plain_keras.unet((32, 48), classes=3, width=2, layers=2, growth=3)
    model = networks.build("dense", (32, 48), 3, 2, dense_layers=(2, 2, 2, 2), growth=3)
    random = np.random.default_rng(0)
    for variable in twin.variables:
        moving = "moving" in variable.path
        variable.assign(random.uniform(0.2, 1, variable.shape) if moving else random.normal(0, 0.4, variable.shape))
    for layer in twin.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    assert model.count_params() == twin.count_params()
    images = random.random((2, 32, 48, 1)).astype(np.float32)
    found = keras.ops.softmax(model(images, training=False))
    np.testing.assert_allclose(found, twin(images, training=False), atol=1e-5)
    assert np.ptp(np.asarray(found)) > 0.1


def test_bfloat16_gives_float32_logits():
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        assert networks.build("dense", (16, 16), 4, 2).output.dtype == "float32"
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(("network", "shape", "options", "words"), [
    ("densenet", (16, 16), {}, "unknown network 'densenet': expected one of dense, plain"),
    ("dense", (16, 16), {"upsampling": "full"}, "unknown upsampling 'full': expected one of classes, width"),
    ("dense", (24, 16), {}, "16n x 16n pixels, found 24 x 16"),
    ("plain", (16, 16, 16), {}, "found 16 x 16 x 16"),
    ("dense", (0, 16), {}, "found 0 x 16"),
])  # fmt: skip
def test_what_cannot_be_built(network, shape, options, words):
    with pytest.raises(InputError, match=words):
        networks.build(network, shape, 4, 2, **options)
