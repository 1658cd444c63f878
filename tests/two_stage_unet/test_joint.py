"""The soft region by hand, its way onto the fine grid against SciPy's, and what trains what where both networks are one graph."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from shared.errors import InputError
from tests.dr_unet.plain_numpy import randomise
from two_stage_unet.joint import PerCube, Seen, SoftRegion, build_joint, channels_of, hats, resampled, soft_region
from two_stage_unet.losses import ForegroundDice, MulticlassDice
from two_stage_unet.model import build

CLASSES, K = 3, 5
every_region = pytest.mark.parametrize("region", ["foreground", "expected_label", "softmax"])
takes_gradient = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes TensorFlow's gradient")
needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="the jax extra is not installed")


def networks(region="foreground", width=2, seed=0):
    net1 = randomise(build("net1", (None, None, None), CLASSES, width), seed)
    net2 = build("net2", (None, None, K), CLASSES, width, channels=channels_of(region, CLASSES) + 1)
    return net1, randomise(net2, seed + 1)


def inputs(cubes=2, stacks=3, seed=0):
    """Cubes of 32 x 16 x 16 voxels, and stacks of 16 x 32 x K voxels of a half and a third of their size."""
    rng = np.random.default_rng(seed)
    offset, step = rng.uniform(0, 8, (cubes, stacks, 3, 1)), np.broadcast_to([[0.5], [0.5], [1 / 3]], (cubes, stacks, 3, 1))
    return {
        "cube": rng.normal(size=(cubes, 32, 16, 16, 1)).astype(np.float32),
        "stacks": rng.normal(size=(cubes, stacks, 16, 32, K, 1)).astype(np.float32),
        "grid": np.concatenate([offset, step], axis=-1).astype(np.float32),
    }


def labels(cubes=2, stacks=3, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"net1": (cubes, 32, 16, 16), "net2": (cubes, stacks, 16, 32)}
    return {name: rng.integers(0, CLASSES, shape).astype(np.uint8) for name, shape in shapes.items()}


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


# The soft region ------------------------------------------------------------------------------------------------------------


def test_soft_region_by_hand():
    """Probabilities 1/2, 1/8, 3/8 of the labels 0, 1, 2: half is not background, and the mean label is 7/8 of at most 2."""
    logits = (np.log([0.5, 0.125, 0.375]) + 7).reshape(1, 1, 1, 1, 3).astype(np.float32)
    expected = {"foreground": [2 * 0.5 - 1], "expected_label": [2 * 7 / 16 - 1], "softmax": [0, -0.75, -0.25]}
    for region, values in expected.items():
        found = np.asarray(soft_region(logits, region))
        assert found.shape == (1, 1, 1, 1, channels_of(region, 3))
        np.testing.assert_allclose(found.ravel(), values, atol=1e-6)


@every_region
def test_soft_region_of_a_network_that_is_sure(region):
    found = np.asarray(soft_region(100 * np.eye(8, dtype=np.float32), region))
    expected = {
        "foreground": np.array([-1, 1, 1, 1, 1, 1, 1, 1])[:, None],
        "expected_label": (2 * np.arange(8) / 7 - 1)[:, None],
        "softmax": 2 * np.eye(8) - 1,
    }
    np.testing.assert_allclose(found, expected[region], atol=1e-6)


def test_channels():
    assert [channels_of(region, 8) for region in ("foreground", "expected_label", "softmax")] == [1, 1, 8]
    with pytest.raises(InputError, match="^unknown region 'hard': expected one of foreground, expected_label, softmax$"):
        channels_of("hard", 8)


# Onto the fine grid ---------------------------------------------------------------------------------------------------------


def test_hats_by_hand():
    """Places -1/2, 1/4, 1 and 7/4 between two voxels: the first and the last lie outside."""
    found = np.asarray(hats(np.array([[[-0.5, 0.75]]], np.float32), 2, 4))
    np.testing.assert_allclose(found, [[[[1, 0], [0.75, 0.25], [0, 1], [0, 1]]]], atol=1e-6)


def test_resampled_onto_its_own_grid_is_the_same():
    volumes = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 2)).astype(np.float32)
    grid = np.broadcast_to(np.float32([0, 1]), (2, 1, 3, 2))
    np.testing.assert_array_equal(np.asarray(resampled(volumes, grid, (3, 4, 5)))[:, 0], volumes)
    # the same, mirrored along y
    mirrored = grid.copy()
    mirrored[:, :, 1] = [3, -1]
    np.testing.assert_array_equal(np.asarray(resampled(volumes, mirrored, (3, 4, 5)))[:, 0], volumes[:, :, ::-1])


def test_resampled_keeps_what_is_linear():
    i, j, k = np.indices((6, 7, 8))
    volume = (1 + 2 * i - 3 * j + 0.5 * k)[None, ..., None].astype(np.float32)
    grid = np.float32([[[[0.25, 0.5], [1, 1.5], [6.5, -0.75]]]])
    x, y, z = np.indices((4, 3, 5))
    expected = 1 + 2 * (0.25 + 0.5 * x) - 3 * (1 + 1.5 * y) + 0.5 * (6.5 - 0.75 * z)
    np.testing.assert_allclose(np.asarray(resampled(volume, grid, (4, 3, 5)))[0, 0, ..., 0], expected, atol=1e-5)


def test_resampled_equals_scipy():
    """Each cube onto its own grids, some of which begin and end outside."""
    rng = np.random.default_rng(1)
    volumes = rng.normal(size=(2, 5, 6, 7, 2)).astype(np.float32)
    grid = np.stack([rng.uniform(-2, 3, (2, 4, 3)), rng.uniform(-0.4, 0.8, (2, 4, 3))], axis=-1).astype(np.float32)
    shape = (8, 9, 3)
    found = np.asarray(resampled(volumes, grid, shape))
    assert found.shape == (2, 4, *shape, 2)
    for cube, stack, channel in np.ndindex(2, 4, 2):
        offset, step = grid[cube, stack].T
        places = np.moveaxis(np.moveaxis(np.indices(shape), 0, -1) * step + offset, -1, 0)
        expected = ndimage.map_coordinates(volumes[cube, ..., channel], places, order=1, mode="nearest")
        np.testing.assert_allclose(found[cube, stack, ..., channel], expected, atol=1e-5)


# Both networks --------------------------------------------------------------------------------------------------------------


@every_region
def test_joint_is_two_networks_in_a_row(region):
    net1, net2 = networks(region)
    given = inputs()
    found = build_joint(net1, net2, region)(given, training=False)
    assert {name: tuple(values.shape) for name, values in found.items()} == {
        "net1": (2, 32, 16, 16, CLASSES),
        "net2": (2, 3, 16, 32, CLASSES),
    }
    coarse = np.asarray(net1(given["cube"], training=False))
    np.testing.assert_array_equal(found["net1"], coarse)
    p = softmax(coarse)
    shares = {"foreground": 1 - p[..., :1], "expected_label": (p[..., 1:2] + 2 * p[..., 2:]) / 2, "softmax": p}[region]
    for cube, stack in np.ndindex(2, 3):
        offset, step = given["grid"][cube, stack].T
        places = np.moveaxis(np.moveaxis(np.indices((16, 32, K)), 0, -1) * step + offset, -1, 0)
        channels = [
            2 * ndimage.map_coordinates(share, places, order=1, mode="nearest") - 1 for share in np.moveaxis(shares[cube], -1, 0)
        ]
        seen = np.concatenate([np.stack(channels, axis=-1), given["stacks"][cube, stack]], axis=-1)
        expected = np.asarray(net2(seen[None].astype(np.float32), training=False))[0]
        np.testing.assert_allclose(np.asarray(found["net2"])[cube, stack], expected, atol=1e-4 * abs(expected).max())


def test_one_joint_network_takes_any_extent_and_number_of_stacks():
    joint = build_joint(*networks())
    for cubes, stacks, edge in [(1, 4, 32), (2, 1, 16)]:
        given = {
            "cube": np.zeros((cubes, edge, 16, 16, 1), np.float32),
            "stacks": np.zeros((cubes, stacks, 16, edge, K, 1), np.float32),
            "grid": np.ones((cubes, stacks, 3, 2), np.float32),
        }
        found = joint(given)
        assert tuple(found["net2"].shape) == (cubes, stacks, 16, edge, CLASSES)


def test_a_net2_of_other_channels_is_refused():
    net1, net2 = networks("foreground", width=1)
    with pytest.raises(InputError, match="^net2 has 2 input channels: expected 4, for the region 'softmax' and the image$"):
        build_joint(net1, net2, "softmax")
    with pytest.raises(InputError, match="^unknown region 'hard': expected one of foreground, expected_label, softmax$"):
        build_joint(net1, net2, "hard")


def slopes(joint, output):
    """Network -> gradient of the loss of one output for each of its variables, None where nothing arrives."""
    import tensorflow as tf

    loss = MulticlassDice([1 / CLASSES] * CLASSES, 1.0)
    with tf.GradientTape() as tape:
        value = loss(labels()[output], joint(inputs(), training=False)[output])
    variables = {name: [v.value for v in joint.get_layer(name).trainable_variables] for name in ("net1", "net2")}
    return tape.gradient(value, variables)


@takes_gradient
@every_region
def test_the_fine_loss_reaches_every_tensor_of_both_networks(region):
    found = slopes(build_joint(*networks(region), region), "net2")
    assert {name: len(arrays) for name, arrays in found.items()} == {"net1": 34, "net2": 38}
    for slope in found["net1"] + found["net2"]:
        assert np.abs(slope).max() > 0


@takes_gradient
def test_the_coarse_loss_leaves_net2_alone():
    found = slopes(build_joint(*networks()), "net1")
    assert all(slope is None for slope in found["net2"])
    assert all(np.abs(slope).max() > 0 for slope in found["net1"])


@takes_gradient
def test_the_gradient_through_the_region_is_that_of_differences():
    """Along a random direction of Net1's logits, half a step ahead and half a step behind."""
    import tensorflow as tf

    rng = np.random.default_rng(3)
    logits, grid = rng.normal(size=(1, 4, 4, 4, CLASSES)), inputs(1)["grid"] / 4
    weights = rng.normal(size=(1, 3, 5, 6, 2, 1)).astype(np.float32)

    def total(logits):
        return ops.sum(weights * resampled(soft_region(logits, "foreground"), grid, (5, 6, 2)))

    variable, direction = tf.Variable(logits.astype(np.float32)), rng.normal(size=logits.shape)
    with tf.GradientTape() as tape:
        value = total(variable)
    slope = np.sum(np.asarray(tape.gradient(value, variable)) * direction)
    ahead, behind = (float(total((logits + s * direction).astype(np.float32))) for s in (1e-2, -1e-2))
    assert slope == pytest.approx((ahead - behind) / 2e-2, rel=1e-2)


