"""The networks against the tables of their layers, their parameter counts, and their twins in NumPy."""

import keras
import numpy as np
import pytest

from shared.errors import InputError
from tests.dr_unet.plain_numpy import image, randomise
from tests.two_stage_unet import plain_numpy
from two_stage_unet.model import CentralSlice, build, share_inside

ANY = (None, None, None)
# network, width, classes, options, parameters
COUNTS = [
    ("net1", 16, 8, {}, 12_899_096),
    ("net1", 8, 8, {}, 3_225_552),
    ("net1", 32, 8, {}, 51_590_184),
    # the head of 16 filters and a bias lacks six outputs
    ("net1", 16, 2, {}, 12_899_096 - 6 * 17),
    # 128 -> 256 -> 256 with 125 taps, and 128 more filters into dec4 (256 instead of 128 from below)
    ("net1", 16, 8, {"bottleneck": True}, 12_899_096 + 125 * (128 + 256) * 256 + 2 * 256 + 125 * 128 * 128),
    ("net1", 16, 8, {"activation": "selu"}, 12_899_096),
    ("net2", 32, 8, {}, 11_236_680),
    ("net2", 16, 8, {}, 2_810_280),
    ("net2", 32, 8, {"slice_block": "single"}, 11_170_888),
    ("net2", 16, 8, {"slice_block": "single"}, 2_793_768),
    # seven further input channels into 27 taps of 32 filters
    ("net2", 32, 8, {"channels": 9}, 11_236_680 + 7 * 27 * 32),
    # nine taps and a bias for 32, 64, 128 and 256 filters
    ("net2", 32, 8, {"skips": "slice_conv"}, 11_236_680 + 9 * (32**2 + 64**2 + 128**2 + 256**2) + 32 + 64 + 128 + 256),
    ("unet3d", 32, 8, {}, 19_078_792),
    ("unet3d", 16, 8, {}, 4_773_192),
]
# (x, y, z, channels) of Net1 of width 16 for 96 x 96 x 96 voxels
NET1 = {
    "enc1_1": (96, 96, 96, 16), "enc1_2": (96, 96, 96, 16), "enc2_2": (48, 48, 48, 32), "enc3_2": (24, 24, 24, 64),
    "enc4_2": (12, 12, 12, 128), "pool4": (6, 6, 6, 128),
    "merge4": (12, 12, 12, 256), "dec4_2": (12, 12, 12, 128), "merge3": (24, 24, 24, 192), "dec3_2": (24, 24, 24, 64),
    "merge2": (48, 48, 48, 96), "dec2_2": (48, 48, 48, 32), "merge1": (96, 96, 96, 48), "dec1_2": (96, 96, 96, 16),
    "logits": (96, 96, 96, 8),
}  # fmt: skip
# (x, y[, z], channels) of Net2 of width 32 for 256 x 256 voxels and nine slices
NET2 = {
    "enc1_2": (256, 256, 9, 32), "enc2_2": (128, 128, 9, 64), "enc3_2": (64, 64, 9, 128), "enc4_2": (32, 32, 9, 256),
    "pool4": (16, 16, 9, 256), "slices_1": (16, 16, 2, 256), "slices_2": (16, 16, 1, 256), "slices_2d": (16, 16, 256),
    "merge4": (32, 32, 512), "dec4_2": (32, 32, 256), "merge3": (64, 64, 384), "dec3_2": (64, 64, 128),
    "merge2": (128, 128, 192), "dec2_2": (128, 128, 64), "merge1": (256, 256, 96), "dec1_2": (256, 256, 32),
    "logits": (256, 256, 8),
}  # fmt: skip
# (x, y, z, channels) of the 3D U-Net of width 32 for 128 x 128 x 128 voxels
UNET3D = {
    "enc1_1": (128, 128, 128, 32), "enc1_2": (128, 128, 128, 64), "enc2_1": (64, 64, 64, 64), "enc2_2": (64, 64, 64, 128),
    "enc3_1": (32, 32, 32, 128), "enc3_2": (32, 32, 32, 256), "bottleneck_1": (16, 16, 16, 256),
    "bottleneck_2": (16, 16, 16, 512),
    "merge3": (32, 32, 32, 768), "dec3_2": (32, 32, 32, 256), "merge2": (64, 64, 64, 384), "dec2_2": (64, 64, 64, 128),
    "merge1": (128, 128, 128, 192), "dec1_2": (128, 128, 128, 64), "logits": (128, 128, 128, 8),
}  # fmt: skip


