"""Surfaces of masks: volume, place and topology against values worked out by hand."""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("skimage", reason="the extra [mesh] is not installed")

from propagation import masks  # noqa: E402
from propagation.mesh.fields import cavities  # noqa: E402
from propagation.mesh.labels import structures, wall  # noqa: E402
from propagation.mesh.solid import Surface, enclosed_ml  # noqa: E402
from propagation.mesh.surfaces import surface, without_crumbs  # noqa: E402
from shared.scans import volume  # noqa: E402
from shared.scans.volume import Volume, from_array  # noqa: E402
from tests.geometry import rotation  # noqa: E402
from tests.propagation.mesh.shapes import CORNER, assert_sound, ball, grid_mm, measured  # noqa: E402


def test_a_ball():
    solid, found = measured(from_array(ball(8.0)))
    assert_sound(found)
    assert found.volume_ml == pytest.approx(4 / 3 * np.pi * 8**3 / 1000, rel=0.02)
    assert found.area_mm2 == pytest.approx(4 * np.pi * 8**2, rel=0.03)
    radii_mm = np.linalg.norm(solid.points_mm - 11.5, axis=1)
    assert 7.5 < radii_mm.min() and radii_mm.max() < 8.5


def test_a_mask_that_fills_its_array_is_closed():
    _, found = measured(from_array(np.ones((9, 8, 7), bool)))
    assert_sound(found)


def test_a_shell_has_two_pieces_and_its_cavity_is_not_in_its_volume():
    _, found = measured(from_array(ball(10.0) & ~ball(6.0)))
    assert_sound(found, pieces=2, euler=4)
    assert found.volume_ml == pytest.approx(4 / 3 * np.pi * (10**3 - 6**3) / 1000, rel=0.02)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
def test_a_torus_has_one_hole(axes):
    x, y, z = grid_mm((34, 34, 16), (1, 1, 1))
    ring = (np.hypot(x, y) - 10) ** 2 + z**2 <= 5**2
    _, found = measured(from_array(ring.transpose(axes)))
    assert_sound(found, euler=0)
    assert found.volume_ml == pytest.approx(2 * np.pi**2 * 10 * 5**2 / 1000, rel=0.02)


def test_thick_slices_give_a_leaning_cylinder_without_stairs():
    spacing_mm, radius_mm, lean = (1.5, 1.5, 10.0), 12.0, 0.6  # 6 mm from slice to slice
    x, y, z = grid_mm((56, 30, 8), spacing_mm)
    solid, found = measured(from_array(np.hypot(x - lean * z, y) <= radius_mm, spacing_mm))
    assert_sound(found)
    x, y, z = (solid.points_mm - (np.array([56, 30, 8]) - 1) / 2 * spacing_mm).T
    side = np.abs(z) < 32
    off_mm = np.hypot(x - lean * z, y)[side] - radius_mm
    assert np.abs(off_mm).max() < 1.0  # stairs are 3 mm off
    assert np.ptp(z) == pytest.approx(80, abs=2)  # to the outer faces of the first and last voxels


def test_a_thin_wall_that_leans_has_no_gaps():
    spacing_mm, x, y, z = (1.5, 1.5, 10.0), *grid_mm((60, 60, 8), (1.5, 1.5, 10.0))
    radius_mm = 25 - 0.5 * z  # a cone: rings of 3 mm that are 5 mm larger in every slice do not overlap
    _, found = measured(from_array((np.hypot(x, y) <= radius_mm) & (np.hypot(x, y) > radius_mm - 3), spacing_mm))
    assert_sound(found, euler=0)


@pytest.mark.parametrize(("lean_mm", "septum_mm"), [(0, 4.5), (3, 4.5), (6, 4.5), (9, 4.5), (3, 1.5)])
def test_a_septum_that_leans_has_no_gaps(lean_mm, septum_mm):
    """Where slices are far apart, each cavity lies beside the other one of the next slice; they stay apart all the same."""
    spacing_mm, x, y, z = (1.5, 1.5, 10.0), *grid_mm((61, 60, 6), (1.5, 1.5, 10.0))
    septum = np.abs(x - lean_mm * z / 10) <= septum_mm / 2
    assert np.all(np.count_nonzero(septum, axis=0) == round(septum_mm / 1.5))
    inside = np.hypot(x, y) <= 28
    assert len(cavities(inside & ~septum)) == 2
    _, found = measured(from_array((np.hypot(x, y) <= 32) & (~inside | septum), spacing_mm))
    assert_sound(found, euler=-2)  # two tubes, open at both ends


