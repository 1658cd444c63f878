"""The quality of surfaces and tetrahedra whose faults and sizes are known."""

import numpy as np
import pytest

from propagation.mesh import quality
from propagation.mesh.solid import Surface, Tetrahedra, signed_volumes_mm3
from tests.propagation.mesh.shapes import CORNER, assert_sound, tetrahedron_surface

REGULAR = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]])


def test_surface_quality_of_a_corner():
    found = quality.surface_quality(tetrahedron_surface(), 1 / 6000)
    assert_sound(found)
    assert (found.points, found.faces) == (4, 4)
    assert found.area_mm2 == pytest.approx(1.5 + np.sqrt(3) / 2)


def test_a_missing_a_flipped_and_every_face_flipped():
    whole = tetrahedron_surface()
    hole = quality.surface_quality(Surface(whole.points_mm, whole.faces[:3]), 1.0)
    assert hole.open_edges == 3 and not hole.closed and not hole.manifold
    flipped = quality.surface_quality(Surface(whole.points_mm, np.array([whole.faces[0][::-1], *whole.faces[1:]])), 1.0)
    assert flipped.flipped_edges == 3 and flipped.manifold and not flipped.outward
    inside_out = quality.surface_quality(Surface(whole.points_mm, whole.faces[:, ::-1]), 1.0)
    assert inside_out.flipped_edges == 0 and inside_out.volume_ml < 0 and not inside_out.outward


def test_two_tetrahedra_that_share_a_point_or_an_edge():
    whole = tetrahedron_surface()
    points = np.concatenate([CORNER, -CORNER[1:]])
    at_a_point = np.concatenate([whole.faces, np.array([0, 4, 6, 5])[whole.faces]])
    found = quality.surface_quality(Surface(points, at_a_point), 1.0)
    assert (found.open_edges, found.pinched_points, found.pieces) == (0, 1, 1) and not found.manifold
    at_an_edge = np.concatenate([whole.faces, np.array([0, 4, 5, 3])[whole.faces]])  # half a turn about the edge 0-3
    found = quality.surface_quality(Surface(points[:6], at_an_edge), 1.0)
    assert found.open_edges == 1 and not found.manifold


def test_radius_ratio_and_dihedral_angles():
    sliver = np.array([[1, 0, 0.1], [-1, 0, 0.1], [0, 1, -0.1], [0, -1, -0.1]])
    corners = np.stack([REGULAR[[0, 2, 1, 3]], CORNER, sliver[[0, 1, 2, 3]]])
    corners = np.where((signed_volumes_mm3(corners) < 0)[:, None, None], corners[:, [1, 0, 2, 3]], corners)
    regular, corner, flat = quality.radius_ratios(corners)
    assert regular == pytest.approx(1)
    assert corner == pytest.approx(
        3 * (0.5 / (1.5 + np.sqrt(3) / 2)) / (np.sqrt(3) / 2)
    )  # r = 3 V / area, R = half the cube's diagonal
    # Sliver: V = 2/3 * 0.2; four faces of area sqrt(1 + 0.2^2); its sphere's centre is the origin, R^2 = 1.01.
    assert flat == pytest.approx(3 * (3 * (2 / 3 * 0.2) / (4 * np.sqrt(1.04))) / np.sqrt(1.01))
    assert signed_volumes_mm3(corners) == pytest.approx([8 / 3, 1 / 6, 2 / 3 * 0.2])
    angles = quality.dihedrals_deg(corners)
    np.testing.assert_allclose(angles[0], np.rad2deg(np.arccos(1 / 3)))
    np.testing.assert_allclose(np.sort(angles[1]), [np.rad2deg(np.arccos(1 / np.sqrt(3)))] * 3 + [90] * 3)
    inverted = corners[:, [1, 0, 2, 3]]
    assert np.all(quality.radius_ratios(inverted) == 0) and np.all(signed_volumes_mm3(inverted) < 0)


def test_quality_of_two_tetrahedra_of_which_one_is_inverted():
    points = np.concatenate([CORNER, [[1, 1, 1]]])
    tets = Tetrahedra(points, np.array([[0, 1, 2, 3], [1, 2, 3, 4]]), np.array([1, 4]))
    volumes = signed_volumes_mm3(points[tets.cells])
    found = quality.tetrahedra_quality(tets, tetrahedron_surface())
    assert volumes == pytest.approx([1 / 6, 1 / 3])
    assert found.inverted == 0 and found.regions_ml == pytest.approx({1: 1 / 6000, 4: 1 / 3000})
    assert found.volume_ratio == pytest.approx(3) and found.boundary_manifold
    swapped = quality.tetrahedra_quality(
        Tetrahedra(points, np.array([[0, 1, 2, 3], [2, 1, 3, 4]]), tets.regions), tetrahedron_surface()
    )
    assert swapped.inverted == 1 and swapped.worst == 0