def forward(model, *images):
    return np.asarray(model(np.stack(images), training=False))


# Size -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("network", "width", "classes", "options", "total"), COUNTS)
def test_parameters(network, width, classes, options, total):
    shape = (None, None, 9) if network == "net2" else ANY
    assert build(network, shape, classes, width, **options).count_params() == total


def test_both_networks_of_the_paper_have_24_million_parameters():
    assert build("net1", ANY, 8, 16).count_params() + build("net2", (None, None, 9), 8, 32).count_params() == 24_135_776


def test_net1_has_34_tensors():
    assert len(build("net1", ANY, 8, 1).trainable_variables) == 34  # kernel and bias of 8 x 2 convolutions and the head


@pytest.mark.parametrize("slices", [3, 5, 9, 11])
def test_a_slice_more_is_a_tap_more(slices):
    """Of 8 x 8 numbers (width 1) in the slice block, and of one for each skip where it is a convolution."""
    counts = [
        build("net2", (16, 16, k), 8, 1, slice_block=slice_block, skips=skips).count_params()
        for k in (slices, slices + 2)
        for slice_block in ("two_conv", "single")
        for skips in ("centre", "slice_conv")
    ]
    more = np.subtract(counts[4:], counts[:4])
    np.testing.assert_array_equal(more, [2 * 64, 2 * (64 + 1 + 4 + 16 + 64)] * 2)


@pytest.mark.parametrize(
    ("network", "width", "shape", "table"),
    [("net1", 16, (96, 96, 96), NET1), ("net2", 32, (256, 256, 9), NET2), ("unet3d", 32, (128, 128, 128), UNET3D)],
)
def test_extents_of_the_layers(network, width, shape, table):
    model = build(network, shape, 8, width)
    assert {name: tuple(model.get_layer(name).output.shape[1:]) for name in table} == table
    narrow = build(network, shape, 8, width // 4)
    expected = {name: (*s[:-1], 8 if name == "logits" else s[-1] // 4) for name, s in table.items()}
    assert {name: tuple(narrow.get_layer(name).output.shape[1:]) for name in table} == expected


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize(("network", "shape"), [("net1", (16, 32, 48)), ("unet3d", (8, 16, 24))])
def test_every_voxel_is_labelled(network, shape, width):
    images = [image(shape), image(shape, seed=2)]
    model = build(network, ANY, 8, width)
    found = forward(model, *images)
    assert found.shape == (2, *shape, 8) and found.dtype == np.float32
    np.testing.assert_allclose(found[1], forward(model, images[1])[0], rtol=1e-4, atol=1e-4)  # volumes do not mix


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("slice_block", ["two_conv", "single"])
@pytest.mark.parametrize("slices", [3, 5, 9])
def test_one_slice_of_a_stack_is_labelled(slices, slice_block, width):
    model = build("net2", (None, None, slices), 8, width, slice_block=slice_block)
    found = forward(model, image((16, 32, slices), 2), image((16, 32, slices), 2, seed=2))
    assert found.shape == (2, 16, 32, 8) and found.dtype == np.float32


def test_one_set_of_weights_takes_any_extent():
    """A network for any extent has the weights of one for a fixed extent, in the same order."""
    for network, shape, options in [
        ("net1", (32, 16, 16), {}),
        ("net2", (32, 16, 5), {"channels": 9}),
        ("unet3d", (16, 8, 8), {}),
    ]:
        free = randomise(build(network, (None, None, shape[2] if network == "net2" else None), 3, 1, **options))
        fixed = build(network, shape, 3, 1, **options)
        fixed.set_weights(free.get_weights())
        x = image(shape, free.input_shape[-1])
        np.testing.assert_array_equal(forward(fixed, x), forward(free, x))


# What is refused ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        ("net1", (96, 96, 100), "net1 takes extents of 16n x 16n x 16n, found 96 x 96 x 100"),
        ("net1", (0, 16, 16), "net1 takes extents of 16n x 16n x 16n, found 0 x 16 x 16"),
        ("net1", (None, None, 8), "net1 takes extents of 16n x 16n x 16n, found None x None x 8"),
        ("net1", (96, 96), "net1 takes extents of 16n x 16n x 16n, found 96 x 96"),
        ("net2", (250, 256, 9), "net2 takes extents of 16n x 16n x K, found 250 x 256 x 9"),
        ("net2", (256, 256, 0), "net2 takes extents of 16n x 16n x K, found 256 x 256 x 0"),
        ("net2", (256, 256, 8), "net2 labels the central one of K slices, K odd and at least 3, found 8"),
        ("net2", (256, 256, 1), "net2 labels the central one of K slices, K odd and at least 3, found 1"),
        ("net2", ANY, "net2 labels the central one of K slices, K odd and at least 3, found None"),
        ("unet3d", (12, 8, 8), "unet3d takes extents of 8n x 8n x 8n, found 12 x 8 x 8"),
        ("unet3d", (-8, 8, 8), "unet3d takes extents of 8n x 8n x 8n, found -8 x 8 x 8"),
    ],
)
def test_impossible_extents_are_refused(network, shape, message):
    with pytest.raises(InputError) as refusal:
        build(network, shape, 8, 1)
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        ("net3", {}, "unknown network 'net3': expected one of net1, net2, unet3d"),
        ("net1", {"activation": "tanh"}, "unknown activation 'tanh': expected one of relu, selu"),
        ("net2", {"activation": "elu"}, "unknown activation 'elu': expected one of relu, selu"),
        ("net2", {"slice_block": "three"}, "unknown slice_block 'three': expected one of two_conv, single"),
        ("net2", {"skips": "mean"}, "unknown skips 'mean': expected one of centre, slice_conv"),
        ("unet3d", {"normalisation": "layer"}, "unknown normalisation 'layer': expected one of none, batch, instance"),
    ],
)
def test_unknown_names_are_refused(network, options, message):
    with pytest.raises(InputError) as refusal:
        build(network, (16, 16, 9 if network == "net2" else 16), 8, 1, **options)
    assert str(refusal.value) == message