def test_one_loss_for_both_outputs_is_the_sum():
    joint, loss = build_joint(*networks(width=1)), MulticlassDice([0.2, 0.3, 0.5], 1.0)
    joint.compile("sgd", loss, run_eagerly=True)
    given, wanted = inputs(), labels()
    outputs = joint(given, training=False)
    expected = [float(loss(wanted[name], outputs[name])) for name in ("net1", "net2")]
    total, *parts = joint.test_on_batch(given, wanted)
    assert total == pytest.approx(sum(expected), rel=1e-5)
    assert sorted(parts) == pytest.approx(sorted(expected), rel=1e-5)


@pytest.mark.parametrize(("frozen", "moved"), [((), {"net1", "net2"}), (("net1",), {"net2"}), (("net2",), {"net1"})])
def test_frozen_networks_do_not_move(frozen, moved):
    joint = build_joint(*networks())
    for name in frozen:
        joint.get_layer(name).trainable = False
    before = {name: joint.get_layer(name).get_weights() for name in ("net1", "net2")}
    joint.compile(keras.optimizers.Adam(1e-2), MulticlassDice([1 / CLASSES] * CLASSES, 1.0), run_eagerly=True)
    joint.train_on_batch(inputs(), labels())
    for name, weights in before.items():
        same = [np.array_equal(a, b) for a, b in zip(weights, joint.get_layer(name).get_weights(), strict=True)]
        assert not any(same) if name in moved else all(same)


