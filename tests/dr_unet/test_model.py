"""The networks against the paper's tables, their parameter counts, and their twins in NumPy."""

import keras
import numpy as np
import pytest

from dr_unet.model import build, build_end_to_end, dilated
from shared.errors import InputError
from shared.learning.layers import BatchNormalization
from tests.dr_unet import plain_numpy
from tests.dr_unet.plain_numpy import randomise

# network, width, outputs, options, parameters, of them not trained. The latter are two moving statistics per normalised channel:
# DR-UNet 2 (f + 2f + 4f) in the encoder and as many in the decoder, with 4 x 8f in the bottleneck; U-Net 2 x 8f there; V-Net
# f + 2 x 2f + 3 x 4f on either side and 3 x 8f between.
COUNTS = [
    ("dr_unet", 8, 1, {}, 675_145, 56 * 8),
    ("dr_unet", 8, 4, {}, 675_172, 56 * 8),
    ("dr_unet", 16, 1, {}, 2_691_217, 56 * 16),
    ("dr_unet", 32, 4, {}, 10_746_244, 56 * 32),
    ("dr_unet", 8, 1, {"projection": True}, 625_785, 56 * 8),
    ("dr_unet", 8, 4, {"projection": True}, 625_812, 56 * 8),
    ("dr_unet", 16, 1, {"projection": True}, 2_499_697, 56 * 16),
    ("dr_unet", 32, 4, {"projection": True}, 9_992_004, 56 * 32),
    ("dr_unet", 8, 1, {"bottleneck_norm": True}, 676_169, 120 * 8),
    ("dr_unet", 32, 4, {"bottleneck_norm": True}, 10_750_340, 120 * 32),
    ("unet3d", 8, 1, {}, 402_937, 88 * 8),
    ("unet3d", 32, 4, {}, 6_422_596, 88 * 32),
    ("vnet", 8, 1, {}, 613_937, 116 * 8),
    ("vnet", 32, 4, {}, 9_784_868, 116 * 32),
    ("vnet", 8, 1, {"kernel": 5}, 2_664_881, 116 * 8),
    ("vnet", 32, 4, {"kernel": 5}, 42_599_972, 116 * 32),
]
TRAINABLE = {("dr_unet", 8, 1): 674_697, ("dr_unet", 8, 4): 674_724, ("dr_unet", 16, 1): 2_690_321,
             ("dr_unet", 32, 4): 10_744_452}  # fmt: skip
# (x, y, z, channels) of the DR-UNet of width 32 for 128 x 128 x 16 voxels with Keep Z; without it only z differs
EXTENTS = {
    "enc1_2": (128, 128, 16, 32), "res1": (128, 128, 16, 33), "pool1": (64, 64, 16, 33),
    "enc2_2": (64, 64, 16, 64), "res2": (64, 64, 16, 97), "pool2": (32, 32, 16, 97),
    "enc3_2": (32, 32, 16, 128), "res3": (32, 32, 16, 225), "pool3": (16, 16, 16, 225),
    "bottleneck_d1": (16, 16, 16, 256), "bottleneck_d2": (16, 16, 16, 256), "bottleneck_d4": (16, 16, 16, 256),
    "bottleneck_d8": (16, 16, 16, 256), "bottleneck_sum": (16, 16, 16, 256),
    "up3": (32, 32, 16, 128), "merge3": (32, 32, 16, 256), "dec3_2": (32, 32, 16, 128),
    "up2": (64, 64, 16, 64), "merge2": (64, 64, 16, 128), "dec2_2": (64, 64, 16, 64),
    "up1": (128, 128, 16, 32), "merge1": (128, 128, 16, 64), "dec1_2": (128, 128, 16, 32),
    "features": (128, 128, 16, 32), "logits": (128, 128, 16, 4),
}  # fmt: skip
EXTENT_Z = {"pool1": 8, "enc2_2": 8, "res2": 8, "up2": 8, "merge2": 8, "dec2_2": 8, "pool2": 4, "enc3_2": 4, "res3": 4, "up3": 4,
            "merge3": 4, "dec3_2": 4, "pool3": 2, "bottleneck_d1": 2, "bottleneck_d2": 2, "bottleneck_d4": 2,
            "bottleneck_d8": 2, "bottleneck_sum": 2}  # fmt: skip

every_network = pytest.mark.parametrize("network", ["dr_unet", "unet3d", "vnet"])
every_join = pytest.mark.parametrize("join", ["multiply", "concat", "add"])


