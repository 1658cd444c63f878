"""Transforms of samples: what they move where, image and labels alike, and slices that stay in their place."""

import keras
import numpy as np
import pytest

from two_stage_unet import augmentation
from two_stage_unet.recipe import TWO_STAGE
from two_stage_unet.sampling import AIR, place

STILL = augmentation.switched_off(TWO_STAGE)


def parameters(recipe, planar=False, samples=1, seed=0):
    return {name: value[None] for name, value in augmentation.draw(np.random.default_rng(seed), recipe, samples, planar).items()}


def example(shape=(12, 10, 8), spacing_mm=(2.0, 2.0, 2.0)):
    """An image of random blobs, smooth enough to be interpolated, and its label: what is bright."""
    image = np.zeros(shape, np.float32)
    image[3:8, 2:7, 2:6] = 1.0
    where = {name: value[None, None] for name, value in place(shape, spacing_mm).items()}
    return {"image": image[None, None, ..., None], **where}, (image > 0.5).astype(np.uint8)[None, None]


def test_without_transforms_nothing_moves():
    inputs, labels = example()
    image, label = augmentation.cubes(inputs, labels, parameters(STILL))
    np.testing.assert_allclose(np.asarray(image), inputs["image"][0], atol=1e-5)
    np.testing.assert_array_equal(np.asarray(label), labels[0])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_flip_mirrors_about_the_middle(axis):
    inputs, labels = example()
    chosen = parameters(STILL)
    chosen["matrix"][0, 0, axis] *= -1
    image, label = augmentation.cubes(inputs, labels, chosen)
    np.testing.assert_allclose(np.asarray(image)[0, ..., 0], np.flip(inputs["image"][0, 0, ..., 0], axis), atol=1e-5)
    np.testing.assert_array_equal(np.asarray(label)[0], np.flip(labels[0, 0], axis))


def test_a_shift_is_a_share_of_the_extent_and_air_enters():
    inputs, labels = example()
    chosen = parameters(STILL)
    chosen["shift"][0, 0] = [2 / 11, 0, 0]  # 11 steps of 2 mm from the first voxel to the last: two voxels
    image, label = augmentation.cubes(inputs, labels, chosen)
    np.testing.assert_allclose(np.asarray(image)[0, :10, ..., 0], inputs["image"][0, 0, 2:, ..., 0], atol=1e-4)
    assert (np.asarray(image)[0, 10:] == AIR).all() and (np.asarray(label)[0, 10:] == 0).all()


def test_a_quarter_turn_about_z_of_anisotropic_voxels():
    inputs, labels = example((9, 9, 4), (1.0, 1.0, 5.0))
    chosen = parameters(STILL)
    chosen["matrix"][0, 0] = augmentation.turned(0, 1, np.pi / 2)
    image, _ = augmentation.cubes(inputs, labels, chosen)
    np.testing.assert_allclose(np.asarray(image)[0, ..., 0], np.rot90(inputs["image"][0, 0, ..., 0], -1, (0, 1)), atol=1e-4)


def test_planar_transforms_leave_every_slice_where_it_is():
    for seed in range(30):
        drawn = augmentation.draw(np.random.default_rng(seed), TWO_STAGE, 4, planar=True)
        np.testing.assert_array_equal(drawn["matrix"][:, 2], [[0, 0, 1]] * 4)
        np.testing.assert_array_equal(drawn["matrix"][:, :2, 2], np.zeros((4, 2)))
        assert (drawn["shift"][:, 2] == 0).all() and (drawn["nodes"][..., 2] == 0).all()
        np.testing.assert_array_equal(drawn["nodes"], np.broadcast_to(drawn["nodes"][:, :, :, :1], drawn["nodes"].shape))


def test_ranges_are_those_of_the_recipe():
    drawn = augmentation.draw(
        np.random.default_rng(0), augmentation.replace(TWO_STAGE, shear_deg=0.0, flip=False), 500, planar=True
    )
    scale = np.sqrt(np.linalg.det(drawn["matrix"][:, :2, :2]))
    angle = np.rad2deg(np.arctan2(drawn["matrix"][:, 1, 0], drawn["matrix"][:, 0, 0]))
    assert 1 / 1.1 <= scale.min() < 0.93 and 1.08 < scale.max() <= 1 / 0.9
    assert -10 <= angle.min() < -9 and 9 < angle.max() <= 10
    assert np.abs(drawn["shift"]).max() <= 0.1 and 4.9 < drawn["nodes"][..., :2].std() < 5.1


