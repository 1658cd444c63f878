"""Activation maps against the paper's formula, by finite differences of a second implementation; regions by hand."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dr_unet import gcam
from dr_unet.gcam import activation_map, foreground_map, region, share_inside
from dr_unet.model import build
from shared.errors import InputError
from shared.scans import preprocess
from shared.scans.volume import Volume, from_array
from tests.dr_unet import plain_numpy
from tests.dr_unet.plain_numpy import randomise
from tests.geometry import rotation

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True, database=None)
SHAPE = (16, 8, 8)


@pytest.fixture(scope="module")
def image():
    return plain_numpy.image(SHAPE)


HEAD = np.array([[0.9, -0.8, 0.7, 0.3], [-0.6, 0.9, -0.5, 0.5], [0.2, -0.3, 0.8, -0.9]], np.float32)  # width x outputs
BIAS = np.array([-0.4, 0.3, 0.2, -0.1], np.float32)


def random_network(network, outputs):
    """A head of either sign for every output: features are never negative, a map would easily be empty."""
    model = randomise(build(network, SHAPE, outputs, 3))
    model.get_layer("logits").kernel.assign(HEAD[None, None, None, :, :outputs])
    model.get_layer("logits").bias.assign(BIAS[:outputs])
    return model


@pytest.fixture(scope="module", params=["dr_unet", "unet3d", "vnet"])
def binary(request):
    return random_network(request.param, 1)


@pytest.fixture(scope="module", params=["dr_unet", "unet3d", "vnet"])
def multiclass(request):
    return random_network(request.param, 4)


@pytest.fixture(scope="module")
def dr_unet():
    return random_network("dr_unet", 4)


def centred_logits(model, image):
    """Logits, and what they would be without the bias of the head."""
    logits = np.asarray(model(image[None], training=False))[0].astype(float)
    return logits, logits - BIAS[: logits.shape[-1]]


def agrees(found, expected, tolerance=1e-5):
    assert found.dtype == np.float32 and found.shape == expected.shape
    assert expected.max() > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * expected.max())


# Maps of the last layer -----------------------------------------------------------------------------------------------------


def test_last_layer_of_a_binary_network_shows_the_logit(binary, image):
    _, centred = centred_logits(binary, image)
    assert (centred > 0).any() and (centred < 0).any()
    agrees(activation_map(binary, image, 0), np.maximum(centred[..., 0], 0))
    np.testing.assert_array_equal(foreground_map(binary, image), activation_map(binary, image, 0))


def test_last_layer_of_several_classes_shows_the_logits(multiclass, image):
    _, centred = centred_logits(multiclass, image)
    positive = np.maximum(centred, 0)
    for c in range(4):
        agrees(activation_map(multiclass, image, c), positive[..., c])
    agrees(foreground_map(multiclass, image), positive[..., 1:].max(axis=-1))
    assert (positive[..., 0] > positive[..., 1:].max(axis=-1)).any()  # background would show


def test_predicted_score_shows_the_voxels_of_the_class(multiclass, image):
    logits, centred = centred_logits(multiclass, image)
    chosen = logits.argmax(axis=-1)
    shown = 0
    for c in range(4):
        expected = np.where(chosen == c, np.maximum(centred[..., c], 0), 0)
        found = activation_map(multiclass, image, c, score="predicted")
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(centred).max())
        shown += np.any(expected)
    assert shown > 1


def test_predicted_score_of_a_binary_network(binary, image):
    logits, centred = centred_logits(binary, image)
    agrees(activation_map(binary, image, 0, score="predicted"), np.where(logits > 0, np.maximum(centred, 0), 0)[..., 0])


def test_probability_score_of_a_binary_network(binary, image):
    logits, centred = centred_logits(binary, image)
    p = plain_numpy.sigmoid(logits)
    agrees(activation_map(binary, image, 0, score="probabilities"), np.maximum(p * (1 - p) * centred, 0)[..., 0], 1e-4)


def test_probability_score_of_several_classes(multiclass, image):
    """dp_c / dlogit_j = p_c ((c = j) - p_j)."""
    logits, centred = centred_logits(multiclass, image)
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    for c in range(4):
        slopes = p[..., c : c + 1] * (np.eye(4)[c] - p)
        expected = np.maximum((slopes * centred).sum(axis=-1), 0)
        agrees(activation_map(multiclass, image, c, score="probabilities"), expected, 1e-4)


# Maps of deeper layers ------------------------------------------------------------------------------------------------------


def scored(score, logits, c):
    if score == "logits":
        return logits[..., c].sum()
    if score == "predicted":
        return logits[..., c][logits.argmax(axis=-1) == c].sum()
    return (np.exp(logits[..., c]) / np.exp(logits).sum(axis=-1)).sum()


def by_differences(model, image, c, layer, score="logits", h=1e-6, count=8):
    """sum_k x_k dS / dx_k at a voxel is the slope of S as the features of that voxel alone are scaled: a central difference.

    Returns:
        Voxels of the layer (at most `count`), and the values there.
    """
    features = plain_numpy.run("dr_unet", model, image)[layer]
    voxels = np.random.default_rng(0).permutation([*np.ndindex(features.shape[:3])])[:count]

    def score_of(voxel, factor):
        def scale(x):
            x = x.copy()
            x[tuple(voxel)] *= factor
            return x

        return scored(score, plain_numpy.logits("dr_unet", model, image, changes={layer: scale}), c)

    slopes = [(score_of(voxel, 1 + h) - score_of(voxel, 1 - h)) / (2 * h) for voxel in voxels]
    return tuple(voxels.T), np.array(slopes), features.shape[:3]


def agrees_by_differences(model, image, layer, score):
    positive = 0
    for c in (1, 2):
        voxels, slopes, extent = by_differences(model, image, c, layer, score)
        found = activation_map(model, image, c, layer, score)
        assert found.shape == extent
        np.testing.assert_allclose(found[voxels], np.maximum(slopes, 0), rtol=0, atol=5e-4 * abs(slopes).max() + 1e-12)
        positive += slopes.max() > 0
    assert positive


@pytest.mark.parametrize("layer", ["pool1", "res3", "bottleneck_d4", "bottleneck_sum", "up3", "up2", "merge1"])
def test_deeper_layers_by_differences(dr_unet, image, layer):
    agrees_by_differences(dr_unet, image, layer, "logits")


@pytest.mark.parametrize("score", ["predicted", "probabilities"])
def test_scores_of_a_deeper_layer_by_differences(dr_unet, image, score):
    agrees_by_differences(dr_unet, image, "up3", score)


def test_foreground_is_the_maximum_in_every_voxel(dr_unet, image):
    maps = np.stack([activation_map(dr_unet, image, c, "up2") for c in (1, 2, 3)])
    assert len(np.unique(maps.argmax(axis=0))) > 1
    np.testing.assert_array_equal(foreground_map(dr_unet, image, "up2"), maps.max(axis=0))


def test_weights_stay(dr_unet, image):
    before = [np.asarray(v).copy() for v in dr_unet.variables]
    foreground_map(dr_unet, image, "bottleneck_sum")
    for variable, value in zip(dr_unet.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_what_is_not_there_is_refused(dr_unet, image):
    for c in (4, -1):
        with pytest.raises(InputError, match=f"^unknown class {c} of the network dr_unet: expected 0 to 3$"):
            activation_map(dr_unet, image, c)
    with pytest.raises(InputError, match="^unknown layer 'dec9' of the network dr_unet: expected one of enc1_1, "):
        activation_map(dr_unet, image, 1, "dec9")
    with pytest.raises(InputError, match="^unknown score 'loss': expected one of logits, predicted, probabilities$"):
        foreground_map(dr_unet, image, score="loss")


# Regions --------------------------------------------------------------------------------------------------------------------


def spots(shape, *boxes):
    """Zeros but for boxes (first voxel, extent, value)."""
    array = np.zeros(shape, np.float32)
    for first, extent, value in boxes:
        array[tuple(slice(f, f + n) for f, n in zip(first, extent, strict=True))] = value
    return from_array(array)


def on_itself(heat, shape, threshold=0.5):
    return region(heat, heat, shape, threshold)


@pytest.mark.parametrize(
    ("first", "extent", "shape", "starts"),
    [
        ((8, 9, 4), (3, 3, 3), (5, 5, 5), (7, 8, 3)),  # centre (9, 10, 5), two voxels either side
        ((9, 10, 5), (1, 1, 1), (1, 3, 5), (9, 9, 3)),
        ((8, 8, 4), (2, 2, 2), (4, 6, 2), (7, 6, 4)),  # centre (8.5, 8.5, 4.5)
        ((0, 0, 0), (2, 2, 2), (8, 8, 4), (0, 0, 0)),  # at the border: shifted inside
        ((18, 20, 8), (2, 2, 2), (8, 8, 4), (12, 14, 6)),
        ((0, 20, 4), (1, 2, 3), (6, 6, 3), (0, 16, 4)),
        ((5, 5, 5), (1, 1, 1), (20, 22, 10), (0, 0, 0)),  # the box is the grid
    ],
)
def test_box_is_centred_on_the_spot_and_shifted_inside(first, extent, shape, starts):
    heat = spots((20, 22, 10), (first, extent, 3.0))
    box = on_itself(heat, shape)
    assert box == gcam.Region(starts, shape, True)
    assert all(type(n) is int for n in box.starts)


def test_half_voxels_round_up():
    heat = spots((20, 20, 20), ((9, 9, 9), (1, 1, 1), 1.0))
    assert on_itself(heat, (4, 5, 6)).starts == (8, 7, 7)  # 9 - 1.5, 9 - 2, 9 - 2.5


def test_centre_is_weighted_by_intensity():
    heat = spots((21, 5, 5), ((4, 2, 2), (1, 1, 1), 3.0), ((5, 2, 2), (3, 1, 1), 2.0), ((8, 2, 2), (1, 1, 1), 9.0))
    # 3 and 2 are below half of 9
    assert on_itself(heat, (1, 1, 1)).starts == (8, 2, 2)
    # with a lower threshold: (3 x 4 + 2 x (5 + 6 + 7) + 9 x 8) / (3 + 6 + 9) = 6.67
    assert on_itself(heat, (1, 1, 1), 0.2).starts == (7, 2, 2)


def test_the_map_is_normalised_from_its_minimum():
    """Grey level 5 of 4 to 10 is a sixth: below a threshold of 0.3, though it is half of the maximum."""
    heat = spots((20, 5, 5), ((0, 0, 0), (20, 5, 5), 4.0), ((10, 0, 0), (10, 5, 5), 5.0), ((3, 2, 2), (1, 1, 1), 10.0))
    assert on_itself(heat, (1, 1, 1), 0.3).starts == (3, 2, 2)
    # weights are those of the normalised map: 1 at voxel 3, 0.5 at voxel 4 -> 3.33
    heat = spots((20, 1, 1), ((0, 0, 0), (20, 1, 1), 100.0), ((3, 0, 0), (1, 1, 1), 104.0), ((4, 0, 0), (1, 1, 1), 102.0))
    assert on_itself(heat, (1, 1, 1)).starts == (3, 0, 0)
    assert on_itself(heat, (2, 1, 1)).starts == (3, 0, 0)  # 3.33 - 0.5 = 2.83


def test_threshold_is_inclusive():
    heat = spots((9, 1, 1), ((2, 0, 0), (1, 1, 1), 2.0), ((3, 0, 0), (1, 1, 1), 1.0), ((4, 0, 0), (3, 1, 1), 1.0))
    # (2 x 2 + 3 + 4 + 5 + 6) / 6 = 3.67 with the voxels at 0.5, else 2
    assert on_itself(heat, (1, 1, 1), 0.5).starts == (4, 0, 0)
    assert on_itself(heat, (1, 1, 1), 0.51).starts == (2, 0, 0)


def test_the_largest_component_wins_not_the_hottest():
    heat = spots((24, 24, 8), ((3, 3, 2), (2, 2, 2), 10.0), ((14, 15, 3), (3, 3, 3), 6.0))
    assert on_itself(heat, (5, 5, 5)).starts == (13, 14, 2)
    assert on_itself(heat, (5, 5, 5), 0.7).starts == (2, 2, 1)  # centre (3.5, 3.5, 2.5) - 2 = 1.5: up


@pytest.mark.parametrize("value", [0.0, 7.0, -1.0, np.nan, np.inf])
def test_a_map_that_points_nowhere_gives_the_centre(value):
    heat = from_array(np.full((4, 4, 4), value, np.float32))
    grid = from_array(np.zeros((21, 20, 9), np.float32))
    assert region(heat, grid, (5, 6, 3), 0.5) == gcam.Region((8, 7, 3), (5, 6, 3), False)


@pytest.mark.parametrize("hot", [True, False])
def test_a_box_wider_than_the_grid_is_centred_on_it(hot):
    """As `crop_or_pad` does, whatever the map says of that axis."""
    grid = spots((5, 20, 6), ((0, 10, 0), (1, 1, 1), float(hot)))
    box = on_itself(grid, (8, 4, 9))
    assert box.starts == (-1, 9 if hot else 8, -1) and box.found is hot
    padded = preprocess.crop_or_pad(grid, (8, 20, 9))
    cut = preprocess.window(grid, (box.starts[0], 0, box.starts[2]), (8, 20, 9))
    np.testing.assert_array_equal(cut.array, padded.array)


def fine_grid(shape, spacing_mm=(1.25, 1.5, 8.0)):
    affine = np.eye(4)
    affine[:3, :3] = rotation(20, -35, 60) * np.array(spacing_mm)
    affine[:3, 3] = (-80.0, 55.5, 12.25)
    return Volume(np.zeros(shape, np.float32), spacing_mm, affine)


@pytest.mark.parametrize("factors", [(2, 2, 1), (4, 4, 2), (1, 1, 1)])
@pytest.mark.parametrize("padded", [(0, 0, 0), (4, 6, 5), (-2, -2, 0)])
def test_a_coarser_and_padded_map_points_at_the_right_voxel(factors, padded):
    shape = (48, 40, 12)
    coarse = tuple(n // f + p for n, f, p in zip(shape, factors, padded, strict=True))
    for marked in [(20, 17, 5), (23, 22, 6), (26, 20, 7)]:
        grid = fine_grid(shape)
        grid.array[marked] = 1
        heat = preprocess.crop_or_pad(preprocess.shrink(grid, factors), coarse)
        assert heat.array.max() > 0
        box = region(heat, grid, (3, 5, 1), 0.5)
        # the block of `factors` voxels that holds the marked one, about whose centre the box lies
        block = [m // f * f + (f - 1) / 2 for m, f in zip(marked, factors, strict=True)]
        assert box.starts == tuple(math.floor(b - (n - 1) / 2 + 0.5 + 1e-9) for b, n in zip(block, box.shape, strict=True))
        for start, n, voxel, factor in zip(box.starts, box.shape, marked, factors, strict=True):
            assert abs(start + (n - 1) / 2 - voxel) <= factor / 2


heats = arrays(
    np.float32,
    st.tuples(*[st.integers(1, 6)] * 3),
    elements=st.one_of(st.just(0.0), st.floats(0, 1e6, width=32), st.floats(0, 2**-130, width=32)),
)


@PROPERTY
@given(heat=heats, data=st.data(), threshold=st.sampled_from([0.1, 0.5, 0.9, 1.0]), factors=st.tuples(*[st.integers(1, 3)] * 3))
def test_the_box_lies_inside_the_grid(heat, data, threshold, factors):
    grid = fine_grid(tuple(n * f for n, f in zip(heat.shape, factors, strict=True)))
    shape = data.draw(st.tuples(*[st.integers(1, n) for n in grid.array.shape]))
    heat = preprocess.shrink(grid, factors).with_array(heat)
    box = region(heat, grid, shape, threshold)
    assert box.shape == shape
    assert box.found == (heat.array.max() > heat.array.min())
    assert all(0 <= start <= size - n for start, n, size in zip(box.starts, shape, grid.array.shape, strict=True))


@PROPERTY
@given(first=st.tuples(*[st.integers(0, 9)] * 3), shape=st.tuples(*[st.integers(1, 16)] * 3))
def test_the_spot_lies_in_the_box(first, shape):
    heat = spots((10, 10, 10), (first, (1, 1, 1), 1.0))
    box = on_itself(heat, shape)
    assert share_inside(heat.array, box) == 1


# What the box holds ---------------------------------------------------------------------------------------------------------


def test_share_inside_by_hand():
    mask = np.zeros((6, 5, 4), np.uint8)
    mask[1:4, 2, 1:3] = 3  # six voxels, any label counts once
    inside = partial(share_inside, mask)
    assert inside(gcam.Region((0, 0, 0), (6, 5, 4), True)) == 1
    assert inside(gcam.Region((2, 2, 1), (2, 1, 2), True)) == pytest.approx(4 / 6)
    assert inside(gcam.Region((1, 0, 2), (1, 5, 2), False)) == pytest.approx(1 / 6)
    assert inside(gcam.Region((4, 0, 0), (2, 5, 4), True)) == 0
    assert inside(gcam.Region((-2, -1, -3), (4, 7, 10), True)) == pytest.approx(2 / 6)  # x from 0 to 1
    assert inside(gcam.Region((-5, 0, 0), (3, 5, 4), True)) == 0  # outside altogether, not counted from the end


def test_share_inside_of_nothing_is_nan():
    assert math.isnan(share_inside(np.zeros((4, 4, 4), np.uint8), gcam.Region((0, 0, 0), (2, 2, 2), True)))
