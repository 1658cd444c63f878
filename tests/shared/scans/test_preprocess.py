"""From scan to network grid and back: every voxel stays where it was in the patient, labels stay labels."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from shared.errors import InputError
from shared.scans import preprocess
from shared.scans.volume import from_array
from tests.geometry import noise, placed, positions_mm, rotation

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True, database=None)
SCIPY_MODE = {"zero": "constant", "blend": "grid-constant"}


@st.composite
def grids(draw, low=6, high=13):
    """Shape, spacing (mm), axes in any order, direction and obliqueness, and whether the affine forgets the spacing."""
    shape = draw(st.tuples(*[st.integers(low, high)] * 3))
    spacing_mm = draw(st.tuples(*[st.floats(0.7, 9)] * 3))
    order, signs = draw(st.permutations(range(3))), draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    turn = rotation(*draw(st.tuples(*[st.sampled_from([0, 0, 15, -37, 80])] * 3)))
    return shape, spacing_mm, turn @ (np.eye(3)[:, order] * signs), draw(st.booleans())


@st.composite
def network_grids(draw):
    """Factors to the spacing, and the extent to crop or pad to."""
    return draw(st.tuples(*[st.floats(0.6, 1.6)] * 3)), draw(st.tuples(*[st.integers(6, 24)] * 3))


# z-score --------------------------------------------------------------------------------------------------------------------


def test_zscore_by_hand():
    scan = placed(np.array([1, 2, 3, 4], np.int16).reshape(2, 2, 1), (1, 1, 8))
    found = preprocess.zscore(scan)
    # mean 2.5, population variance (1.5^2 + 0.5^2 + 0.5^2 + 1.5^2) / 4 = 1.25
    expected = np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(1.25)
    np.testing.assert_allclose(found.array.ravel(), expected, rtol=1e-6)
    assert found.array.dtype == np.float32
    assert found.spacing_mm == scan.spacing_mm and found.affine is scan.affine


def test_zscore_is_of_the_whole_volume_not_of_a_slice():
    array = np.zeros((2, 2, 2), np.float32)
    array[..., 1] = 2
    np.testing.assert_allclose(preprocess.zscore(from_array(array)).array[..., 1], 1)


def test_zscore_keeps_its_precision_far_from_zero():
    array = 30000 + np.tile(np.array([0, 1], np.float32), 50000).reshape(100, 100, 10)
    found = preprocess.zscore(from_array(array)).array
    np.testing.assert_allclose(np.unique(found), [-1, 1], rtol=1e-6)


@pytest.mark.parametrize(("value", "dtype"), [(0, np.int16), (0.1, np.float32), (0.1, np.float64), (40000, np.uint16)])
def test_constant_image_is_refused(value, dtype):
    with pytest.raises(InputError, match="constant image"):
        preprocess.zscore(from_array(np.full((7, 5, 3), value, dtype)))


# Contrast -------------------------------------------------------------------------------------------------------------------


def test_clahe_is_that_of_opencv_on_each_slice_from_0_to_255():
    """Grey levels 100 to 610 in steps of 2: level 100 + 2 n becomes n. Tiles of about 18 mm: 7 along 120 mm, 4 along 72."""
    levels = np.random.default_rng(0).normal(128, 15, (80, 48, 3)).round().astype(int)  # 240 pixels a tile, peaked
    levels[0, 0], levels[0, 1] = 0, 255
    levels[..., 1] = levels[..., 1] // 5 * 5
    scan = placed((100 + 2 * levels).astype(np.int16), (1.5, 1.5, 8))
    found = preprocess.clahe(scan, 2.0, 18)
    assert found.array.dtype == np.uint8 and found.spacing_mm == scan.spacing_mm and found.affine is scan.affine
    for z in range(3):
        expected = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(4, 7)).apply(np.ascontiguousarray(levels[..., z], np.uint8))
        np.testing.assert_array_equal(found.array[..., z], expected)
    assert (found.array != levels).mean() > 0.5
    for clip, tile_mm in ((8.0, 18), (2.0, 36)):
        assert (preprocess.clahe(scan, clip, tile_mm).array != found.array).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_clahe_does_not_depend_on_the_type(dtype, order):
    array = np.random.default_rng(1).integers(0, 200, (23, 17, 2))
    array[..., 1] //= 3
    found = preprocess.clahe(from_array(np.array(array, dtype, order=order)), 2.0, 8).array
    np.testing.assert_array_equal(found, preprocess.clahe(from_array(array.astype(np.float64)), 2.0, 8).array)


@pytest.mark.parametrize(("scale", "shift"), [(4, 0), (0.25, -17), (1, 3000), (137, 12), (1e-3, 1)])
def test_clahe_does_not_depend_on_the_unit(scale, shift):
    grey = np.random.default_rng(2).normal(size=(32, 16, 2))
    before, after = (preprocess.clahe(from_array(array), 2.0, 8).array for array in (grey, scale * grey + shift))
    np.testing.assert_array_equal(after, before)


def test_clahe_of_a_whole_range_does_not_overflow():
    """-32768 to 32767 wraps around in 16 bit."""
    grey = np.linspace(-32768, 32767, 32 * 32).round().astype(np.int16).reshape(32, 32, 1)
    found = preprocess.clahe(from_array(grey), 2.0, 100).array[..., 0]  # one tile
    assert (np.diff(found.ravel().astype(int)) >= 0).all() and found[-1, -1] > 200


def test_clahe_of_a_constant_slice_is_0():
    array = noise((16, 16, 3))
    array[..., 1] = 1234.5
    found = preprocess.clahe(from_array(array), 2.0, 8).array
    assert not found[..., 1].any() and found[..., 0].any() and found[..., 2].any()


def test_clahe_does_not_mix_slices():
    array = noise((16, 24, 3))
    together = preprocess.clahe(from_array(array), 2.0, 8).array
    array[..., 1] *= 50
    array[3, 3, 1] = 1e5
    after = preprocess.clahe(from_array(array), 2.0, 8).array
    np.testing.assert_array_equal(after[..., [0, 2]], together[..., [0, 2]])
    np.testing.assert_array_equal(preprocess.clahe(from_array(array[..., :1]), 2.0, 8).array[..., 0], together[..., 0])


# resample -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "spacing_mm", "wanted_mm", "expected"),
    [
        (216, 1.5625, 1.36719, 247),  # 246.86
        (10, 1.5625, 1.36719, 11),  # 11.43
        (256, 1.36719, 1.36719, 256),
        (10, 10.0, 5.0, 20),
        (5, 1.0, 2.0, 2),  # 2.5: halves go to the even number
        (7, 1.0, 2.0, 4),  # 3.5
        (1, 1.0, 5.0, 1),  # never nothing
    ],
)
def test_resampled_length(length, spacing_mm, wanted_mm, expected):
    for axis in range(3):
        shape, old, wanted = [3, 3, 3], [2.0, 2.0, 2.0], [2.0, 2.0, 2.0]
        shape[axis], old[axis], wanted[axis] = length, spacing_mm, wanted_mm
        scan = placed(np.zeros(shape, np.uint8), old)
        found = preprocess.resample(scan, wanted, 0)
        shape[axis] = expected
        assert found.array.shape == preprocess.resampled_shape(scan, wanted) == tuple(shape)
        assert found.spacing_mm[axis] == pytest.approx(length * spacing_mm / expected)


@PROPERTY
@given(grid=grids(), network=network_grids())
def test_resample_keeps_the_corners_of_the_field_of_view(grid, network):
    shape, spacing_mm, axes, unit_affine = grid
    scan = placed(np.zeros(shape, np.uint8), spacing_mm, axes, unit_affine=unit_affine)
    found = preprocess.resample(scan, np.multiply(spacing_mm, network[0]), 0)
    for corner in itertools.product([0, 1], repeat=3):
        before = scan.affine @ [*np.multiply(corner, shape) - 0.5, 1]
        after = found.affine @ [*np.multiply(corner, found.array.shape) - 0.5, 1]
        np.testing.assert_allclose(after, before, atol=1e-9)


@pytest.mark.parametrize("edge", ["zero", "blend"])
@pytest.mark.parametrize("order", [0, 1])
@PROPERTY
@given(
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    factors=st.tuples(*[st.one_of(st.floats(0.25, 4), st.sampled_from([0.5, 1.0, 2.0, 1 / 3]))] * 3),
    seed=st.integers(0, 99),
)
def test_resample_takes_the_stated_coordinates(order, edge, shape, factors, seed):
    scan = from_array(noise(shape, seed=seed), (1.5, 0.8, 8.0))
    found = preprocess.resample(scan, np.multiply(scan.spacing_mm, factors), order, edge).array
    coordinates = [(np.arange(new) + 0.5) * (old / new) - 0.5 for old, new in zip(shape, found.shape, strict=True)]
    grid = np.meshgrid(*coordinates, indexing="ij")
    expected = ndimage.map_coordinates(scan.array, grid, order=order, mode=SCIPY_MODE[edge], cval=0, prefilter=False)
    np.testing.assert_allclose(found, expected, rtol=0 if order == 0 else 2e-6, atol=0 if order == 0 else 1e-4)


def test_edges_by_hand():
    scan = from_array(np.array([6.0, 12.0], np.float32).reshape(2, 1, 1))
    # four samples at -0.25, 0.25, 0.75, 1.25
    for edge, outer in (("blend", (4.5, 9.0)), ("zero", (0.0, 0.0))):
        found = preprocess.resample(scan, (0.5, 1, 1), 1, edge).array.ravel()
        np.testing.assert_allclose(found, [outer[0], 7.5, 10.5, outer[1]])
    np.testing.assert_array_equal(preprocess.resample(scan, (0.5, 1, 1), 0, "blend").array.ravel(), [6, 6, 12, 12])
    np.testing.assert_array_equal(preprocess.resample(scan, (0.5, 1, 1), 0, "zero").array.ravel(), [0, 6, 12, 0])


def test_resampling_to_the_own_spacing_changes_nothing():
    scan = placed(noise((5, 4, 3)), (1.25, 1.5, 8.0))
    for order, edge, anti_alias in itertools.product((0, 1), ("zero", "blend"), (False, True)):
        found = preprocess.resample(scan, scan.spacing_mm, order, edge, anti_alias)
        np.testing.assert_array_equal(found.array, scan.array)
        np.testing.assert_allclose(found.affine, scan.affine)


@PROPERTY
@given(
    labels=arrays(np.uint8, st.tuples(*[st.integers(1, 6)] * 3), elements=st.sampled_from([0, 1, 3, 255])),
    factors=st.tuples(*[st.floats(0.3, 3)] * 3),
    edge=st.sampled_from(["zero", "blend"]),
)
def test_labels_stay_labels(labels, factors, edge):
    scan = from_array(labels, (1.0, 2.0, 5.0))
    found = preprocess.resample(scan, np.multiply(scan.spacing_mm, factors), 0, edge)
    back = preprocess.onto_grid(preprocess.crop_or_pad(found, (7, 7, 7)), scan, 0, edge)
    for result in (found, back):
        assert result.array.dtype == np.uint8
        assert set(np.unique(result.array)) <= {0, *np.unique(labels)}


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_linear_interpolation_of_whole_numbers_is_right_or_refused(dtype):
    scan = from_array(np.array([10, 20, 40], dtype).reshape(3, 1, 1))
    try:
        found = preprocess.resample(scan, (0.5, 1, 1), 1).array.ravel()
    except (TypeError, ValueError):
        return
    np.testing.assert_allclose(found[1:-1], [12.5, 17.5, 25, 35], atol=0.51)


def test_anti_alias_by_hand():
    array = np.zeros((9, 1, 1), np.float32)
    array[4] = 1
    scan = from_array(array)
    # step 3, so sigma 1: weights exp(-k^2 / 2), k = -4 to 4, which sum to 2.50663; samples at 1, 4 and 7
    found = preprocess.resample(scan, (3, 1, 1), 1, anti_alias=True).array.ravel()
    np.testing.assert_allclose(found, np.array([np.exp(-4.5), 1, np.exp(-4.5)]) / 2.506629, rtol=1e-4)
    np.testing.assert_array_equal(preprocess.resample(scan, (3, 1, 1), 1).array.ravel(), [0, 1, 0])


def test_anti_alias_leaves_axes_alone_that_are_made_finer():
    scan = from_array(noise((6, 5, 4)), (1.0, 1.0, 8.0))
    fine, smooth = (preprocess.resample(scan, (0.7, 0.5, 4.0), 1, anti_alias=flag).array for flag in (False, True))
    np.testing.assert_array_equal(smooth, fine)


# crop_or_pad ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "wanted", "expected"),
    [
        (7, 4, [2, 3, 4, 5]),  # floor(3 / 2) = 1 is cut in front, 2 behind
        (8, 5, [2, 3, 4, 5, 6]),
        (8, 4, [3, 4, 5, 6]),
        (9, 5, [3, 4, 5, 6, 7]),
        (4, 7, [0, 1, 2, 3, 4, 0, 0]),  # floor(3 / 2) = 1 zero in front, 2 behind
        (3, 6, [0, 1, 2, 3, 0, 0]),
        (4, 8, [0, 0, 1, 2, 3, 4, 0, 0]),
        (3, 7, [0, 0, 1, 2, 3, 0, 0]),
        (3, 4, [1, 2, 3, 0]),
        (4, 3, [1, 2, 3]),
        (3, 3, [1, 2, 3]),
        (5, 1, [3]),
        (1, 4, [0, 1, 0, 0]),
    ],
)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_crop_or_pad_by_hand(axis, length, wanted, expected):
    shape, target = [2, 2, 2], [2, 2, 2]
    shape[axis], target[axis] = length, wanted
    ramp = np.moveaxis(np.broadcast_to(np.arange(1, length + 1, dtype=np.uint8), (2, 2, length)), 2, axis)
    found = preprocess.crop_or_pad(from_array(ramp), target).array
    assert found.shape == tuple(target) and found.dtype == np.uint8
    np.testing.assert_array_equal(np.moveaxis(found, axis, 2), np.broadcast_to(np.array(expected), (2, 2, wanted)))


def test_crop_one_axis_pad_another():
    array = noise((7, 4, 3, 2))
    found = preprocess.crop_or_pad(from_array(array), (4, 7, 3)).array
    expected = np.zeros((4, 7, 3, 2), np.float32)
    expected[:, 1:5] = array[1:5]
    np.testing.assert_array_equal(found, expected)


def test_crop_or_pad_wants_three_numbers():
    with pytest.raises(ValueError, match="zip"):
        preprocess.crop_or_pad(from_array(np.zeros((4, 4, 4))), (2, 2))


@pytest.mark.parametrize("channels", [(), (2,)])
@PROPERTY
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    starts=st.tuples(*[st.integers(-7, 7)] * 3),
    extent=st.tuples(*[st.integers(1, 8)] * 3),
)
def test_window_holds_what_lies_there_and_zeros_outside(channels, shape, starts, extent):
    array = noise((*shape, *channels))
    scan = placed(array, (1.25, 1.5, 8.0))
    found = preprocess.window(scan, starts, extent)
    margin = 16  # zeros all around the scan
    wide = np.pad(array, [(margin, margin)] * 3 + [(0, 0)] * len(channels))
    expected = wide[tuple(slice(margin + s, margin + s + n) for s, n in zip(starts, extent, strict=True))]
    np.testing.assert_array_equal(found.array, expected)
    assert found.array.dtype == array.dtype and found.spacing_mm == scan.spacing_mm
    first = scan.affine @ [*starts, 1]
    np.testing.assert_allclose(found.affine[:3, 3], first[:3], atol=1e-9)
    np.testing.assert_array_equal(found.affine[:3, :3], scan.affine[:3, :3])


def test_window_by_hand():
    scan = from_array(np.arange(1, 5, dtype=np.uint8).reshape(4, 1, 1))
    for start, n, expected in [(-2, 4, [0, 0, 1, 2]), (-1, 6, [0, 1, 2, 3, 4, 0]), (1, 2, [2, 3]), (3, 3, [4, 0, 0]),
                               (4, 2, [0, 0]), (9, 2, [0, 0]), (-2, 2, [0, 0]), (-9, 3, [0, 0, 0])]:  # fmt: skip
        assert preprocess.window(scan, (start, 0, 0), (n, 1, 1)).array.ravel().tolist() == expected


def test_window_comes_back_by_onto_grid():
    scan = placed(noise((9, 8, 5)), (1.25, 1.5, 8.0))
    for starts, extent in [((2, 1, 0), (4, 5, 5)), ((-3, 4, -1), (8, 8, 7)), ((20, 0, 0), (3, 8, 5))]:
        inside = np.zeros(scan.array.shape, bool)
        inside[tuple(slice(max(s, 0), max(s + n, 0)) for s, n in zip(starts, extent, strict=True))] = True
        for order in (0, 1):
            back = preprocess.onto_grid(preprocess.window(scan, starts, extent), scan, order)
            np.testing.assert_array_equal(back.array, np.where(inside, scan.array, 0))


# shrink ---------------------------------------------------------------------------------------------------------------------


def test_shrink_by_hand():
    scan = placed(np.arange(24, dtype=np.int16).reshape(4, 2, 3), (1.0, 1.5, 8.0))
    # voxel (x, y, z) is 6 x + 3 y + z: blocks of two in x and y
    found = preprocess.shrink(scan, (2, 2, 1))
    assert found.array.dtype == np.float32 and found.spacing_mm == (2.0, 3.0, 8.0)
    np.testing.assert_array_equal(found.array, [[[4.5, 5.5, 6.5]], [[16.5, 17.5, 18.5]]])
    np.testing.assert_array_equal(preprocess.shrink(scan, (1, 1, 3)).array[..., 0], [[1, 4], [7, 10], [13, 16], [19, 22]])
    np.testing.assert_array_equal(preprocess.shrink(scan, (1, 1, 1)).array, scan.array)


def test_shrink_of_bytes_does_not_overflow():
    assert preprocess.shrink(from_array(np.full((4, 4, 4), 255, np.uint8)), (4, 4, 4)).array.item() == 255


@pytest.mark.parametrize("factors", [(2, 2, 1), (4, 4, 2), (1, 3, 1), (1, 1, 1)])
def test_shrunk_voxels_lie_at_the_centres_of_their_blocks(factors):
    scan = placed(np.zeros((8, 12, 4)), (1.25, 1.5, 8.0))
    steep = positions_mm(scan)
    found = preprocess.shrink(scan, factors)
    for axis in range(3):
        means = preprocess.shrink(scan.with_array(steep[..., axis]), factors)
        np.testing.assert_allclose(means.array, positions_mm(found)[..., axis], atol=1e-4)
        np.testing.assert_array_equal(
            means.affine, preprocess.shrink_labels(scan.with_array(np.zeros((8, 12, 4), int)), factors).affine
        )
    like = preprocess.resample(scan, np.multiply(scan.spacing_mm, factors), 1)
    assert found.array.shape == like.array.shape and found.spacing_mm == pytest.approx(like.spacing_mm)
    np.testing.assert_allclose(found.affine, like.affine)


def test_shrink_by_two_is_linear_interpolation():
    scan = placed(noise((8, 6, 4)), (1.25, 1.5, 8.0))
    for factors in itertools.product((1, 2), repeat=3):
        found = preprocess.shrink(scan, factors)
        np.testing.assert_allclose(found.array, preprocess.onto_grid(scan, found, 1).array, rtol=1e-5)


@pytest.mark.parametrize("shrink", [preprocess.shrink, preprocess.shrink_labels])
def test_shrink_refuses_what_does_not_divide(shrink):
    with pytest.raises(ValueError, match="reshape"):
        shrink(from_array(np.ones((5, 4, 4), np.uint8)), (2, 2, 1))


def test_the_commonest_class_of_a_block_stays():
    labels = np.array([[0, 0, 0, 2], [1, 1, 0, 1], [3, 3, 3, 1], [2, 2, 2, 0], [0, 1, 2, 2], [1, 0, 0, 3]], np.uint8)
    found = preprocess.shrink_labels(from_array(labels.reshape(6, 4, 1)), (1, 4, 1))
    assert found.array.dtype == np.uint8
    assert found.array.ravel().tolist() == [0, 1, 3, 2, 2, 0]


@PROPERTY
@given(factors=st.tuples(*[st.integers(1, 3)] * 3), seed=st.integers(0, 99), dtype=st.sampled_from([np.uint8, np.int64]))
def test_shrunk_labels_are_the_commonest_of_their_blocks(factors, seed, dtype):
    coarse = (3, 2, 3)
    shape = tuple(n * f for n, f in zip(coarse, factors, strict=True))
    labels = np.random.default_rng(seed).choice([0, 0, 1, 3], shape).astype(dtype)
    found = preprocess.shrink_labels(placed(labels, (1.5, 1.5, 8.0)), factors)
    assert found.array.dtype == dtype and found.array.shape == coarse
    for voxel in np.ndindex(*coarse):
        block = labels[tuple(slice(v * f, (v + 1) * f) for v, f in zip(voxel, factors, strict=True))]
        counts = np.bincount(block.ravel(), minlength=4)
        assert counts[found.array[voxel]] == counts.max()


@pytest.mark.parametrize("label", [1, 3])
def test_ties_with_background_take_turns(label):
    """Every block is half background, half structure."""
    labels = np.zeros((8, 6, 4), np.uint8)
    labels[::2] = label
    found = preprocess.shrink_labels(from_array(labels), (2, 1, 1)).array
    assert found.shape == (4, 6, 4) and np.count_nonzero(found == label) == np.count_nonzero(found == 0) == found.size // 2
    for axis in range(3):
        neighbours = np.moveaxis(found, axis, 0)
        assert (neighbours[1:] != neighbours[:-1]).all()


def test_taking_turns_does_not_touch_majorities():
    labels = np.zeros((9, 6, 4), np.uint8)
    labels[::3] = 1
    assert not preprocess.shrink_labels(from_array(labels), (3, 1, 1)).array.any()
    assert preprocess.shrink_labels(from_array(1 - labels), (3, 1, 1)).array.all()
    np.testing.assert_array_equal(preprocess.shrink_labels(from_array(labels), (1, 1, 1)).array, labels)


def test_a_structure_keeps_its_size():
    """A box that begins in the middle of its blocks: half of the tied ones on its faces stay."""
    labels = np.zeros((32, 32, 8), np.uint8)
    labels[5:27, 4:28, :] = 2
    found = preprocess.shrink_labels(from_array(labels), (2, 2, 1)).array
    assert set(np.unique(found)) == {0, 2}
    assert 4 * np.count_nonzero(found) == np.count_nonzero(labels)


def test_shrinking_no_labels():
    assert not preprocess.shrink_labels(from_array(np.zeros((4, 4, 4), np.uint8)), (2, 2, 2)).array.any()


def test_slab():
    scan = placed(noise((4, 3, 9)), (1.25, 1.5, 8.0))
    found = preprocess.slab(scan, 2, 5)
    np.testing.assert_array_equal(found.array, scan.array[:, :, 2:5])
    np.testing.assert_allclose(positions_mm(found), positions_mm(scan)[:, :, 2:5], atol=1e-9)
    assert found.spacing_mm == scan.spacing_mm
    assert preprocess.slab(scan, 6, 20).array.shape == (4, 3, 3)


# Where voxels lie -----------------------------------------------------------------------------------------------------------


def test_marked_voxel_keeps_its_place():
    for voxel in itertools.product((1, 4), (2, 5), (1, 2)):
        array = np.zeros((6, 7, 4), np.float32)
        array[voxel] = 1
        scan = placed(array, (1.2, 1.5, 9.0))
        finer = preprocess.resample(scan, (0.4, 0.5, 3.0), 1)  # thirds: the centre of the middle one is the centre of the voxel
        found = preprocess.crop_or_pad(finer, (17, 30, 11))
        peak = np.unravel_index(found.array.argmax(), found.array.shape)
        assert found.array[peak] == pytest.approx(1)
        np.testing.assert_allclose(positions_mm(found)[peak], positions_mm(scan)[voxel], atol=1e-9)


@PROPERTY
@given(grid=grids(), network=network_grids())
def test_every_voxel_says_where_it_lies(grid, network):
    """Linear interpolation keeps linear functions: an image of its own coordinates must agree with the affine it comes with."""
    shape, spacing_mm, axes, unit_affine = grid
    factors, extent = network
    scan = placed(np.zeros(shape), spacing_mm, axes, unit_affine=unit_affine)
    wanted_mm = np.multiply(spacing_mm, factors)

    def prepared(array):
        return preprocess.crop_or_pad(preprocess.resample(scan.with_array(array), wanted_mm, 1, "zero"), extent)

    inside = prepared(np.ones(shape)).array > 0.5
    assert inside.sum() >= np.prod([min(e, s / 1.6 - 2) for e, s in zip(extent, shape, strict=True)])
    result = prepared(scan.array)
    for axis in range(3):
        found = prepared(positions_mm(scan)[..., axis]).array
        np.testing.assert_allclose(found[inside], positions_mm(result)[..., axis][inside], atol=1e-8)
    np.testing.assert_allclose(result.spacing_mm, np.array(shape) * spacing_mm / preprocess.resampled_shape(scan, wanted_mm))
    if not unit_affine:
        np.testing.assert_allclose(np.linalg.norm(result.affine[:3, :3], axis=0), result.spacing_mm)


def round_trip_box(length, resampled, kept):
    """Voxels of an axis whose value comes through resample (step length / resampled), crop or pad to `kept`, and back."""
    step = length / resampled
    source = (np.arange(resampled) + 0.5) * step - 0.5
    valid = (source >= 0) & (source <= length - 1)  # not mixed with what lies outside the scan
    start = max((resampled - kept) // 2, 0)
    valid[:start] = False
    valid[start + kept :] = False
    back = (np.arange(length) + 0.5) / step - 0.5
    low, high = np.flatnonzero(valid)[[0, -1]]
    return (back >= low) & (back <= high)


@PROPERTY
@given(grid=grids(low=10, high=16), network=network_grids())
def test_round_trip(grid, network):
    shape, spacing_mm, axes, unit_affine = grid
    factors, extent = network
    i, j, k = np.meshgrid(*map(np.arange, shape), indexing="ij")
    smooth = np.cos(0.15 * i + 0.3) + np.sin(0.15 * j) + np.cos(0.15 * k)  # bends by at most 0.0225 a voxel^2 along each axis
    steep = 3.0 * i - 2.0 * j + 5.0 * k
    scan = placed(smooth.astype(np.float32), spacing_mm, axes, unit_affine=unit_affine)
    wanted_mm = np.multiply(spacing_mm, factors)
    resampled = preprocess.resampled_shape(scan, wanted_mm)
    inside = np.ix_(*map(round_trip_box, shape, resampled, extent))

    for field, tolerance in ((smooth, 0.04), (steep, 1e-3)):
        prepared = preprocess.crop_or_pad(preprocess.resample(scan.with_array(field), wanted_mm, 1), extent)
        back = preprocess.onto_grid(prepared, scan, 1)
        np.testing.assert_allclose(back.array[inside], field[inside], atol=tolerance)
    assert back.array.shape == shape and back.spacing_mm == scan.spacing_mm
    np.testing.assert_array_equal(back.affine, scan.affine)


@PROPERTY
@given(grid=grids(low=1, high=5), factors=st.tuples(*[st.integers(1, 4)] * 3), seed=st.integers(0, 99))
def test_labels_come_back_exactly_from_a_finer_grid(grid, factors, seed):
    shape, spacing_mm, axes, unit_affine = grid
    labels = np.random.default_rng(seed).integers(0, 4, shape, np.uint8)
    scan = placed(labels, spacing_mm, axes, unit_affine=unit_affine)
    finer = preprocess.resample(scan, np.divide(spacing_mm, factors), 0)
    np.testing.assert_array_equal(finer.array, np.kron(labels, np.ones(factors, np.uint8)))
    padded = preprocess.crop_or_pad(finer, (23, 24, 25))
    np.testing.assert_array_equal(preprocess.onto_grid(padded, scan, 0).array, labels)


def test_cropped_away_comes_back_as_zero():
    scan = placed(np.ones((12, 6, 4), np.float32), (1, 1, 8))
    back = preprocess.onto_grid(preprocess.crop_or_pad(scan, (4, 6, 4)), scan, 1).array
    np.testing.assert_array_equal(back[:, 0, 0], [0] * 4 + [1] * 4 + [0] * 4)


@pytest.mark.parametrize("edge", ["zero", "blend"])
@pytest.mark.parametrize("order", [0, 1])
def test_onto_grid_takes_the_stated_coordinates(order, edge):
    """From 13 to 10 voxels a side: voxel i of the target lies at (i + 0.5) * 1.3 - 0.5."""
    coarse = placed(np.zeros((10, 10, 10)), (1.3, 1.3, 1.3))
    fine = preprocess.resample(coarse, (1.0, 1.0, 1.0), 1)
    fine = fine.with_array(noise((13, 13, 13)))
    found = preprocess.onto_grid(fine, coarse, order, edge).array
    grid = np.meshgrid(*[(np.arange(10) + 0.5) * 1.3 - 0.5] * 3, indexing="ij")
    expected = ndimage.map_coordinates(fine.array, grid, order=order, mode=SCIPY_MODE[edge], cval=0, prefilter=False)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


def test_onto_grid_moves_every_channel_alike():
    scan = placed(np.zeros((9, 8, 4)), (1.5, 1.5, 8.0))
    prepared = preprocess.crop_or_pad(preprocess.resample(scan, (1.1, 1.3, 8.0), 1), (10, 12, 4))
    array = noise((10, 12, 4, 3))
    for order, anti_alias in itertools.product((0, 1), (False, True)):
        together = preprocess.onto_grid(prepared.with_array(array), scan, order, anti_alias=anti_alias).array
        for channel in range(3):
            alone = preprocess.onto_grid(prepared.with_array(array[..., channel]), scan, order, anti_alias=anti_alias).array
            np.testing.assert_array_equal(together[..., channel], alone)


def test_onto_grid_smooths_before_it_makes_coarser():
    coarse = from_array(np.zeros((3, 1, 1), np.float32))
    array = np.zeros((9, 1, 1), np.float32)
    array[4] = 1
    fine = preprocess.resample(coarse, (1 / 3, 1, 1), 1).with_array(array)
    found = preprocess.onto_grid(fine, coarse, 1, anti_alias=True).array.ravel()
    np.testing.assert_allclose(found, np.array([np.exp(-4.5), 1, np.exp(-4.5)]) / 2.506629, rtol=1e-4)


@pytest.mark.parametrize(
    "axes",
    [rotation(0, 0, 5), rotation(0.5, 0, 0), np.diag([-1, 1, 1]), np.diag([1, -1, -1]), np.eye(3)[:, [1, 0, 2]]],
    ids=["turned", "slightly turned", "mirrored", "mirrored twice", "transposed"],
)
def test_onto_grid_refuses_another_direction(axes):
    scan = placed(np.zeros((4, 4, 4)), (1, 1, 1), np.eye(3))
    with pytest.raises(ValueError, match="rotated or flipped"):
        preprocess.onto_grid(placed(np.zeros((4, 4, 4)), (1, 1, 1), axes), scan, 1)


# What all of them keep ------------------------------------------------------------------------------------------------------

STEPS = {
    "resample finer": lambda v, order: preprocess.resample(v, (0.9, 0.8, 3.0), order),
    "resample coarser": lambda v, order: preprocess.resample(v, (2.0, 2.5, 9.0), order, "zero", anti_alias=True),
    "crop_or_pad": lambda v, order: preprocess.crop_or_pad(v, (3, 9, 4)),
    "slab": lambda v, order: preprocess.slab(v, 1, 3),
    "window": lambda v, order: preprocess.window(v, (-2, 1, 1), (5, 9, 2)),
    "onto_grid": lambda v, order: preprocess.onto_grid(v, preprocess.resample(v, (1.0, 2.0, 7.0), 0), order, anti_alias=True),
}


@pytest.mark.parametrize(("dtype", "order"), [(np.float32, 0), (np.float32, 1), (np.uint8, 0)])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
def test_type_is_kept_and_input_untouched(step, dtype, order):
    scan = placed(noise((6, 5, 4), dtype), (1.25, 1.5, 5.0))
    array, affine = scan.array.copy(), scan.affine.copy()
    scan.array.flags.writeable = scan.affine.flags.writeable = False
    found = step(scan, order)
    assert found.array.dtype == dtype
    assert found.array.any()
    np.testing.assert_array_equal(scan.array, array)
    np.testing.assert_array_equal(scan.affine, affine)


def test_zscore_leaves_its_input():
    scan = placed(noise((6, 5, 4)), (1, 1, 1))
    before = scan.array.copy()
    preprocess.zscore(scan)
    np.testing.assert_array_equal(scan.array, before)


def test_shrinking_and_clahe_leave_their_input():
    for step in (lambda v: preprocess.clahe(v, 2.0, 8), lambda v: preprocess.shrink(v, (2, 2, 1)),
                 lambda v: preprocess.shrink_labels(v, (2, 2, 1))):  # fmt: skip
        scan = from_array(np.random.default_rng(0).integers(0, 4, (6, 4, 4), np.uint8))
        before = scan.array.copy()
        scan.array.flags.writeable = scan.affine.flags.writeable = False
        step(scan)
        np.testing.assert_array_equal(scan.array, before)