def test_networks_of_a_joint_network_are_saved_and_loaded_alone(tmp_path):
    joint = build_joint(*networks(seed=5))
    for name, shape in [("net1", (1, 16, 16, 16, 1)), ("net2", (1, 16, 16, K, 2))]:
        path = tmp_path / f"{name}.weights.h5"
        joint.get_layer(name).save_weights(path)
        alone = networks(seed=9)[name == "net2"]
        alone.load_weights(path)
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        np.testing.assert_array_equal(alone(x, training=False), joint.get_layer(name)(x, training=False))


def test_places_are_exact_in_mixed_precision():
    """In bfloat16, place 100.3 would be 100.5."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        joint = build_joint(*networks(width=1))
    finally:
        keras.config.set_dtype_policy(before)
    seen = keras.Model(joint.input, joint.get_layer("seen").output)
    given = inputs()
    given["stacks"] = given["stacks"] + 100.3
    found = seen(given, training=False)
    assert found.dtype == joint.get_layer("seen").compute_dtype == "float32"
    np.testing.assert_array_equal(np.asarray(found)[..., 1:], given["stacks"].reshape(-1, 16, 32, K, 1))
    assert joint(given)["net2"].dtype == "float32"


UNDER_JAX = """
import sys
for name in ("tensorflow", "tensorboard"):
    sys.modules[name] = None
