"""The networks against the paper's tables, the facts of the authors' code, and their twin in plain TensorFlow operations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from acdc_segmenter_tf import model as networks
from acdc_segmenter_tf.model import build
from tests.acdc_segmenter_tf import plain_tf

# network: the authors' name, the paper's data size, trainable and other parameters, another valid size, a small one
PAPER = {
    "fcn8": ("VGG16_FCN_8_bn", (224, 224), 134_295_920, 24_880, (96, 160), (32, 64)),
    "unet2d": ("unet2D_bn", (212, 212), 39_393_480, 13_704, (68, 100), (20, 36)),
    "unet2d_modified": ("unet2D_bn_modified", (212, 212), 25_274_472, 11_816, (68, 100), (20, 36)),
    "unet3d": ("unet3D_bn", (116, 116, 28), 37_815_720, 6_472, (28, 12, 20), (12, 20, 12)),
    "unet3d_modified": ("unet3D_bn_modified", (116, 116, 28), 35_718_568, 6_472, (28, 12, 10), (12, 20, 6)),
}
UNET2D_EXTENTS = {
    "pad": 396, "conv1_1": 394, "conv1_2": 392, "pool1": 196, "conv2_1": 194, "conv2_2": 192, "pool2": 96, "conv3_1": 94,
    "conv3_2": 92, "pool3": 46, "conv4_1": 44, "conv4_2": 42, "pool4": 21, "conv5_1": 19, "conv5_2": 17,
    "upconv4": 34, "conv6_1": 32, "conv6_2": 30, "upconv3": 60, "conv7_1": 58, "conv7_2": 56, "upconv2": 112,
    "conv8_1": 110, "conv8_2": 108, "upconv1": 216, "conv9_1": 214, "conv9_2": 212, "pred": 212,
}  # fmt: skip
UNET3D_EXTENTS = {  # in-plane, along z in the original, along z in the modified version
    "pad": (204, 116, 60), "conv1_1": (202, 114, 58), "conv1_2": (200, 112, 56), "pool1": (100, 56, 56),
    "conv2_1": (98, 54, 54), "conv2_2": (96, 52, 52), "pool2": (48, 26, 52), "conv3_1": (46, 24, 50), "conv3_2": (44, 22, 48),
    "pool3": (22, 11, 24), "conv4_1": (20, 9, 22), "conv4_2": (18, 7, 20), "upconv3": (36, 14, 40), "conv5_1": (34, 12, 38),
    "conv5_2": (32, 10, 36), "upconv2": (64, 20, 36), "conv6_1": (62, 18, 34), "conv6_2": (60, 16, 32),
    "upconv1": (120, 32, 32), "conv8_1": (118, 30, 30), "conv8_2": (116, 28, 28), "pred": (116, 28, 28),
}  # fmt: skip
EXTENTS = {
    "fcn8": {
        "conv1_2": (224, 224), "pool1": (112, 112), "conv2_2": (112, 112), "pool2": (56, 56), "conv3_3": (56, 56),
        "pool3": (28, 28), "conv4_3": (28, 28), "pool4": (14, 14), "conv5_3": (14, 14), "pool5": (7, 7), "conv6": (7, 7),
        "conv7": (7, 7), "score5": (7, 7), "score4": (14, 14), "score3": (28, 28), "upscore1": (14, 14),
        "upscore2": (28, 28), "upscore3": (224, 224),
    },
    "unet2d": {layer: (n, n) for layer, n in UNET2D_EXTENTS.items()},
    "unet2d_modified": {layer: (n, n) for layer, n in UNET2D_EXTENTS.items()},
    "unet3d": {layer: (n, n, z) for layer, (n, z, _) in UNET3D_EXTENTS.items()},
    "unet3d_modified": {layer: (n, n, z) for layer, (n, _, z) in UNET3D_EXTENTS.items()},
}  # fmt: skip
# U-Nets, per upconv from the deepest: the skip, where its crop starts
CROPS = {
    "unet2d_modified": {"upconv4": ("conv4_2", (4, 4)), "upconv3": ("conv3_2", (16, 16)),
                        "upconv2": ("conv2_2", (40, 40)), "upconv1": ("conv1_2", (88, 88))},
    "unet3d": {"upconv3": ("conv3_2", (4, 4, 4)), "upconv2": ("conv2_2", (16, 16, 16)), "upconv1": ("conv1_2", (40, 40, 40))},
    "unet3d_modified": {"upconv3": ("conv3_2", (4, 4, 4)), "upconv2": ("conv2_2", (16, 16, 8)),
                        "upconv1": ("conv1_2", (40, 40, 12))},
}  # fmt: skip
TRUNCATION = 0.8796256610342398  # std of a unit normal distribution cut at +-2

every_network = pytest.mark.parametrize("network", PAPER)


def variables(model):
    """Checkpoint name -> variable."""
    return {f"{layer.name}/{'W' if v.name == 'kernel' else v.name}": v for layer in model.layers for v in layer.weights}


def randomise(model, seed=0):
    """Give every variable random values under which activations neither die nor explode; returns them by checkpoint name."""
    rng = np.random.default_rng(seed)
    draws = {
        "W": lambda shape: rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape),
        "gamma": lambda shape: rng.uniform(0.7, 1.3, shape),
        "beta": lambda shape: rng.normal(0, 0.1, shape),
        "moving_mean": lambda shape: rng.normal(0, 0.2, shape),
        "moving_variance": lambda shape: rng.uniform(0.5, 1.5, shape),
    }
    values = {}
    for name, variable in variables(model).items():
        values[name] = draws[name.split("/")[1]](variable.shape).astype(np.float32)
        variable.assign(values[name])
    return values


@every_network
def test_parameters_and_output_at_the_papers_size(network, monkeypatch):
    monkeypatch.setattr(keras.initializers, "VarianceScaling", lambda **_: "zeros")  # drawing FCN-8's 134 million takes long
    name, size, trainable, other, _, _ = PAPER[network]
    model = build(network, size)
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == trainable
    assert sum(np.prod(v.shape) for v in model.non_trainable_variables) == other
    assert model.input_shape == (None, *size, 1)
    assert model.output_shape == (None, *size, 4)
    assert {tensor: tuple(v.shape) for tensor, v in variables(model).items()} == plain_tf.shapes(name)


@every_network
def test_extents_of_the_layers(network):
    model = build(network, PAPER[network][1], width=1)
    found = {layer: tuple(model.get_layer(layer).output.shape[1:-1]) for layer in EXTENTS[network]}
    assert found == EXTENTS[network]


@every_network
def test_other_sizes_and_numbers_of_classes(network):
    size = PAPER[network][4]
    model = build(network, size, classes=2, width=2)
    assert model.output_shape == (None, *size, 2)
    assert {tensor: tuple(v.shape) for tensor, v in variables(model).items()} == plain_tf.shapes(PAPER[network][0], 2, 2)


@pytest.mark.parametrize(
    ("network", "size"),
    [
        ("fcn8", (224, 212)),
        ("fcn8", (0, 224)),
        ("fcn8", (224, 224, 32)),
        ("unet2d", (212, 208)),
        ("unet2d_modified", (4, 212)),
        ("unet2d_modified", (212,)),
        ("unet2d_modified", (-12, 212)),
        ("unet3d", (116, 116, 30)),
        ("unet3d", (116, 116)),
        ("unet3d_modified", (116, 116, 27)),
        ("unet3d_modified", (112, 116, 28)),
        ("unet3d_modified", (116, 116, 0)),
    ],
)
def test_impossible_sizes_are_refused(network, size):
    with pytest.raises(ValueError, match=f"^{network.removesuffix('_modified')}.* found ") as refusal:
        build(network, size, width=1)
    assert all(str(n) in str(refusal.value) for n in size)


def test_unknown_network_is_refused():
    with pytest.raises(ValueError, match="unknown network 'unet4d': expected one of fcn8, .*unet3d_modified"):
        build("unet4d", (212, 212))


@pytest.mark.parametrize("network", CROPS)
def test_merge_puts_the_upsampled_before_the_centre_of_the_skip(network):
    model = build(network, PAPER[network][5], width=2)
    randomise(model)
    merges = [layer for layer in model.layers if isinstance(layer, keras.layers.Concatenate)]
    assert len(merges) == len(CROPS[network])
    image = np.random.default_rng(1).normal(size=(1, *PAPER[network][5], 1)).astype(np.float32)
    for merge, (upconv, (skip, start)) in zip(merges, CROPS[network].items(), strict=True):
        outputs = [model.get_layer(f"{upconv}_relu").output, model.get_layer(f"{skip}_relu").output, merge.output]
        up, skip, merged = map(np.asarray, keras.Model(model.input, outputs)(image, training=False))
        assert up.std() > 0 and skip.std() > 0
        centre = tuple(slice(first, first + n) for first, n in zip(start, up.shape[1:-1], strict=True))
        np.testing.assert_array_equal(merged, np.concatenate([up, skip[(slice(None), *centre)]], axis=-1))


def test_odd_margin_leaves_its_extra_voxel_at_the_end():
    skip = np.arange(49, dtype=np.float32).reshape(1, 7, 7, 1)
    merged = np.asarray(networks.merge(np.zeros((1, 4, 4, 2), np.float32), skip, "merge"))
    np.testing.assert_array_equal(merged[..., 2:], skip[:, 1:5, 1:5])


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [("conv5_2", 9 * 256), ("conv5_1", 9 * 128), ("conv6_1", 9 * (128 + 128)), ("upconv4", 16 * 128)],  # (4, 4, 128, 256)
)
def test_he_initialiser_is_that_of_tensorflow_1(layer, fan_in):
    kernel = np.asarray(build("unet2d", (20, 20), width=16).get_layer(layer).kernel)
    sigma = np.sqrt(1.3 * 2 / fan_in)  # nominal, before the cut
    assert kernel.std() == pytest.approx(TRUNCATION * sigma, rel=0.01)
    assert kernel.std() == pytest.approx(1.003 * np.sqrt(2 / fan_in), rel=0.01)
    assert abs(kernel.mean()) < 0.01 * sigma
    assert 1.99 * sigma < abs(kernel).max() <= 2.0001 * sigma


@pytest.mark.parametrize(
    ("layer", "profile"),
    [
        ("upscore1", [0.25, 0.75, 0.75, 0.25]),
        ("upscore2", [0.25, 0.75, 0.75, 0.25]),
        ("upscore3", [(n + 0.5) / 8 for n in (*range(8), *reversed(range(8)))]),
    ],
)
def test_fcn8_starts_from_bilinear_upsampling(layer, profile):
    kernel = np.asarray(build("fcn8", (32, 32), width=1).get_layer(layer).kernel)
    expected = np.zeros((len(profile), len(profile), 4, 4), np.float32)
    for label in range(4):
        expected[:, :, label, label] = np.outer(profile, profile)
    np.testing.assert_allclose(kernel, expected, atol=1e-7)


@every_network
def test_every_convolution_has_batch_normalisation_and_no_bias(network):
    model = build(network, PAPER[network][5], width=1)
    for layer in [layer for layer in model.layers if hasattr(layer, "kernel")]:
        assert not layer.use_bias
        normalisation = model.get_layer(f"{layer.name}_bn")
        assert (normalisation.epsilon, normalisation.momentum) == (1e-3, 0.99)
        for part, start in {"gamma": 1, "beta": 0, "moving_mean": 0, "moving_variance": 1}.items():
            np.testing.assert_array_equal(getattr(normalisation, part), np.full(layer.filters, start, np.float32))


@every_network
def test_logits_are_batch_norm_outputs(network):
    model = build(network, PAPER[network][5], width=4)
    randomise(model)
    last = "upscore3" if network == "fcn8" else "pred"
    activated = [layer.name for layer in model.layers if hasattr(layer, "kernel") and layer.name != last]
    outputs = [model.get_layer(f"{last}_bn").output, *[model.get_layer(f"{layer}_relu").output for layer in activated]]
    image = np.random.default_rng(1).normal(size=(1, *PAPER[network][5], 1)).astype(np.float32)
    before, *relus = map(np.asarray, keras.Model(model.input, outputs)(image, training=False))
    logits = np.asarray(model(image, training=False))
    np.testing.assert_array_equal(logits, before)
    assert logits.min() < 0
    assert all(relu.min() >= 0 for relu in relus)


def test_score_layers_of_fcn8_end_in_relu():
    model = build("fcn8", (32, 32), width=1)
    for layer, sources in {"fuse4": ["upscore1", "score4"], "fuse3": ["upscore2", "score3"]}.items():
        assert [tensor is model.get_layer(f"{source}_relu").output
                for tensor, source in zip(model.get_layer(layer).input, sources, strict=True)] == [True, True]  # fmt: skip
    assert model.get_layer("upscore1").input is model.get_layer("score5_relu").output


def test_logits_are_float32_in_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = build("unet2d_modified", (20, 20), width=1)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.output.dtype == "float32"


@every_network
def test_inference_equals_plain_tensorflow(network):
    name, size = PAPER[network][0], PAPER[network][5]
    model = build(network, size, width=4 if len(size) == 2 else 2)
    weights = randomise(model)
    image = np.random.default_rng(1).normal(size=(2, *size, 1)).astype(np.float32)
    expected = plain_tf.logits(name, weights, image).numpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(model(image, training=False), expected, rtol=0, atol=1e-4 * abs(expected).max())


@pytest.mark.parametrize("network", ["fcn8", "unet2d_modified", "unet3d_modified"])
def test_training_normalises_by_the_batch_as_plain_tensorflow(network):
    name, size = PAPER[network][0], PAPER[network][5]
    model = build(network, size, width=4 if len(size) == 2 else 2)
    weights = {name: tf.Variable(value) for name, value in randomise(model).items()}  # its moving averages are updated
    image = np.random.default_rng(1).normal(size=(2, *size, 1)).astype(np.float32)
    expected = plain_tf.logits(name, weights, image, training=True).numpy()
    np.testing.assert_allclose(model(image, training=True), expected, rtol=0, atol=1e-3 * abs(expected).max())
    for tensor, variable in variables(model).items():
        np.testing.assert_allclose(variable, weights[tensor], rtol=1e-4, atol=1e-4, err_msg=tensor)
    assert not np.allclose(model(image, training=False), expected, atol=0.1)


@every_network
def test_moving_variance_is_corrected_in_two_dimensions_only(network):
    """The authors' 2D layers multiply the batch variance by n / (n - 1); with 2 values per channel that cannot be missed."""
    size = PAPER[network][5]
    layer = build(network, size, width=2).get_layer("conv1_1_bn")
    values = np.random.default_rng(1).normal(size=(2, *[1 for _ in size], 2)).astype(np.float32)
    layer(values, training=True)
    variance = values.reshape(2, 2).var(axis=0, ddof=1 if len(size) == 2 else 0)
    np.testing.assert_allclose(layer.moving_variance, 0.99 + 0.01 * variance, rtol=1e-6)
    np.testing.assert_allclose(layer.moving_mean, 0.01 * values.reshape(2, 2).mean(axis=0), rtol=1e-5)


