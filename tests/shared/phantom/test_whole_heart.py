"""Anatomy of whole hearts: sizes, neighbours and places of the seven structures."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from shared.phantom.whole_heart import STRUCTURES, WholeHeart, along, bullet, cut, path, rotation, unit, vessel

SPACING_MM = 2.5
LOW_MM, HIGH_MM = (-75, -75, -75), (75, 75, 90)
RANGES_ML = {"LV": (80, 160), "Myo": (90, 170), "RV": (90, 180), "LA": (50, 110), "RA": (60, 120), "AA": (30, 80), "PA": (25, 70)}
AT_VALVES = {("LV", "LA"), ("LV", "AA"), ("RV", "RA"), ("RV", "PA")}
AT_WALLS = {("LV", "Myo"), ("Myo", "RV")}
AT_RIMS = {("Myo", "LA"), ("Myo", "AA")}  # the walls around the mitral and the aortic valve


def axes_mm():
    return [np.arange(low, high, SPACING_MM, dtype=np.float32) for low, high in zip(LOW_MM, HIGH_MM, strict=True)]


@pytest.fixture(scope="module", params=range(4))
def masks(request):
    """Name -> mask (x, y, z) of one heart."""
    shapes = WholeHeart(np.random.default_rng(request.param)).shapes(*np.meshgrid(*axes_mm(), indexing="ij"))
    return {name: distance < 0 for name, distance in shapes.cavities.items()}


def middle(mask):
    """Centre of a mask in mm: to the left, backwards, up."""
    return np.argwhere(mask).mean(0) * SPACING_MM + LOW_MM


def next_to(first, second):
    """How many voxels of `second` have a face in common with `first`."""
    return int((ndimage.binary_dilation(first) & second).sum())


def test_sizes_are_those_of_adults(masks):
    for name, (least, most) in RANGES_ML.items():
        assert least <= masks[name].sum() * SPACING_MM**3 / 1000 <= most, name


def test_no_voxel_is_in_two_structures(masks):
    assert tuple(masks) == STRUCTURES
    assert sum(mask.astype(int) for mask in masks.values()).max() == 1


def test_neighbours_meet_at_valves_and_walls_and_nobody_else_meets(masks):
    for pair in itertools.combinations(STRUCTURES, 2):
        faces_mm2 = next_to(*(masks[name] for name in pair)) * SPACING_MM**2
        if pair in AT_VALVES:
            assert 150 < faces_mm2 < 1200, pair
        elif pair in AT_WALLS:
            assert faces_mm2 > 3000, pair
        elif pair not in AT_RIMS:
            assert faces_mm2 == 0, pair


def test_a_septum_lies_between_the_ventricles(masks):
    away_mm = ndimage.distance_transform_edt(~masks["RV"], sampling=SPACING_MM)
    assert 6 < away_mm[masks["LV"]].min() < 14
    way = middle(masks["LV"]) + np.linspace(0, 1.3, 60)[:, None] * (middle(masks["RV"]) - middle(masks["LV"]))
    indices = np.rint((way - LOW_MM) / SPACING_MM).astype(int)
    names = [next((name for name in ("LV", "Myo", "RV") if masks[name][tuple(i)]), "") for i in indices]
    assert [name for name, _ in itertools.groupby(names)][:3] == ["LV", "Myo", "RV"]


def test_places_are_those_of_a_heart(masks):
    """x to the left, y backwards, z up."""
    lv, rv, la, ra, aa, pa = (middle(masks[name]) for name in ("LV", "RV", "LA", "RA", "AA", "PA"))
    assert rv[0] < lv[0] and rv[1] < lv[1]  # the right ventricle is to the right and in front
    assert ra[0] < la[0] and ra[1] < la[1]  # the left atrium is behind
    assert la[1] > max(lv[1], rv[1], ra[1], aa[1])
    assert ra[0] < rv[0] and ra[1] > rv[1]
    assert min(aa[2], pa[2]) > max(lv[2], rv[2], la[2], ra[2])
    apex = np.argwhere(masks["Myo"])[np.argwhere(masks["Myo"]) @ (1, -1, -1) == (np.argwhere(masks["Myo"]) @ (1, -1, -1)).max()]
    assert (apex[0] * SPACING_MM + LOW_MM - lv) @ (1, -1, -1) > 60  # it points to the left, forwards and down


def test_the_great_arteries_cross(masks):
    """The pulmonary artery begins in front and to the left of the aorta; its right branch passes behind."""
    begins = middle(ndimage.binary_dilation(masks["RV"]) & masks["PA"])
    root = middle(ndimage.binary_dilation(masks["LV"]) & masks["AA"])
    assert begins[0] > root[0] + 8 and begins[1] < root[1] - 10 and begins[2] > root[2]
    ascending = middle(masks["AA"])
    where = np.argwhere(masks["PA"]) * SPACING_MM + LOW_MM
    right = where[where[:, 0] < ascending[0] - 8]
    assert len(right) and (right[:, 1] > ascending[1]).all()
    assert where[:, 0].max() > 30 and where[where[:, 0] > 30][:, 1].min() > begins[1]  # and so does the left one, on its side


def test_hearts_differ_and_the_same_numbers_give_the_same_heart():
    at = np.meshgrid(*(axis[::6] for axis in axes_mm()), indexing="ij")
    first, again, other = (WholeHeart(np.random.default_rng(seed)).shapes(*at).cavities["RV"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1 and first.dtype == np.float32


def test_bullet():
    own = tuple(np.array(each, float) for each in ([25, 0, 0, 0], [0, 0, 25, 0], [28, 100, 20, 28]))
    np.testing.assert_allclose(bullet(own, 25, 100)[[0, 1, 3]], [0, 0, -25], atol=1e-9)  # widest; apex; on the axis
    assert bullet(own, 25, 100)[2] > 0  # it narrows towards the base


def test_small_helpers():
    at = tuple(np.array(each, float) for each in ([3, 0], [4, 0], [0, 5]))
    np.testing.assert_allclose(along(at, unit((3, 4, 0)), (0, 0, 7)), [5, 0])
    np.testing.assert_allclose(cut(np.array([-3.0, -3, 2]), np.array([-5.0, 1, 0])), [-3, 1, 2])
    bent = path(((0, 0, 0), 1), ((0, 0, 10), 1), ((10, 0, 10), 2))
    points = tuple(np.array(each, np.float32) for each in ([3, 10, 5], [0, 0, 0], [5, 13, 10]))
    np.testing.assert_allclose(vessel(points, bent), [2, 1, -1.5])
    turned = rotation(10, 20, 30)
    np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rotation(0, 0, 90) @ (1, 0, 0), (0, 1, 0), atol=1e-12)
