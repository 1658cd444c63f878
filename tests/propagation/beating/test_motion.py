"""A beating heart on a synthetic anatomy: what an incompressible, regional, invertible motion must hold."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from propagation import masks
from propagation.beating import motion
from propagation.beating.anatomy import heart_of
from propagation.beating.infarcts import HEALTHY, variant
from propagation.beating.motion import Motion, activation, deformed, inverse_grid, jacobian
from shared import datasets
from shared.scans import preprocess
from tests.propagation.beating.drawn import SHAPE, SPACING_MM

SEED = (3, 1)


@pytest.fixture(scope="module")
def infarcted():
    """An infarct of the inferior wall from the base to the apex."""
    return dataclasses.replace(HEALTHY, segments=(4, 10, 15), residual=0.1)


def in_wall(heart, radius_mm, degrees, z_mm):
    """Points at a distance from the LV axis and an angle from the RV."""
    angle = heart.septum_rad + np.deg2rad(np.atleast_1d(degrees))
    x = heart.axis_mm[0] + heart.slope[0] * z_mm + radius_mm * np.cos(angle)
    y = heart.axis_mm[1] + heart.slope[1] * z_mm + radius_mm * np.sin(angle)
    return np.stack([x, y, np.full_like(x, z_mm)], axis=1)


def lv_wall(heart):
    """Points all around, through the thickness and along the wall, clear of its faces."""
    places = [(r, z) for r in (24.5, 29, 33) for z in (4.0, 20.0, 36.0)]
    return np.concatenate([in_wall(heart, r, np.arange(0, 360, 15), z) for r, z in places])


def everywhere(heart):
    grid = np.meshgrid(np.linspace(-10, 150, 15), np.linspace(-10, 140, 14), np.linspace(-10, 90, 11), indexing="ij")
    return np.stack(grid, axis=-1).reshape(-1, 3)


def from_axis(heart, points):
    return np.hypot(*(points[:, :2] - heart.axis_mm - points[:, 2:] * heart.slope).T)


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_the_wall_is_incompressible(heart, index):
    beat = Motion(heart, variant(index, SEED))
    points, step = lv_wall(heart), 0.01
    divergence = sum(
        (beat.velocity(points + o, 0.5) - beat.velocity(points - o, 0.5))[:, axis] / (2 * step)
        for axis, o in enumerate(step * np.eye(3))
    )
    assert np.abs(divergence).max() < 0.005
    np.testing.assert_allclose(jacobian(beat, points, 1.0), 1, atol=0.01)


def test_blood_is_what_leaves(heart):
    """The same measure is far from 1 in both cavities: the test above can fail."""
    beat = Motion(heart, HEALTHY)
    assert (jacobian(beat, in_wall(heart, 3.0, [0, 90, 180], 20.0), 1.0) < 0.5).all()
    assert jacobian(beat, in_wall(heart, 46.0, 0, 10.0), 1.0) < 0.7


@pytest.mark.parametrize("index", [0, 1, 2])
def test_nothing_folds_and_the_inverse_undoes_the_motion(heart, index):
    beat, points = Motion(heart, variant(index, SEED)), everywhere(heart)
    assert jacobian(beat, points, 1.0).min() > 0.05
    there = beat.forward(points, 1.0)
    assert np.abs(there - points).max() > 5
    assert np.abs(beat.inverse(there, 1.0) - points).max() < 0.01
    assert np.abs(beat.forward(beat.inverse(points, 0.6), 0.6) - points).max() < 0.01


def test_steps_are_small_enough(heart, infarcted, monkeypatch):
    beat, points = Motion(heart, infarcted), everywhere(heart)
    coarse = beat.forward(points, 1.0)
    monkeypatch.setattr(motion, "STEPS", 16)
    assert np.abs(beat.forward(points, 1.0) - coarse).max() < 0.03
    wall = lv_wall(heart)
    fine = beat.forward(wall, 1.0)
    monkeypatch.undo()
    assert np.abs(beat.forward(wall, 1.0) - fine).max() < 0.003


def test_end_diastole_is_the_scan_itself(heart, parts):
    points = everywhere(heart)
    beat = Motion(heart, HEALTHY)
    np.testing.assert_array_equal(beat.forward(points, 0.0), points)
    grid = inverse_grid(beat, 0.0, SHAPE, SPACING_MM, [3, 4])
    image = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    picture, wall = deformed(image, parts[0], grid)
    np.testing.assert_allclose(picture, image[..., 3:5], atol=1e-3)
    np.testing.assert_array_equal(wall, parts[0][..., 3:5])


def test_the_activation_is_a_smooth_cycle():
    tau = np.array([activation(t, 30, 0.4) for t in range(61)])
    assert tau[0] == tau[30] == tau[60] == 0 and tau[12] == 1 == tau.max() and tau.min() == 0
    np.testing.assert_allclose(tau[:30], tau[30:60], atol=1e-12)
    assert (np.diff(tau[:13]) > 0).all() and (np.diff(tau[12:31]) < 0).all()
    assert activation(6, 30, 0.4) == pytest.approx(0.5)
    assert np.abs(np.diff(tau)).max() < np.pi / 2 / 12


def test_contraction_shortening_and_torsion_are_the_stated_ones(heart):
    beat = Motion(heart, dataclasses.replace(HEALTHY, torsion_deg=(4.0, -10.0)))
    inner, outer = in_wall(heart, 24.0, [120, 180, 240], 12.0), in_wall(heart, 34.0, [120, 180, 240], 12.0)
    inside, outside = (from_axis(heart, beat.forward(points, 1.0)) for points in (inner, outer))
    assert 1.30 < ((outside - inside) / 10).mean() < 1.45
    base, tip = in_wall(heart, 30.0, 180, 0.0), in_wall(heart, 30.0, 180, 60.0)
    moved = [beat.forward(points, 1.0) for points in (base, tip)]
    assert moved[0][0, 2] == pytest.approx(0, abs=1e-3)  # the picture stays with the base
    assert moved[1][0, 2] == pytest.approx(60 * 0.88, abs=0.01)
    still = Motion(heart, dataclasses.replace(HEALTHY, torsion_deg=(0.0, 0.0)))

    def bearing_deg(points):
        return np.rad2deg(np.arctan2(*(points[:, :2] - heart.axis_mm - points[:, 2:] * heart.slope)[:, ::-1].T))

    twist = [(bearing_deg(m) - bearing_deg(still.forward(p, 1.0)))[0] for m, p in zip(moved, (base, tip), strict=True)]
    assert 2.5 < twist[0] < 4 and -9.5 < twist[1] < -6  # less than asked for: the base moves on to slices that turn less


def test_an_infarct_stills_its_own_segments_only(heart, infarcted):
    healthy, ill = Motion(heart, HEALTHY), Motion(heart, infarcted)
    inferior, anterior = in_wall(heart, 25.0, -90, 34.0), in_wall(heart, 25.0, 90, 34.0)

    def inwards(beat, point):
        return 25.0 - from_axis(heart, beat.forward(point, 1.0))[0]

    assert inwards(ill, inferior) < 0.25 * inwards(healthy, inferior)
    assert inwards(healthy, anterior) > 5
    assert inwards(ill, anterior) == pytest.approx(inwards(healthy, anterior), rel=0.02)
    base = Motion(heart, dataclasses.replace(infarcted, segments=(4,)))
    assert inwards(base, inferior) == pytest.approx(inwards(healthy, inferior), rel=0.02)  # the same wall, another third


def test_segments_share_out_the_whole_wall(heart):
    z = np.linspace(0, 80, 30)
    everything = dataclasses.replace(HEALTHY, segments=tuple(range(1, 18)), residual=0.25)
    np.testing.assert_allclose(motion.contraction(heart, everything, z), 0.25)
    one = motion.contraction(heart, dataclasses.replace(everything, segments=(1,)), z)
    assert one[2, 180 + 90] == pytest.approx(0.25)  # basal anterior: 90 degrees from the RV
    assert one[2, 180 - 90] == one[2, 180] == one[-1, 180 + 90] == 1


def test_healthy_hearts_eject_more_than_infarcted_ones_and_walls_keep_their_volume(heart, parts):
    wall, left, _ = parts
    fraction = []
    for beat in (variant(0, SEED), dataclasses.replace(HEALTHY, segments=(1, 2, 7, 8, 13), residual=0.1)):
        grid = inverse_grid(Motion(heart, beat), 1.0, SHAPE, SPACING_MM, range(SHAPE[2]))
        cavity, there = deformed(left, wall, grid)
        fraction.append(1 - np.count_nonzero(cavity >= 0.5) / np.count_nonzero(left))
        assert np.count_nonzero(there) / np.count_nonzero(wall) == pytest.approx(1, abs=0.04)
    assert 0.50 < fraction[0] < 0.70
    assert fraction[1] < fraction[0] - 0.1


@pytest.mark.parametrize("index", [0, 1])
def test_the_coarse_grid_is_good_to_a_fraction_of_a_voxel(heart, parts, index):
    beat = Motion(heart, variant(index, SEED))
    shape, slices = (115, 102, 67), [20, 21, 22, 23, 24]
    voxels = np.stack(np.meshgrid(*map(np.arange, shape[:2]), slices, indexing="ij"), axis=-1)
    exact = beat.inverse(voxels.reshape(-1, 3) * 1.25, 1.0).reshape(voxels.shape) / 1.25
    assert np.linalg.norm(voxels - exact, axis=-1).max() > 4
    grid = np.moveaxis(inverse_grid(beat, 1.0, shape, (1.25, 1.25, 1.25), slices), 0, -1)
    error = np.linalg.norm(grid - exact, axis=-1)
    in_wall = ndimage.map_coordinates(parts[0].astype(float), np.moveaxis(exact, -1, 0) * 1.25 / 2.0, order=1) >= 0.5
    assert error[in_wall].max() < 0.5 and np.percentile(error[in_wall], 99) < 0.15 and error.max() < 2
    gradient = np.stack(np.gradient(grid, axis=(0, 1, 2)), axis=-1)
    assert np.linalg.det(gradient).min() > 0


def test_any_choice_of_slices_gives_the_same_grid(heart):
    beat = Motion(heart, HEALTHY)
    whole = inverse_grid(beat, 1.0, SHAPE, SPACING_MM, range(10, 21))
    assert whole.shape == (3, 72, 64, 11)
    np.testing.assert_allclose(inverse_grid(beat, 1.0, SHAPE, SPACING_MM, [20, 10, 14]), whole[..., [10, 0, 4]], atol=0.02)
    np.testing.assert_allclose(inverse_grid(beat, 1.0, SHAPE, SPACING_MM, [14])[..., 0], whole[..., 4], atol=0.02)


def test_masks_end_with_the_volume_and_images_go_on():
    image, mask = np.full((4, 4, 4), 7.0), np.ones((4, 4, 4), bool)
    outside = np.indices((4, 4, 4)).astype(float)[..., :1] - [[[[0]]], [[[0]]], [[[1.0]]]]
    picture, wall = deformed(image, mask, outside)
    assert (picture == 7).all() and not wall.any()


def test_a_real_heart_beats():
    """ACDC's patient001, resampled: steps of 10 mm in z, no closed apex, an RV wall that is our own."""
    root = Path(os.environ.get("CARDIAC_DATA", "")) / "acdc"
    if not os.environ.get("CARDIAC_DATA") or not root.is_dir():
        pytest.skip("no ACDC: the environment variable CARDIAC_DATA names the folder that holds acdc/")
    case = next(case for case in datasets.find("acdc", root) if case.patient == "patient001" and case.phase == "ED")
    labels = preprocess.resample(datasets.load_pair(case, ("RV", "Myo", "LV"))[1], (2.5, 2.5, 2.5), 0)
    wall, left = masks.biventricular(labels, 3.75).array > 0, labels.array == masks.LV
    heart = heart_of(wall, labels.spacing_mm)
    given = heart_of(wall, labels.spacing_mm, cavity=left)
    np.testing.assert_allclose(heart.axis_mm, given.axis_mm, atol=1)
    np.testing.assert_allclose(heart.cavity_mm, given.cavity_mm, atol=2)
    beat = Motion(given, variant(1, SEED))
    volumes = jacobian(beat, np.argwhere(wall)[::13] * labels.spacing_mm, 1.0)
    assert volumes.min() > 0.1 and np.mean(np.abs(volumes - 1) < 0.01) > 0.93
    grid = inverse_grid(Motion(given, HEALTHY), 1.0, wall.shape, labels.spacing_mm, range(wall.shape[2]))
    cavity, there = deformed(left, wall, grid)
    assert 0.5 < 1 - np.count_nonzero(cavity >= 0.5) / np.count_nonzero(left) < 0.7
    assert np.count_nonzero(there) / np.count_nonzero(wall) == pytest.approx(1, abs=0.05)