@every_network
def test_instance_normalisation_needs_no_moving_statistics(network):
    batch, instance = (build(network, (8, 8, 8), 1, 2, normalisation=normalisation) for normalisation in ("batch", "instance"))
    assert count(instance.variables) == count(instance.trainable_variables) == count(batch.trainable_variables)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 8, 8, 8, 1)).astype(np.float32) * [[[[[1]]]], [[[[9]]]]]
    together = np.asarray(instance(images, training=True))
    alone = [np.asarray(instance(image[None], training=False))[0] for image in images]
    np.testing.assert_allclose(together, alone, atol=2e-4)
    assert np.abs(np.asarray(batch(images, training=True)) - [np.asarray(batch(i[None]))[0] for i in images]).max() > 0.01


def test_an_unknown_normalisation():
    with pytest.raises(InputError, match="unknown normalisation 'layer': expected one of batch, instance"):
        build("unet3d", (8, 8, 8), 1, 1, normalisation="layer")


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def forward(model, *images):
    return np.asarray(model(np.stack(images), training=False))


# Size -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("network", "width", "outputs", "options", "total", "other"), COUNTS)
def test_parameters(network, width, outputs, options, total, other):
    model = build(network, (8, 8, 8), outputs, width, **options)
    assert model.count_params() == count(model.variables) == total
    assert count(model.non_trainable_variables) == other
    assert count(model.trainable_variables) == total - other
    if not options and network == "dr_unet":
        assert total - other == TRAINABLE[network, width, outputs]


@pytest.mark.parametrize(
    ("outputs", "width", "join", "total"),
    [(4, 32, "multiply", 11_421_389), (4, 32, "concat", 11_434_349), (4, 32, "add", 11_421_389), (1, 8, "multiply", 1_350_290),
     (1, 8, "concat", 1_353_530)],
)  # fmt: skip
def test_parameters_of_end_to_end(outputs, width, join, total):
    model = build_end_to_end((8, 8, 8), outputs, 8, width, join=join)
    assert count(model.variables) == total
    assert count(model.non_trainable_variables) == 56 * (8 + width)


@every_network
def test_keep_z_of_the_dr_unet_needs_no_other_parameters(network):
    """Nor of the U-Net; the strided convolutions of the V-Net have half the taps."""
    with_z, without = (count(build(network, (8, 8, 8), 4, 2, keep_z=keep_z).variables) for keep_z in (True, False))
    if network == "vnet":
        f, taps = 2, 4
        down = taps * (f * 2 * f + 2 * f * 4 * f + 4 * f * 8 * f)
        assert without - with_z == 2 * down  # as many in the transposed ones
    else:
        assert without == with_z


def test_only_width_8_makes_a_localiser_of_less_than_a_million_parameters():
    small = {width: build("dr_unet", (8, 8, 8), 1, width).count_params() < 1_000_000 for width in (8, 16)}
    assert small == {8: True, 16: False}


@pytest.mark.parametrize("keep_z", [True, False])
def test_extents_of_the_layers(keep_z):
    model = build("dr_unet", (128, 128, 16), 4, 32, keep_z=keep_z)
    expected = {name: (*s[:2], s[2] if keep_z else EXTENT_Z.get(name, 16), s[3]) for name, s in EXTENTS.items()}
    assert {name: tuple(model.get_layer(name).output.shape[1:]) for name in expected} == expected
    assert model.input_shape == (None, 128, 128, 16, 1) and model.output_shape == (None, 128, 128, 16, 4)


@every_network
@pytest.mark.parametrize(
    ("shape", "outputs", "keep_z"), [((8, 16, 24), 1, False), ((24, 8, 8), 4, False), ((16, 8, 3), 4, True), ((8, 8, 1), 1, True)]
)
def test_output_has_the_extent_of_the_input(network, shape, outputs, keep_z):
    model = build(network, shape, outputs, 1, keep_z=keep_z)
    images = [plain_numpy.image(shape), plain_numpy.image(shape, seed=2)]
    found = forward(model, *images)
    assert found.shape == (2, *shape, outputs) and found.dtype == np.float32
    np.testing.assert_allclose(found[1], forward(model, images[1])[0], rtol=1e-4, atol=1e-5)  # volumes do not mix


# What is refused ------------------------------------------------------------------------------------------------------------


@every_network
@pytest.mark.parametrize(
    ("shape", "keep_z", "message"),
    [
        ((128, 128, 12), False, "takes extents of 8n x 8n x 8n, found 128 x 128 x 12"),
        ((12, 128, 16), True, "takes extents of 8n x 8n x n, found 12 x 128 x 16"),
        ((128, 100, 16), False, "takes extents of 8n x 8n x 8n, found 128 x 100 x 16"),
        ((0, 8, 8), False, "takes extents of 8n x 8n x 8n, found 0 x 8 x 8"),
        ((8, 8, 0), True, "takes extents of 8n x 8n x n, found 8 x 8 x 0"),
        ((8, -8, 8), True, "takes extents of 8n x 8n x n, found 8 x -8 x 8"),
        ((64, 64), False, "takes extents of 8n x 8n x 8n, found 64 x 64"),
        ((8, 8, 8, 1), False, "takes extents of 8n x 8n x 8n, found 8 x 8 x 8 x 1"),
    ],
)
def test_impossible_extents_are_refused(network, shape, keep_z, message):
    with pytest.raises(InputError) as refusal:
        build(network, shape, 1, 1, keep_z=keep_z)
    assert str(refusal.value) == f"{network} {message}"