@pytest.mark.parametrize("network", ["net1", "net2", "unet3d"])
def test_one_class_is_refused(network):
    with pytest.raises(InputError, match=f"^{network} has at least 2 classes, background and one structure, found 1$"):
        build(network, (16, 16, 9), 1, 1)


# What is computed -----------------------------------------------------------------------------------------------------------


def close(found, expected):
    assert expected.std() > 0.05
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * abs(expected).max())


@pytest.mark.parametrize("options", [{}, {"bottleneck": True}, {"activation": "selu"}])
def test_net1_equals_plain_numpy(options):
    """Along x a dilation of 8 still finds neighbours in the coarsest of four maps (10 voxels)."""
    model, x = randomise(build("net1", (80, 16, 16), 3, 1, **options)), image((80, 16, 16))
    close(forward(model, x)[0], plain_numpy.net1(model, x, **options))


@pytest.mark.parametrize(
    ("slices", "options"),
    [
        (3, {}),
        (5, {"slice_block": "single"}),
        (5, {"skips": "slice_conv"}),
        (9, {}),
        (9, {"slice_block": "single", "skips": "slice_conv", "activation": "selu"}),
    ],
)
def test_net2_equals_plain_numpy(slices, options):
    model, x = randomise(build("net2", (32, 16, slices), 3, 2, **options)), image((32, 16, slices), 2)
    close(forward(model, x)[0], plain_numpy.net2(model, x, **options))


def test_unet3d_equals_plain_numpy():
    model, x = randomise(build("unet3d", (16, 8, 24), 3, 2)), image((16, 8, 24))
    close(forward(model, x)[0], plain_numpy.unet3d(model, x))


def test_instance_normalisation_needs_no_moving_statistics():
    batch, instance = (build("unet3d", ANY, 3, 2, normalisation=normalisation) for normalisation in ("batch", "instance"))
    assert len(instance.variables) == len(instance.trainable_variables) == len(batch.trainable_variables)
    x = image((8, 8, 8))
    np.testing.assert_allclose(
        np.asarray(instance(np.stack([x, 9 * x]), training=True))[1], forward(instance, 9 * x)[0], atol=2e-4
    )