def test_plain_tensorflow_can_be_traced_and_trained():
    """The twin serves as the authors' training graph: gradients for every trainable weight, moving averages updated."""
    model = build("unet2d_modified", (20, 20), width=1)
    start = randomise(model)
    weights = {name: tf.Variable(value) for name, value in start.items()}
    trained = [variable for name, variable in weights.items() if "/moving_" not in name]
    image = np.random.default_rng(1).normal(size=(2, 20, 20, 1)).astype(np.float32)

    @tf.function
    def step(image):
        with tf.GradientTape() as tape:
            logits = plain_tf.logits("unet2D_bn_modified", weights, image, training=True)
            loss = tf.reduce_mean(logits**2)
        return logits, tape.gradient(loss, trained)

    logits, gradients = step(image)
    assert all(gradient is not None and np.isfinite(gradient).all() for gradient in gradients)
    np.testing.assert_allclose(logits, plain_tf.logits("unet2D_bn_modified", start, image, training=True), atol=1e-4)

    first = tf.nn.conv2d(tf.pad(image, [[0, 0], [92, 92], [92, 92], [0, 0]]), start["conv1_1/W"], 1, "VALID").numpy()
    for part, now in {"moving_mean": first.mean((0, 1, 2)), "moving_variance": first.var((0, 1, 2), ddof=1)}.items():
        name = f"conv1_1_bn/{part}"
        np.testing.assert_allclose(weights[name], 0.99 * start[name] + 0.01 * now, rtol=1e-5)


@pytest.mark.parametrize(("shape", "extent"), [((9, 8, 2), (4, 6)), ((7, 5, 3), (7, 2)), ((6, 5, 7, 2), (3, 5, 4))])
def test_the_centre_is_cropped_as_keras_crops_it(shape, extent):
    values = np.arange(2 * np.prod(shape), dtype=np.float32).reshape(2, *shape)
    margins = [size - wanted for size, wanted in zip(shape, extent, strict=False)]
    theirs = {2: keras.layers.Cropping2D, 3: keras.layers.Cropping3D}[len(extent)]([(m // 2, m - m // 2) for m in margins])
    np.testing.assert_array_equal(networks.CentreCrop(extent)(values), theirs(values))