def test_impossible_extents_of_end_to_end_are_refused():
    with pytest.raises(InputError, match="^dr_unet takes extents of 8n x 8n x n, found 8 x 9 x 5$"):
        build_end_to_end((8, 9, 5), 1, 1, 1, keep_z=True)


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="^unknown network 'dr_net': expected one of dr_unet, unet3d, vnet$"):
        build("dr_net", (8, 8, 8), 1, 1)
    with pytest.raises(InputError, match="^unknown join 'dot': expected one of multiply, concat, add$"):
        build_end_to_end((8, 8, 8), 1, 1, 1, join="dot")


# What is computed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_z", [False, True])
@pytest.mark.parametrize(
    ("network", "outputs", "options"),
    [
        ("dr_unet", 1, {}),
        ("dr_unet", 4, {"projection": True}),
        ("dr_unet", 4, {"bottleneck_norm": True}),
        ("unet3d", 4, {}),
        ("vnet", 4, {}),
        ("vnet", 1, {"kernel": 5}),
    ],
)
def test_inference_equals_plain_numpy(network, outputs, options, keep_z):
    shape = (16, 8, 11 if keep_z else 24)
    model = randomise(build(network, shape, outputs, 2, keep_z=keep_z, **options))
    image = plain_numpy.image(shape)
    twin_options = {name: value for name, value in options.items() if name != "kernel"}
    expected = plain_numpy.logits(network, model, image, keep_z, **twin_options)
    assert expected.std() > 0.05
    np.testing.assert_allclose(forward(model, image)[0], expected, rtol=0, atol=1e-4 * abs(expected).max())


def test_layers_are_those_of_the_twin():
    """A concatenation holds the block's input before its features; the bottleneck is fed by the last pooling."""
    model = randomise(build("dr_unet", (16, 8, 8), 1, 1))
    image = plain_numpy.image((16, 8, 8))
    expected = plain_numpy.run("dr_unet", model, image)
    names = ["res1", "res2", "res3", "pool1", "pool3", "bottleneck_d8", "bottleneck_sum", "up3", "up1", "features"]
    found = keras.Model(model.input, [model.get_layer(name).output for name in names])(image[None], training=False)
    for name, values in zip(names, found, strict=True):
        values = np.asarray(values)[0]
        np.testing.assert_allclose(values, expected[name], atol=1e-4 * abs(expected[name]).max(), err_msg=name)
    np.testing.assert_array_equal(np.asarray(found[0])[0, ..., :1], image)  # [image | features]


@pytest.mark.parametrize("normalised", [False, True])
def test_dilations_in_series_are_summed(normalised):
    """On a grid on which a dilation of 8 still finds neighbours along every axis."""
    image = keras.Input((12, 10, 9, 3))
    model = randomise(keras.Model(image, dilated(image, "deep", 2, BatchNormalization if normalised else None)))
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 4 * normalised
    x = plain_numpy.image((12, 10, 9), 3)
    found = forward(model, x)[0]
    expected, x = 0, x.astype(np.float64)
    for i, dilation in enumerate((1, 2, 4, 8)):
        layer = model.get_layer(f"deep_d{dilation}")
        x = plain_numpy.convolved(x, np.asarray(layer.kernel), np.asarray(layer.bias), dilation)
        if normalised:
            layer = norms[i]
            x = (x - layer.moving_mean) / np.sqrt(np.asarray(layer.moving_variance) + 1e-3) * layer.gamma + layer.beta
        x = np.maximum(x, 0)
        assert x.any()
        expected = expected + x
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_one_voxel_spreads_as_far_as_the_dilations_reach():
    """1 + 2 + 4 + 8 voxels along every axis."""
    image = keras.Input((33, 33, 33, 1))
    model = keras.Model(image, dilated(image, "deep", 1, False))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv3D):
            layer.kernel.assign(np.ones(layer.kernel.shape))
    x = np.zeros((33, 33, 33, 1), np.float32)
    x[16, 16, 16] = 1
    lit = np.argwhere(forward(model, x)[0, ..., 0] > 0)
    np.testing.assert_array_equal(lit.min(axis=0), [1, 1, 1])
    np.testing.assert_array_equal(lit.max(axis=0), [31, 31, 31])
    # at the centre: the voxel once in the first sum, then the paths of length zero of each further convolution
    assert forward(model, x)[0, 16, 16, 16, 0] >= 4