@pytest.mark.parametrize("level", [1, 2, 3, 4])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_dilated_blocks_of_net1_reach_as_far_as_the_paper_says(level, axis):
    """Two 5-tap kernels of dilation d = 2n reach 4d voxels of their map either way, in steps of d."""
    model, d = build("net1", ANY, 8, 1), 2 * level
    layers = [model.get_layer(f"enc{level}_{i}") for i in (1, 2)]
    shape = [8 * d + 3 if i == axis else 1 for i in range(3)]  # a row of voxels
    x = keras.Input((*shape, layers[0].kernel.shape[3]))
    for layer in layers:
        layer.kernel.assign(np.ones(layer.kernel.shape))
    spot = np.zeros(x.shape[1:], np.float32)
    spot.reshape(8 * d + 3, -1)[4 * d + 1] = 1
    lit = forward(keras.Model(x, layers[1](layers[0](x))), spot)[0].reshape(8 * d + 3, -1)[:, 0]
    np.testing.assert_array_equal(np.flatnonzero(lit), np.arange(1, 8 * d + 2, d))


def test_a_kernel_of_enc4_spans_33_voxels():
    layer = build("net1", ANY, 8, 1).get_layer("enc4_1")
    assert layer.dilation_rate[0] * (layer.kernel_size[0] - 1) + 1 == 33


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_dilations_of_the_decoder_mirror_those_of_the_encoder(level):
    model = build("net1", ANY, 8, 1)
    for i in (1, 2):
        assert model.get_layer(f"dec{level}_{i}").dilation_rate == model.get_layer(f"enc{level}_{i}").dilation_rate


def changed_by(model, layer, slices):
    """Which slices of a stack the central slice of a layer's output depends on."""
    part = keras.Model(model.input, model.get_layer(layer).output)
    x = image((16, 16, slices), 2)
    before = forward(part, x)[0]
    found = []
    for z in range(slices):
        other = x.copy()
        other[:, :, z] += 1
        after = forward(part, other)[0]
        middle = (slice(None), slice(None), slices // 2) if before.ndim == 4 else ...
        if np.abs(after[middle] - before[middle]).max() > 1e-6:
            found.append(z)
    return found


def test_which_slices_are_seen():
    """A block of the encoder sees two slices further either way than the one before it; Net2 as a whole sees all K."""
    model = randomise(build("net2", (16, 16, 11), 3, 2))
    assert changed_by(model, "enc1_1", 11) == [4, 5, 6]
    assert changed_by(model, "enc1_2", 11) == [3, 4, 5, 6, 7]
    assert changed_by(model, "enc2_2", 11) == list(range(1, 10))
    assert changed_by(model, "enc3_2", 11) == changed_by(model, "logits", 11) == list(range(11))


def test_the_slice_block_alone_sees_every_slice():
    """Without the encoder's kernels along z: the first convolution sees all but one slice, the second both results."""
    for slice_block in ("two_conv", "single"):
        model = randomise(build("net2", (16, 16, 9), 3, 2, slice_block=slice_block))
        for level in (1, 2, 3, 4):
            for i in (1, 2):
                layer = model.get_layer(f"enc{level}_{i}")
                kernel = np.array(layer.kernel)
                kernel[:, :, [0, 2]] = 0
                layer.kernel.assign(kernel)
        assert changed_by(model, "enc4_2", 9) == [4]
        assert changed_by(model, "slices_2d", 9) == list(range(9))


@pytest.mark.parametrize(("slices", "central"), [(1, 0), (3, 1), (5, 2), (9, 4)])
def test_the_central_slice(slices, central):
    x = np.arange(2 * 2 * 2 * slices * 3, dtype=np.float32).reshape(2, 2, 2, slices, 3)
    np.testing.assert_array_equal(CentralSlice()(x), x[:, :, :, central])


# Training -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("network", "blocks"), [("net1", 8), ("net2", 9), ("unet3d", 0)])
@pytest.mark.parametrize("activation", ["relu", "selu"])
def test_every_block_ends_in_dropout(network, blocks, activation):
    """Four and four, and the slice block of Net2; none in the U-Net of Cicek."""
    options = {} if network == "unet3d" else {"activation": activation}
    model = build(network, (16, 16, 9 if network == "net2" else 16), 3, 1, **options)
    kind = {"relu": keras.layers.Dropout, "selu": keras.layers.AlphaDropout}[activation]
    dropouts = [layer for layer in model.layers if isinstance(layer, kind)]
    assert len(dropouts) == blocks and all(layer.rate == 0.2 for layer in dropouts)
    x = image(model.input_shape[1:4], model.input_shape[-1])
    assert (forward(model, x) == forward(model, x)).all()
    if blocks:
        assert not np.array_equal(model(x[None], training=True), forward(model, x))
        without = build(network, model.input_shape[1:4], 3, 1, dropout=0.0, **options)
        np.testing.assert_array_equal(without(x[None], training=True), forward(without, x))


@pytest.mark.parametrize(("network", "convolutions"), [("net1", 16), ("net2", 18)])
@pytest.mark.parametrize(("normalisation", "own"), [("none", 0), ("batch", 4), ("instance", 2)])
def test_normalisation_stands_between_each_convolution_and_its_activation(network, convolutions, normalisation, own):
    """The paper mentions none; a network with it has `own` numbers more for each filter."""
    shape, options = (16, 16, 9 if network == "net2" else 16), {"normalisation": normalisation}
    model, plain = build(network, shape, 3, 2, **options), build(network, shape, 3, 2)
    filters = [layer.filters for layer in model.layers if hasattr(layer, "kernel") and layer.name != "logits"]
    assert len(filters) == convolutions
    assert model.count_params() == plain.count_params() + own * sum(filters)
    names = [layer.name for layer in model.layers]
    for name in (name.removesuffix("_norm") for name in names if name.endswith("_norm")):
        place = names.index(name)
        assert names[place : place + 3] == [name, f"{name}_norm", f"{name}_relu"]


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2), ("selu", 1)])
def test_initial_weights(activation, gain):
    """He's variance for ReLU, LeCun's for SELU."""
    layer = build("net1", ANY, 8, 8, activation=activation).get_layer("dec3_1")
    kernel = np.asarray(layer.kernel)
    assert kernel.std() == pytest.approx(np.sqrt(gain / (125 * (64 + 32))), rel=0.02)
    np.testing.assert_array_equal(layer.bias, 0 * np.asarray(layer.bias))


