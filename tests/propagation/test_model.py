"""The two networks: parameters, shapes, who sees what, and noise in training only."""

import keras
import numpy as np
import pytest

from propagation.model import ImpulseNoise, build_initialization, build_propagation
from propagation.recipe import PROPAGATION
from shared.errors import InputError

OPTIONS = {"kernel": 3, "slope": 0.25, "normalisation": "batch", "gaussian_noise": 0.1, "impulse_noise": 0.01}
SMALL = {"initialization": ((2, 1, 1), (4, 3, 2)), "propagation": ((2, 1), (4, 3))}
BUILD = {"initialization": build_initialization, "propagation": build_propagation}

every_network = pytest.mark.parametrize("network", BUILD)


def small(network, size=16, **options):
    groups, channels = SMALL[network]
    return BUILD[network](size, groups, channels, **OPTIONS | options)


def subnet(groups, kernel, inputs, channels, masks):
    """Parameters by hand: convolutions with bias, four numbers a channel of batch norm, the 1x1 convolution."""
    first = kernel**2 * inputs * channels + channels + 4 * channels
    more = (groups - 1) * (kernel**2 * channels**2 + channels + 4 * channels)
    return first + more + channels * masks + masks


def test_parameters_of_the_paper_preset():
    options = {
        name: getattr(PROPAGATION, name) for name in ("kernel", "slope", "normalisation", "gaussian_noise", "impulse_noise")
    }
    first = build_initialization(128, PROPAGATION.initialization_groups, PROPAGATION.initialization_channels, **options)
    second = build_propagation(128, PROPAGATION.propagation_groups, PROPAGATION.propagation_channels, **options)
    assert first.count_params() == 1_034_147 == subnet(8, 5, 1, 64, 1) + subnet(5, 5, 2, 48, 1) + subnet(4, 5, 2, 32, 1)
    assert second.count_params() == 973_016 == subnet(8, 5, 6, 64, 4) + subnet(5, 5, 10, 48, 4)
    assert first.output.shape == (None, 128, 128, 3) and second.output.shape == (None, 128, 128, 8)
    assert {layer.negative_slope for layer in first.layers if isinstance(layer, keras.layers.LeakyReLU)} == {0.25}


@every_network
def test_coarse_masks_repeat_their_pixels(network):
    model = small(network)
    masks = 1 if network == "initialization" else 4
    inputs = np.random.default_rng(0).normal(size=(2, 16, 16, model.input.shape[-1])).astype(np.float32)
    found = np.asarray(model(inputs, training=False))
    assert found.shape == (2, 16, 16, masks * len(SMALL[network][0])) and (found > 0).all() and (found < 1).all()
    for scale in range(1, len(SMALL[network][0])):
        coarse, step = found[..., scale * masks : (scale + 1) * masks], 2**scale
        np.testing.assert_array_equal(coarse, np.repeat(np.repeat(coarse[:, ::step, ::step], step, 1), step, 2))
        assert np.ptp(coarse) > 0
    assert np.abs(found[:, ::2, ::2, :masks] - found[:, 1::2, 1::2, :masks]).max() > 1e-4


@every_network
def test_the_finest_mask_hangs_on_the_coarser_ones(network):
    model = small(network)
    inputs = np.random.default_rng(0).normal(size=(1, 16, 16, model.input.shape[-1])).astype(np.float32)
    masks = 1 if network == "initialization" else 4
    before = np.asarray(model(inputs))
    coarse = model.get_layer("coarse")  # its sigmoid
    coarse.set_weights([weights + 1 for weights in coarse.get_weights()])
    after = np.asarray(model(inputs))
    assert np.abs(after - before)[..., :masks].max() > 1e-6 and np.abs(after - before)[..., masks : 2 * masks].max() > 1e-3
    np.testing.assert_array_equal(after[..., 2 * masks :], before[..., 2 * masks :])


@every_network
def test_noise_in_training_only(network):
    model = small(network, normalisation="instance")
    inputs = np.random.default_rng(0).normal(size=(1, 16, 16, model.input.shape[-1])).astype(np.float32)
    still = np.asarray(model(inputs, training=False))
    np.testing.assert_array_equal(still, np.asarray(model(inputs, training=False)))
    assert np.abs(np.asarray(model(inputs, training=True)) - still).max() > 1e-4
    quiet = small(network, normalisation="instance", gaussian_noise=0.0, impulse_noise=0.0)
    quiet.set_weights([w for w, v in zip(model.get_weights(), model.weights, strict=True)])
    np.testing.assert_allclose(np.asarray(quiet(inputs, training=True)), still, atol=1e-5)


def test_no_noise_on_the_mask():
    model = small("propagation", gaussian_noise=1.0, impulse_noise=0.5)
    inputs = np.random.default_rng(0).normal(size=(1, 16, 16, 6)).astype(np.float32)
    seen = keras.Model(model.input, model.get_layer("noisy").output)
    noisy = np.asarray(seen(inputs, training=True))
    np.testing.assert_array_equal(noisy[..., 5], inputs[..., 1])
    assert (np.abs(noisy[..., :5] - inputs[..., [0, 2, 3, 4, 5]]).mean(axis=(0, 1, 2)) > 0.5).all()
    np.testing.assert_array_equal(np.asarray(seen(inputs, training=False))[..., :5], inputs[..., [0, 2, 3, 4, 5]])


def test_pepper_and_salt_are_the_extremes_of_their_slice():
    layer = ImpulseNoise(0.2, seed=1)
    inputs = np.random.default_rng(0).uniform(-1, 1, (2, 100, 100, 2)).astype(np.float32)
    noisy = np.asarray(layer(inputs, training=True))
    changed = noisy != inputs
    for example in range(2):
        for channel in range(2):
            values = noisy[example, ..., channel][changed[example, ..., channel]]
            low, high = inputs[example, ..., channel].min(), inputs[example, ..., channel].max()
            assert set(np.unique(values)) == {low, high}
            assert abs((values == low).sum() - 1000) < 150 and abs((values == high).sum() - 1000) < 150
    np.testing.assert_array_equal(np.asarray(layer(inputs, training=False)), inputs)


@pytest.mark.parametrize(
    ("network", "size", "groups", "message"),
    [
        ("initialization", 18, (1, 1, 1), "slices of 4n x 4n, found 18 x 18"),
        ("propagation", 15, (1, 1), "slices of 2n x 2n, found 15 x 15"),
        ("initialization", 16, (1, 1), "has 3 sub-networks, found groups"),
    ],
)
def test_sizes_that_do_not_fit(network, size, groups, message):
    with pytest.raises(InputError, match=message):
        BUILD[network](size, groups, tuple(2 for _ in groups), **OPTIONS)


def test_an_unknown_normalisation():
    with pytest.raises(InputError, match="unknown normalisation 'group'"):
        small("propagation", normalisation="group")