@pytest.mark.parametrize(
    ("layer", "fan_in"), [("enc1_2", 27 * 8), ("bottleneck_d4", 27 * 64), ("up3", 27 * 64), ("dec2_1", 27 * (16 + 16))]
)
def test_he_normal_initialisation(layer, fan_in):
    layer = build("dr_unet", (8, 8, 8), 1, 8).get_layer(layer)
    kernel = np.asarray(layer.kernel)
    assert kernel.std() == pytest.approx(np.sqrt(2 / fan_in), rel=0.05)
    assert abs(kernel.mean()) < 0.1 * kernel.std()
    np.testing.assert_array_equal(layer.bias, np.zeros(layer.filters))


@every_network
def test_normalisation_starts_as_identity(network):
    norms = [x for x in build(network, (8, 8, 8), 1, 1).layers if isinstance(x, keras.layers.BatchNormalization)]
    assert norms
    for layer in norms:
        assert (layer.momentum, layer.epsilon, layer.unbiased) == (0.99, 1e-3, False)
        for part, start in {"gamma": 1, "beta": 0, "moving_mean": 0, "moving_variance": 1}.items():
            assert (np.asarray(getattr(layer, part)) == start).all()


def test_logits_are_float32_in_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        models = [build(network, (8, 8, 8), 4, 1) for network in ("dr_unet", "unet3d", "vnet")]
        models.append(build_end_to_end((8, 8, 8), 4, 1, 1))
    finally:
        keras.config.set_dtype_policy(before)
    for model in models:
        assert forward(model, plain_numpy.image((8, 8, 8))).dtype == np.float32
    assert models[0].get_layer("features").output.dtype == "bfloat16"


# End-to-end -----------------------------------------------------------------------------------------------------------------


def joined(join, image, attention):
    return {
        "multiply": image * attention,
        "concat": np.concatenate([image, attention], axis=-1),
        "add": image + attention,
    }[join]


@every_join
@pytest.mark.parametrize("outputs", [1, 4])
def test_end_to_end_is_two_networks_in_a_row(join, outputs):
    model = randomise(build_end_to_end((16, 8, 3), outputs, 1, 2, join=join, keep_z=True))
    image = plain_numpy.image((16, 8, 3))
    located = plain_numpy.logits("dr_unet", model.get_layer("localiser"), image, keep_z=True)
    assert located.shape == (16, 8, 3, 1) and located.std() > 0.05
    seen = joined(join, image, plain_numpy.sigmoid(located))
    segmented = plain_numpy.logits("dr_unet", model.get_layer("segmenter"), seen, keep_z=True)
    assert segmented.shape == (16, 8, 3, outputs)
    found = forward(model, image)[0]
    assert model.output_shape == (None, 16, 8, 3, outputs + 1)
    np.testing.assert_allclose(found[..., :-1], segmented, atol=1e-4 * abs(segmented).max())
    np.testing.assert_allclose(found[..., -1:], located, atol=1e-4 * abs(located).max())
    np.testing.assert_allclose(found[..., -1:], forward(model.get_layer("localiser"), image)[0], rtol=1e-6)


@every_join
@pytest.mark.parametrize("certain", [-50, 50])
def test_a_certain_localiser_shuts_or_opens_the_way(join, certain):
    """Multiplied with an attention of 0 the segmenter sees nothing at all, with 1 the image itself."""
    model = randomise(build_end_to_end((8, 8, 8), 4, 1, 1, join=join))
    head = model.get_layer("localiser").get_layer("logits")
    head.kernel.assign(np.zeros(head.kernel.shape))
    head.bias.assign([certain])
    image = plain_numpy.image((8, 8, 8))
    seen = joined(join, image, np.full_like(image, certain > 0))
    segmenter = model.get_layer("segmenter")
    np.testing.assert_allclose(forward(model, image)[0, ..., :-1], forward(segmenter, seen)[0], rtol=1e-4, atol=1e-5)
    if join == "multiply" and certain < 0:
        assert not seen.any()
        np.testing.assert_allclose(forward(model, image), forward(model, 3 * image), rtol=1e-4, atol=1e-5)


def test_options_reach_both_networks_of_end_to_end():
    model = build_end_to_end((8, 8, 8), 1, 1, 1, projection=True, bottleneck_norm=True)
    for part in ("localiser", "segmenter"):
        assert model.get_layer(part).get_layer("res2_projection").filters == 2
        assert count(model.get_layer(part).non_trainable_variables) == 120