def test_share_of_taps_inside_by_hand():
    """Of five taps 8 apart, a map of 12 voxels has the central one, and in 4 of 12 places each of its neighbours; a map of 8 the
    central one only, and one of 160 voxels nearly all."""
    assert share_inside((96, 96, 96), 4, 8) == pytest.approx(((1 + 2 * 4 / 12) / 5) ** 3)
    assert share_inside((64, 64, 64), 4, 8) == pytest.approx(1 / 125)
    assert share_inside((96, 64, 1280), 4, 8) == pytest.approx((5 / 3) / 5 * (1 / 5) * (1 + 2 * 152 / 160 + 2 * 144 / 160) / 5)
    assert share_inside((64, 64, 64), 1, 2) == pytest.approx(((1 + 2 * 62 / 64 + 2 * 60 / 64) / 5) ** 3)
    taps = np.arange(-2, 3) * 4
    counted = np.mean([np.sum((place + taps >= 0) & (place + taps < 24)) for place in range(24)]) / 5
    assert share_inside((48, 48, 48), 2, 4) == pytest.approx(counted**3)


def test_maps_of_all_levels_keep_their_size_where_the_extent_is_typical():
    """Standard deviation of the maps on the way down, against that of the first."""
    shape, x = (64, 32, 32), image((64, 32, 32))
    names = [f"enc{level}_2" for level in (1, 2, 3, 4)]
    spread = {}
    for typical in (None, shape):
        keras.utils.set_random_seed(0)
        model = build("net1", ANY, 3, 4, typical=typical)
        maps = keras.Model(model.input, [model.get_layer(name).output for name in names])(x[None], training=False)
        spread[typical] = [float(np.std(np.asarray(values))) for values in maps]
    assert spread[None][3] < 0.02 * spread[None][0]
    assert all(0.2 < each / spread[shape][0] < 5 for each in spread[shape])


def test_logits_are_float32_in_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        models = [build(network, (16, 16, 9 if network == "net2" else 16), 8, 1) for network in ("net1", "net2", "unet3d")]
    finally:
        keras.config.set_dtype_policy(before)
    for model in models:
        assert forward(model, image(model.input_shape[1:4], model.input_shape[-1])).dtype == np.float32
        assert model.get_layer("enc1_2").output.dtype == "bfloat16"