def test_gamma_changes_the_grey_values_and_neither_the_labels_nor_the_soft_region():
    """(0.5 + 1) / 2 = 0.75 squared is 0.5625, which is 0.125 on the scale from -1 to 1; the darkest and the brightest stay."""
    inputs, labels = example()
    chosen = parameters(STILL) | {"gamma": np.array([[2.0]], np.float32)}
    inputs["image"] = inputs["image"] * 1.5 - 1.0  # -1 and 0.5
    image, label = augmentation.cubes(inputs, labels, chosen)
    np.testing.assert_allclose(np.unique(np.asarray(image).round(5)), [-1, 0.125], atol=1e-5)
    np.testing.assert_array_equal(np.asarray(label), labels[0])
    both = np.stack([inputs["image"][..., 0], inputs["image"][..., 0]], axis=-1)  # a region, then the image
    image, _ = augmentation.stacks({**inputs, "image": both}, labels[..., 4], chosen)
    np.testing.assert_allclose(np.unique(np.asarray(image)[..., 0].round(5)), [-1, 0.5], atol=1e-5)
    np.testing.assert_allclose(np.unique(np.asarray(image)[..., 1].round(5)), [-1, 0.125], atol=1e-5)


def test_exponents_are_as_often_below_one_as_above():
    recipe = augmentation.replace(TWO_STAGE, gamma=(0.5, 2.0))
    drawn = augmentation.draw(np.random.default_rng(0), recipe, 500, planar=True)["gamma"]
    assert 0.5 <= drawn.min() < 0.51 and 1.95 < drawn.max() <= 2 and 0.45 < (drawn < 1).mean() < 0.55
    assert (augmentation.draw(np.random.default_rng(0), TWO_STAGE, 5, planar=False)["gamma"] == 1).all()


def test_image_and_labels_move_alike_and_labels_keep_their_values():
    inputs, labels = example((24, 24, 24))
    labels = np.where(labels == 1, 3, np.where(inputs["image"][..., 0] < -2, 1, 255)).astype(np.uint8)
    image, label = augmentation.cubes(inputs, labels, parameters(TWO_STAGE, seed=4))
    assert set(np.unique(np.asarray(label))) <= {0, 3, 255}
    agree = (np.asarray(image)[0, ..., 0] > 0.5) == (np.asarray(label)[0] == 3)
    assert agree.mean() > 0.995 and (np.asarray(label) == 3).sum() > 20


@pytest.mark.parametrize(("elastic_mm", "off_mm"), [(0.0, 1e-3), (2.0, 0.1)])  # a field bends between the coarse voxels
def test_stacks_and_the_cube_about_them_move_by_one_transform(elastic_mm, off_mm):
    """A coarse ramp and fine stacks cut from the same ramp are the same ramp after any planar transform."""
    shape, ratio, offset = (16, 16, 8), 0.5, np.array([4.0, 4.0, 3.0])
    where = place(shape, (2.0, 2.0, 2.0))
    mm = [where["origin"][a] + where["step"][a] * np.arange(shape[a]) for a in range(3)]
    cube = (mm[0][:, None, None] + 3 * mm[1][None, :, None] + 0 * mm[2][None, None]).astype(np.float32) / 64
    start, step = where["origin"] + 2.0 * offset, np.full(3, 2.0 * ratio, np.float32)
    fine = (start[0] + step[0] * np.arange(12))[:, None, None] + 3 * (start[1] + step[1] * np.arange(12))[None, :, None]
    stacks = np.repeat(fine, 3, axis=2).astype(np.float32)[None, None, None, ..., None] / 64
    inputs = {"image": cube[None, None, ..., None], "stacks": stacks, "grid": np.zeros((1, 1, 1, 3, 2), np.float32),
              "origin": where["origin"][None, None], "step": where["step"][None, None],
              "stack_origin": start.astype(np.float32)[None, None, None], "stack_step": step[None, None, None]}  # fmt: skip
    labels = {"net1": np.zeros((1, 1, *shape), np.uint8), "net2": np.zeros((1, 1, 1, 12, 12), np.uint8)}
    gentle = augmentation.replace(TWO_STAGE, translation=0.0, elastic_mm=elastic_mm)
    moved, _ = augmentation.joint(inputs, labels, parameters(gentle, planar=True, seed=2))
    coarse, seen = np.asarray(moved["cube"])[0, ..., 0], np.asarray(moved["stacks"])[0, 0, ..., 1, 0]
    for i, j in ((5, 5), (3, 6), (6, 2)):
        at = offset[:2] + ratio * np.array([i, j])
        low = np.floor(at).astype(int)
        f = at - low
        square = coarse[low[0] : low[0] + 2, low[1] : low[1] + 2, 4]
        expected = np.array([1 - f[0], f[0]]) @ square @ np.array([1 - f[1], f[1]])
        assert seen[i, j] == pytest.approx(expected, abs=off_mm / 64)


def test_spline_weights_sum_to_one_and_are_symmetric():
    weights = keras.ops.convert_to_numpy(augmentation.smooth(np.linspace(0, 1, 22, dtype=np.float32), 4))
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(weights, weights[::-1, ::-1], atol=1e-6)
    np.testing.assert_allclose(weights[7], [1 / 6, 2 / 3, 1 / 6, 0], atol=1e-6)  # at the second node
    np.testing.assert_allclose(weights[0], [0.8, 0.2, 0, 0], atol=1e-6)  # at the first, 2/3 and 1/6 of what is there
