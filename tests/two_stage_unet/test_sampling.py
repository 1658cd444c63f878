"""Samples of one volume: where they lie, what is in their middle, and what is added at the borders."""

import numpy as np
import pytest

from shared.datasets import IGNORED
from shared.errors import InputError
from shared.learning.prepared import store
from shared.scans.preprocess import cut
from two_stage_unet.sampling import AIR, Cubes, Joints, Sampler, Stacks, Wholes, box, multiple


def numbered(shape, labels=None):
    """A case whose image says where a voxel is: 100 x + y + z / 100."""
    x, y, z = np.indices(shape)
    return {"image": 100 * x + y + z / 100, "label": np.zeros(shape) if labels is None else labels}


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """A fine case with a block of class 1 and one voxel of class 2, and the same case on voxels twice as large."""
    folder = tmp_path_factory.mktemp("cases")
    labels = np.zeros((40, 36, 20), np.uint8)
    labels[4:8, 4:8, 2:6], labels[30, 30, 15] = 1, 2
    half = numbered((20, 18, 10), labels[::2, ::2, ::2])
    fine = numbered((40, 36, 20), labels)
    with_region = {"region0": np.full((40, 36, 20), 0.5, np.float32), **fine}
    made = {"fine": fine, "coarse": half, "seen": with_region}
    return {name: store(folder, name, lambda channels=channels: channels) for name, channels in made.items()}


def rng(seed=0):
    return np.random.default_rng(seed)


def test_classes_are_drawn_equally_often_whatever_their_size(cases):
    sampler, generator = Sampler(cases["fine"]), rng()
    middles = [sampler.middle(generator) for _ in range(900)]
    single = sum(middle == (30, 30, 15) for middle in middles)
    block = sum(4 <= x < 8 and 4 <= y < 8 and 2 <= z < 6 for x, y, z in middles)
    assert 240 < single < 360 and 240 < block < 360  # of 300 each; the background has 99.8 % of the voxels


def test_a_class_that_is_absent_or_ignored_is_not_drawn(tmp_path):
    labels = np.full((8, 8, 4), IGNORED)
    labels[3, 4, 1] = 5
    sampler = Sampler(store(tmp_path, "one", lambda: numbered((8, 8, 4), labels)))
    assert {sampler.middle(rng(seed)) for seed in range(20)} == {(3, 4, 1)}
    with pytest.raises(InputError, match="no voxel is annotated"):
        Sampler(store(tmp_path, "none", lambda: numbered((8, 8, 4), np.full((8, 8, 4), IGNORED))))


@pytest.mark.parametrize(("middle", "extents", "edge", "starts", "shape"), [
    ((50, 50, 50), (100, 100, 100), 32, [34, 34, 34], [32, 32, 32]),
    ((2, 50, 99), (100, 100, 100), 32, [0, 34, 68], [32, 32, 32]),  # moved inside
    ((5, 5, 5), (100, 20, 9), 64, [0, -6, -3], [64, 32, 16]),  # thin axes: what is missing is added on both sides
])  # fmt: skip
def test_boxes(middle, extents, edge, starts, shape):
    assert box(middle, extents, edge) == (starts, shape)


def test_multiples_and_cuts():
    assert [multiple(n) for n in (1, 16, 17, 250)] == [16, 16, 32, 256]
    part = cut(np.arange(12).reshape(3, 4), (-1, 2), (3, 4), -5)
    np.testing.assert_array_equal(part, [[-5, -5, -5, -5], [2, 3, -5, -5], [6, 7, -5, -5]])
    assert (cut(np.ones((2, 2)), (5, 5), (2, 2), 0) == 0).all()


def test_a_whole_volume_is_padded_with_air_and_background(cases):
    inputs, labels = Wholes([cases["coarse"]], 3.0).one(0, rng())
    assert inputs["image"].shape == (1, 32, 32, 16, 1) and labels.shape == (1, 32, 32, 16)
    assert (inputs["image"][0, :6] == AIR).all() and inputs["image"][0, 6, 7, 3, 0] == 0  # voxel (0, 0, 0)
    assert inputs["image"][0, 25, 24, 12, 0] == pytest.approx(1917.09)
    np.testing.assert_allclose(inputs["origin"], [[-46.5, -46.5, -22.5]])