import keras
import numpy as np
from tests.two_stage_unet import test_joint
assert keras.backend.backend() == "jax"
np.savez(sys.argv[1], **getattr(test_joint, sys.argv[2])())
"""


def same_under_jax(function, path):
    """The arrays of a function of this module, computed under JAX on a machine without TensorFlow, are those of this backend."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", UNDER_JAX, str(path), function.__name__], check=True,
                   env={**os.environ, "KERAS_BACKEND": "jax"})  # fmt: skip
    with np.load(path) as found:
        for name, values in function().items():
            np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-4 * np.abs(values).max(), err_msg=name)


def between_the_networks():
    """What the layers between Net1 and Net2 give for numbers, and for inputs of any extent; and the losses."""
    given, rng = inputs(), np.random.default_rng(0)
    logits = rng.normal(size=(2, 32, 16, 16, CLASSES)).astype(np.float32)
    seen = Seen()([SoftRegion("foreground")(logits), given["stacks"], given["grid"]])
    fine = PerCube()([seen, given["stacks"]])
    symbols = [keras.Input(shape) for shape in [(None, None, None, CLASSES), (None, None, None, K, 1), (None, 3, 2)]]
    region = SoftRegion("softmax")(symbols[0])
    assert Seen()([region, *symbols[1:]]).shape == (None, None, None, K, CLASSES + 1)
    losses = [MulticlassDice([0.2, 0.3, 0.5], 1.0), ForegroundDice(1.0), ForegroundDice(1.0, as_printed=True)]
    values = np.array([float(loss(labels()["net1"], logits)) for loss in losses])
    return {"seen": np.asarray(seen), "fine": np.asarray(fine), "losses": values}


def trained_together():
    """Logits of both networks, and the losses of three steps."""
    joint = build_joint(*networks())
    found = {name: np.asarray(values) for name, values in joint(inputs(), training=False).items()}
    for name in ("net1", "net2"):
        for layer in joint.get_layer(name).layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0  # backends draw different numbers
    joint.compile("sgd", MulticlassDice([1 / CLASSES] * CLASSES, 1.0))
    return found | {"losses": np.array([joint.train_on_batch(inputs(), labels())[0] for _ in range(3)])}


@needs_jax
def test_the_way_between_the_networks_under_jax(tmp_path):
    same_under_jax(between_the_networks, tmp_path / "found.npz")


@needs_jax
@pytest.mark.slow
def test_training_under_jax(tmp_path):
    same_under_jax(trained_together, tmp_path / "found.npz")
