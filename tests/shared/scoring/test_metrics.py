"""Overlap, surface distances and volumes against values worked out by hand, and against all pairs of voxels."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shared.scoring import metrics

PROPERTY = settings(max_examples=100, deadline=None, derandomize=True, database=None)
UNIT = (1.0, 1.0, 1.0)
SPACINGS_MM = st.tuples(*[st.floats(0.5, 10)] * 3)


def mask(shape, *boxes):
    """True inside the boxes, each a tuple of slices or voxel indices."""
    result = np.zeros(shape, bool)
    for box in boxes:
        result[box] = True
    return result


def asd_mm(a, b, spacing_mm):
    return metrics.asd_of(*metrics.surface_distances_mm(a, b, spacing_mm))


def scores(a, b, spacing_mm):
    """Dice, Jaccard, sensitivity, Hausdorff, ASSD."""
    distances_mm = metrics.hausdorff_mm(a, b, spacing_mm), metrics.assd_mm(a, b, spacing_mm)
    return (metrics.dice(a, b), metrics.jaccard(a, b), metrics.sensitivity(a, b), *distances_mm)


# Cases worked out by hand ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("axis", "spacing_mm"), [(0, (2, 1, 1)), (1, (3, 2, 1)), (2, (5, 5, 2))])
def test_two_voxels_2_mm_apart(axis, spacing_mm):
    other = [1, 1, 1]
    other[axis] = 2
    a, b = mask((4, 4, 4), (1, 1, 1)), mask((4, 4, 4), tuple(other))
    assert scores(a, b, spacing_mm) == (0, 0, 0, 2, 2)
    assert scores(a, a, spacing_mm) == (1, 1, 1, 0, 0)


def test_squares_shifted_by_two():
    """5 x 5 squares: 15 of 25 pixels in common, 16 border pixels each.

    Border of the first to that of the second: the row left behind is 2 away (5 pixels), the two ends of the next row 1 (2
    pixels), the ends of the third and fourth row 0; of the fifth row, which lies inside the second square, the ends are 0, their
    neighbours 1 and the middle 2 away. Sum 10 + 2 + 0 + 4 = 16.
    """
    a, b = mask((9, 7), np.s_[1:6, 1:6]), mask((9, 7), np.s_[3:8, 1:6])
    assert scores(a, b, (1, 1)) == pytest.approx((30 / 50, 15 / 35, 15 / 25, 2, 1))
    to_b, to_a = metrics.surface_distances_mm(a, b, (1, 1))
    assert sorted(to_b) == sorted(to_a) == [0] * 6 + [1] * 4 + [2] * 6


def test_squares_in_one_slice_are_all_surface():
    """Nothing lies above or below, so all 25 voxels count; the two rows that stick out are 2 and 1 away."""
    a, b = mask((9, 7, 1), np.s_[1:6, 1:6]), mask((9, 7, 1), np.s_[3:8, 1:6])
    assert metrics.hausdorff_mm(a, b, (1, 1, 10)) == 2
    assert metrics.assd_mm(a, b, (1, 1, 10)) == pytest.approx((5 * 2 + 5 * 1) / 25)


@pytest.mark.parametrize("z_mm", [1, 8])
def test_cubes_shifted_by_one_slice(z_mm):
    """3 x 3 x 3 cubes, 26 surface voxels each: the 9 that stick out are one slice away, the middle of the far face 1 mm."""
    a, b = mask((5, 5, 6), np.s_[1:4, 1:4, 1:4]), mask((5, 5, 6), np.s_[1:4, 1:4, 2:5])
    assert scores(a, b, (1, 1, z_mm)) == pytest.approx((2 / 3, 18 / 36, 2 / 3, z_mm, (9 * z_mm + 1) / 26))


def test_nearest_is_nearest_in_mm():
    """One slice up is 10 mm, three columns along 6 mm: fewer voxels, but farther."""
    a = mask((6, 2, 2), (0, 0, 0))
    b = mask((6, 2, 2), (0, 0, 1), (3, 0, 0))
    to_b, to_a = metrics.surface_distances_mm(a, b, (2, 1, 10))
    assert to_b.tolist() == [6] and sorted(to_a) == [6, 10]
    assert metrics.hausdorff_mm(a, b, (2, 1, 10)) == 10
    assert metrics.assd_mm(a, b, (2, 1, 10)) == (6 + 8) / 2


def test_slanting_distance():
    a, b = mask((4, 5, 3), (0, 0, 0)), mask((4, 5, 3), (3, 4, 2))
    assert metrics.hausdorff_mm(a, b, (1, 1, 6)) == pytest.approx(13)  # sqrt(3^2 + 4^2 + 12^2)


def test_border_of_the_array_is_surface_and_directions_weigh_alike():
    """A full 3 x 3 x 3 array against its middle voxel: 26 distances one way, a single one the other way."""
    whole, middle = np.ones((3, 3, 3), bool), mask((3, 3, 3), (1, 1, 1))
    one_way = (6 * 1 + 12 * math.sqrt(2) + 8 * math.sqrt(3)) / 26
    assert scores(whole, middle, UNIT) == pytest.approx((2 / 28, 1 / 27, 1, math.sqrt(3), (one_way + 1) / 2))
    to_b, to_a = metrics.surface_distances_mm(whole, middle, UNIT)
    assert (len(to_b), len(to_a)) == (26, 1)


def test_every_surface_voxel_weighs_alike_in_asd():
    """Parallel squares 4 mm apart, the small one under the middle of the large one, 5 x 5 and 1 x 1, voxels of 3 mm by 3 mm.

    Each is one slice thick, so all its voxels are surface. From the large one 1 voxel is 4 mm away, 4 are 5 mm (3-4-5), the 4
    next to these diagonally sqrt(34), 4 in line two away sqrt(52), 8 a knight's move away sqrt(61), the 4 corners sqrt(88); from
    the small one its one voxel 4 mm.
    """
    large, small = mask((5, 5, 2), np.s_[:, :, 0]), mask((5, 5, 2), (2, 2, 1))
    directed = 4 + 4 * 5 + 4 * math.sqrt(34) + 4 * math.sqrt(52) + 8 * math.sqrt(61) + 4 * math.sqrt(88)
    assert asd_mm(large, small, (3, 3, 4)) == pytest.approx((directed + 4) / 26)
    assert metrics.assd_mm(large, small, (3, 3, 4)) == pytest.approx((directed / 25 + 4) / 2)


def test_asd_of_empty_masks():
    assert asd_mm(EMPTY, EMPTY, UNIT) == 0 and asd_mm(CUBE, CUBE, UNIT) == 0
    assert math.isnan(asd_mm(EMPTY, CUBE, UNIT)) and math.isnan(asd_mm(CUBE, EMPTY, UNIT))


def test_slicewise_hausdorff():
    """Slice 0: a voxel and one 2 along x, 4 mm. Slice 1: 1 along y, 3 mm. Slice 2 holds one mask alone and does not count."""
    a = mask((4, 4, 3), (0, 0, 0), (1, 1, 1), (3, 3, 2))
    b = mask((4, 4, 3), (2, 0, 0), (1, 2, 1))
    assert metrics.hausdorff_slices_mm(a, b, (2, 3, 10)) == (4 + 3) / 2
    assert metrics.hausdorff_slices_mm(b, a, (2, 3, 10)) == (4 + 3) / 2
    assert metrics.hausdorff_mm(a, b, (2, 3, 10)) == pytest.approx(
        math.sqrt(4**2 + 3**2 + 10**2)
    )  # 3D: slice 2 reaches to slice 1


def test_slicewise_surface_is_that_of_the_slice():
    """A full 5 x 5 square against its ring: in the slice the middle is no surface, though in 3D it is."""
    full = mask((5, 5, 1), np.s_[:, :, 0])
    ring = full.copy()
    ring[1:4, 1:4] = False
    assert metrics.hausdorff_slices_mm(full, ring, UNIT) == 0 and metrics.hausdorff_mm(full, ring, UNIT) == 2


def test_slicewise_hausdorff_without_a_common_slice():
    assert metrics.hausdorff_slices_mm(EMPTY, EMPTY, UNIT) == 0
    assert math.isnan(metrics.hausdorff_slices_mm(EMPTY, CUBE, UNIT))
    assert math.isnan(metrics.hausdorff_slices_mm(mask((2, 2, 2), (0, 0, 0)), mask((2, 2, 2), (0, 0, 1)), UNIT))


def test_sensitivity_is_the_share_of_the_reference():
    predicted, reference = mask((4, 1, 1), np.s_[:3]), mask((4, 1, 1), np.s_[2:])
    assert metrics.sensitivity(predicted, reference) == 1 / 2
    assert metrics.sensitivity(reference, predicted) == 1 / 3


# Empty masks ----------------------------------------------------------------------------------------------------------------

EMPTY, CUBE = mask((5, 5, 5)), mask((5, 5, 5), np.s_[1:4, 1:4, 1:4])


def test_empty_prediction():
    dice, jaccard, sensitivity, hausdorff, assd = scores(EMPTY, CUBE, UNIT)
    assert (dice, jaccard, sensitivity) == (0, 0, 0)
    assert math.isnan(hausdorff) and math.isnan(assd)


def test_empty_reference():
    dice, jaccard, sensitivity, hausdorff, assd = scores(CUBE, EMPTY, UNIT)
    assert (dice, jaccard) == (0, 0)
    assert math.isnan(sensitivity) and math.isnan(hausdorff) and math.isnan(assd)


def test_both_empty():
    dice, jaccard, sensitivity, hausdorff, assd = scores(EMPTY, EMPTY, UNIT)
    assert (dice, jaccard, hausdorff, assd) == (1, 1, 0, 0)
    assert math.isnan(sensitivity)


# Against all pairs ----------------------------------------------------------------------------------------------------------


def surface_mm(mask, spacing_mm):
    """Positions of the voxels with a neighbour outside, each looked at by itself."""
    inside = set(map(tuple, np.argwhere(mask).tolist()))

    def on_border(voxel):
        steps = itertools.product(range(3), (-1, 1))
        return any(tuple(c + side * (a == axis) for a, c in enumerate(voxel)) not in inside for axis, side in steps)

    return [[c * s for c, s in zip(voxel, spacing_mm, strict=True)] for voxel in sorted(inside) if on_border(voxel)]


@st.composite
def mask_pairs(draw):
    """Random masks from nearly empty to nearly full, of one shape."""
    shape = draw(st.tuples(*[st.integers(1, 6)] * 3))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    return tuple(random.random(shape) < draw(st.sampled_from([0.02, 0.2, 0.6, 0.95, 1.0])) for _ in range(2))


@PROPERTY
@given(pair=mask_pairs(), spacing_mm=SPACINGS_MM)
def test_distances_agree_with_all_pairs(pair, spacing_mm):
    a, b = pair
    points_a, points_b = surface_mm(a, spacing_mm), surface_mm(b, spacing_mm)
    to_b, to_a = metrics.surface_distances_mm(a, b, spacing_mm)
    assert (len(to_b), len(to_a)) == (len(points_a), len(points_b))
    if points_a and points_b:
        expected_b = [min(math.dist(p, q) for q in points_b) for p in points_a]
        expected_a = [min(math.dist(p, q) for p in points_a) for q in points_b]
        np.testing.assert_allclose(to_b, expected_b, rtol=1e-6)
        np.testing.assert_allclose(to_a, expected_a, rtol=1e-6)
        assert metrics.hausdorff_mm(a, b, spacing_mm) == pytest.approx(max(expected_a + expected_b))
        mean_b, mean_a = sum(expected_b) / len(expected_b), sum(expected_a) / len(expected_a)
        assert metrics.assd_mm(a, b, spacing_mm) == pytest.approx((mean_b + mean_a) / 2)
        assert asd_mm(a, b, spacing_mm) == pytest.approx(sum(expected_a + expected_b) / len(expected_a + expected_b))


@PROPERTY
@given(pair=mask_pairs(), spacing_mm=SPACINGS_MM, zoom=st.floats(0.1, 10))
def test_symmetric_in_bounds_and_in_mm(pair, spacing_mm, zoom):
    a, b = pair
    dice, jaccard, _, hausdorff, assd = scores(a, b, spacing_mm)
    swapped = scores(b, a, spacing_mm)
    np.testing.assert_allclose(swapped[:2] + swapped[3:], (dice, jaccard, hausdorff, assd))
    assert 0 <= dice <= 1
    assert jaccard == pytest.approx(dice / (2 - dice))
    if not math.isnan(hausdorff):
        assert 0 <= assd <= hausdorff
        larger = metrics.hausdorff_mm(a, b, np.multiply(spacing_mm, zoom))
        assert larger == pytest.approx(zoom * hausdorff)


@PROPERTY
@given(pair=mask_pairs(), spacing_mm=SPACINGS_MM, before=st.integers(0, 3), after=st.integers(0, 3))
def test_surroundings_do_not_matter(pair, spacing_mm, before, after):
    padded = [np.pad(m, (before, after)) for m in pair]
    np.testing.assert_allclose(scores(*padded, spacing_mm), scores(*pair, spacing_mm))


@PROPERTY
@given(pair=mask_pairs(), spacing_mm=SPACINGS_MM, before=st.integers(0, 3), after=st.integers(0, 3))
@pytest.mark.parametrize("measure", [asd_mm, metrics.hausdorff_slices_mm])
def test_pooled_and_slicewise_distances_are_symmetric_and_stay_with_a_shift(measure, pair, spacing_mm, before, after):
    distance_mm = measure(*pair, spacing_mm)
    np.testing.assert_allclose(measure(*pair[::-1], spacing_mm), distance_mm)
    np.testing.assert_allclose(measure(*[np.pad(m, (before, after)) for m in pair], spacing_mm), distance_mm)
    if not math.isnan(distance_mm) and measure is asd_mm:
        assert 0 <= distance_mm <= metrics.hausdorff_mm(*pair, spacing_mm)


@PROPERTY
@given(arrays(np.uint8, (3, 4, 2), elements=st.integers(0, 3)), arrays(np.uint8, (3, 4, 2), elements=st.integers(0, 3)))
def test_numbers_count_as_masks_and_stay_as_they_are(a, b):
    before = a.copy(), b.copy()
    found = scores(a, b, (1, 2, 3))
    np.testing.assert_array_equal(found, scores(a > 0, b > 0, (1, 2, 3)))
    np.testing.assert_array_equal((a, b), before)


# Refusals -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", [metrics.dice, metrics.jaccard, metrics.sensitivity])
def test_masks_of_different_shape(measure):
    with pytest.raises(ValueError, match=r"\(3, 4, 5\) and \(3, 4, 1\)"):  # numpy alone would repeat the one slice
        measure(np.ones((3, 4, 5), bool), np.ones((3, 4, 1), bool))


@pytest.mark.parametrize("measure", [metrics.hausdorff_mm, metrics.assd_mm, metrics.hausdorff_slices_mm])
def test_distances_of_different_shape_or_spacing(measure):
    with pytest.raises(ValueError, match=r"\(3, 4, 5\) and \(3, 4, 1\)"):
        measure(np.ones((3, 4, 5), bool), np.ones((3, 4, 1), bool), UNIT)
    with pytest.raises(ValueError, match=r"spacing_mm: expected 3 numbers, found \(1.0, 2.0\)"):
        measure(CUBE, CUBE, (1.0, 2.0))


# Volumes --------------------------------------------------------------------------------------------------------------------


def test_volume():
    assert metrics.volume_ml(mask((10, 10, 2), np.s_[:5, :, :]), (1.5, 1.5, 10)) == pytest.approx(2.25)  # 100 of 22.5 mm3
    assert metrics.volume_ml(EMPTY, UNIT) == 0


def test_ejection_fraction():
    assert metrics.ejection_fraction(150, 60) == pytest.approx(60)
    assert metrics.ejection_fraction(100, 110) == pytest.approx(-10)
    assert math.isnan(metrics.ejection_fraction(80, 0))  # a ventricle never empties: nothing was found
    assert math.isnan(metrics.ejection_fraction(0, 0)) and math.isnan(metrics.ejection_fraction(0.0, 5.0))


def test_mass():
    assert metrics.mass_g(100) == pytest.approx(105)


def test_masks_are_cropped_to_the_box_that_holds_both():
    a, b = np.zeros((9, 8, 7), bool), np.zeros((9, 8, 7), bool)
    a[2, 3, 4] = b[5, 1, 6] = True
    ours, theirs = metrics.cropped(a, b, (1, 1, 1))
    assert ours.shape == theirs.shape == (4, 3, 3) and ours[0, 2, 0] and theirs[3, 0, 2] and ours.sum() == theirs.sum() == 1
    assert metrics.cropped(a, 0 * a, (1, 1, 1))[0].shape == (1, 1, 1)
    empty, _ = metrics.cropped(0 * a, 0 * b, (1, 1, 1))
    assert empty.size == 0 and metrics.hausdorff_slices_mm(empty, empty, (1, 1, 1)) == 0
    with pytest.raises(ValueError, match="different shape"):
        metrics.cropped(a, b[1:], (1, 1, 1))


@pytest.mark.parametrize("seed", range(4))
def test_slices_are_measured_as_if_each_were_alone(seed):
    rng = np.random.default_rng(seed)
    a, b = (rng.random((7, 6, 5)) < 0.2 for _ in range(2))
    a[..., 0], b[..., 3] = False, False
    alone = [metrics.hausdorff_mm(a[..., z], b[..., z], (1.5, 2.0)) for z in (1, 2, 4)]
    assert metrics.hausdorff_slices_mm(a, b, (1.5, 2.0, 9.0)) == np.mean(alone)