def test_cubes_are_parts_of_the_volume_with_their_labels(cases):
    examples = Cubes([cases["coarse"]], 3.0, (16,), (3,))
    inputs, labels = examples.one(0, rng(1))
    assert inputs["image"].shape == (3, 16, 16, 16, 1) and labels.shape == (3, 16, 16, 16)
    assert inputs["step"].tolist() == [[3, 3, 3]] * 3
    for image, label in zip(inputs["image"][..., 0], labels, strict=True):
        found = {round(value * 100) for value in image[label == 2]}
        assert found <= {100 * (100 * 15 + 15) + 7}  # the one voxel of class 2 is where the image says (15, 15, 7)
    several = Cubes([cases["coarse"]], 3.0, (16, 32), (2, 1))
    assert {len(several.one(0, rng(seed))[1]) for seed in range(9)} == {1, 2}


def test_stacks_are_whole_slices_with_the_region_before_the_image(cases):
    inputs, labels = Stacks([cases["seen"]], [np.array([1.5, 1.5, 1.5])], ["region0"], 5, 6, 0).one(0, rng(3))
    assert inputs["image"].shape == (6, 48, 48, 5, 2) and labels.shape == (6, 48, 48)
    assert (inputs["image"][:, 4:44, 6:42, :, 0] == 0.5).all() and (inputs["image"][:, :4] == AIR).all()
    heights = np.round(inputs["image"][:, 4, 6, :, 1] * 100).astype(int)  # z of each slice, since x = y = 0 there
    centres = heights[:, 2]
    np.testing.assert_array_equal(
        heights, np.clip(centres[:, None] + np.arange(-2, 3), 0, 19)
    )  # the last slice again at the ends
    for centre, label in zip(centres, labels, strict=True):
        assert (label == 2).sum() == (centre == 15) and (label == 1).sum() == 16 * (2 <= centre < 6)


def test_stacks_with_an_edge_are_squares_about_the_drawn_voxel(cases):
    inputs, labels = Stacks([cases["seen"]], [np.array([1.5, 1.5, 2.0])], ["region0"], 3, 40, 16).one(0, rng(3))
    assert inputs["image"].shape == (40, 16, 16, 3, 2) and labels.shape == (40, 16, 16)
    np.testing.assert_allclose(inputs["origin"], [[-11.25, -11.25, -2.0]] * 40)
    corners = inputs["image"][:, 0, 0, 1, 1]  # 100 x + y + z / 100 of a fine voxel
    x, y = np.floor(corners / 100), np.floor(corners % 100)
    assert len(set(x)) > 3 and x.max() <= 40 - 16 and y.max() <= 36 - 16  # inside the volume, which they fit
    found = [tuple(np.argwhere(label == 2)[0]) for label in labels if (label == 2).any()]
    assert (
        found.count((8, 10)) > 8
    )  # voxel (30, 30), drawn a third of the times: from x 30 - 8, and from y 20, the last that fits


def test_the_coarse_cube_lies_about_the_fine_stacks(cases):
    examples = Joints([cases["coarse"]], [cases["fine"]], 3.0, (16,), (2,), 16, 3, 4)
    inputs, targets = examples.one(0, rng(5))
    assert inputs["image"].shape == (2, 16, 16, 16, 1) and inputs["stacks"].shape == (2, 4, 16, 16, 3, 1)
    assert targets["net1"].shape == (2, 16, 16, 16) and targets["net2"].shape == (2, 4, 16, 16)
    for sample in range(2):
        for s in range(4):
            offset, ratio = inputs["grid"][sample, s].T
            np.testing.assert_allclose(ratio, 0.5)
            fine = inputs["stacks"][sample, s, 6, 8, 1, 0]  # 100 x + y + z / 100 of a fine voxel
            x, y, z = fine // 100, fine % 100 // 1, round(fine % 1 * 100)
            place = offset + ratio * [6, 8, 1]  # the same voxel in the cube: (x + 0.5) / 2 - 0.5 of the coarse volume
            corner = inputs["image"][sample, 8, 8, 8, 0]
            if corner != AIR:
                first = np.array([corner // 100, corner % 100 // 1, round(corner % 1 * 100)]) - 8
                np.testing.assert_allclose(place + first, (np.array([x, y, z]) + 0.5) / 2 - 0.5, atol=1e-4)
            mm = inputs["stack_origin"][sample, s] + inputs["stack_step"][sample, s] * [6, 8, 1]
            np.testing.assert_allclose(mm, inputs["origin"][sample] + inputs["step"][sample] * place, atol=1e-4)


def test_examples_follow_from_the_generator_alone(cases):
    examples = Joints([cases["coarse"]], [cases["fine"]], 3.0, (16, 32), (2, 1), 16, 3, 4)
    (one, first), (other, second) = examples.one(0, rng(7)), examples.one(0, rng(7))
    assert all((one[name] == other[name]).all() for name in one) and all((first[name] == second[name]).all() for name in first)