def test_a_cavity_that_forks_stays_one():
    """One hole in the upper slices, two in the lower ones, which a wall parts: a fork, and no lid between."""
    x, y, z = grid_mm((60, 60, 8), (1.5, 1.5, 6.0))
    wall = np.hypot(x, y) <= 32
    wall &= (np.hypot(x, y) > 28) | ((np.abs(x) <= 3) & (z < 0))
    mask = from_array(wall, (1.5, 1.5, 6.0))
    assert len(cavities((np.hypot(x, y) <= 28) & ~wall)) == 1
    _, found = measured(mask)
    assert_sound(found, euler=-2)


def test_slices_may_lie_across_any_axis():
    spacing_mm = (1.5, 1.5, 6.0)
    mask = ball(14.0, (24, 24, 8), spacing_mm)
    upright, turned = from_array(mask, spacing_mm), from_array(mask.transpose(2, 0, 1), (6.0, 1.5, 1.5))
    one, other = surface(upright), surface(turned)
    np.testing.assert_allclose(np.sort(one.points_mm[:, 2]), np.sort(other.points_mm[:, 0]), atol=1e-4)


@pytest.mark.parametrize("flip", [1, -1])
def test_points_are_where_the_affine_says_and_faces_look_outwards(flip):
    spacing_mm, shape = (1.5, 2.0, 4.0), (22, 18, 12)
    affine = np.eye(4)
    affine[:3, :3] = rotation(20, -35, 50) @ np.diag([flip * 1.5, 2.0, 4.0])
    affine[:3, 3] = -40, 25, 300
    mask = np.zeros(shape, bool)
    mask[4:18, 3:15, 2:10] = True
    mask[4:8, 3:15, 2:6] = False  # no symmetry that could hide a swapped axis
    solid, found = measured(Volume(mask, spacing_mm, affine))
    assert_sound(found)
    centre_mm = affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]
    a, b, c = np.moveaxis(solid.points_mm[solid.faces], 1, 0)
    parts = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
    centroid_mm = (parts[:, None] * (a + b + c) / 4).sum(axis=0) / parts.sum()
    np.testing.assert_allclose(centroid_mm, centre_mm, atol=0.1)


def test_the_headers_voxel_size_wins_over_the_affines_scale():
    solid, found = measured(Volume(ball(8.0), (2.0, 2.0, 2.0), np.eye(4)))  # as ACDC stores some
    assert_sound(found)
    assert np.ptp(solid.points_mm, axis=0) == pytest.approx([32, 32, 32], abs=2)


def test_crumbs_are_left_out():
    tetra = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])
    both = Surface(np.concatenate([10 * CORNER, 50 + CORNER]), np.concatenate([tetra, tetra + 4]))
    kept = without_crumbs(both, smallest_ml=1 / 1000)
    np.testing.assert_array_equal(kept.points_mm, 10 * CORNER)
    np.testing.assert_array_equal(kept.faces, tetra)
    assert enclosed_ml(kept) == pytest.approx(1000 / 6 / 1000)


def acdc_labels(patient):
    """The labels of the first frame. Needs the challenge's training set in $CARDIAC_DATA/acdc."""
    path = Path(os.environ.get("CARDIAC_DATA", "")) / "acdc" / "training" / patient / f"{patient}_frame01_gt.nii.gz"
    if not os.environ.get("CARDIAC_DATA") or not path.exists():
        pytest.skip("no ACDC: the environment variable CARDIAC_DATA names the folder that holds acdc/")
    return volume.read_labels(path)


def test_the_walls_of_both_ventricles_of_acdc():
    labels = structures(wall(acdc_labels("patient010"), 3.75))
    _, found = measured(labels.with_array(labels.array > 0))
    assert_sound(found, euler=-2)  # two tubes: no hole in any wall, 10 mm between slices


def test_a_ventricle_of_acdc():
    labels = structures(acdc_labels("patient001"), [masks.MYOCARDIUM])
    _, found = measured(labels.with_array(labels.array > 0), step_mm=2.0)
    assert_sound(found, euler=0)  # a tube: open at the base, and ACDC's last slice has cavity too
