"""Meshes of label maps: volume, place, topology and quality against values worked out by hand."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
meshio = pytest.importorskip("meshio", reason="the extra [mesh] is not installed")

from propagation import masks, mesh  # noqa: E402
from propagation.mesh import quality  # noqa: E402
from propagation.mesh.intersections import self_intersections  # noqa: E402
from propagation.mesh.solid import Surface, Tetrahedra, boundary, enclosed_ml, signed_volumes_mm3  # noqa: E402
from propagation.mesh.surface import cavities, mask_ml, structures, surface, without_crumbs  # noqa: E402
from shared.errors import InputError  # noqa: E402
from shared.scans import orientation, volume  # noqa: E402
from shared.scans.volume import Volume, from_array  # noqa: E402
from tests.geometry import rotation  # noqa: E402

REGULAR = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]])
CORNER = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])


def grid_mm(shape, spacing_mm):
    """Coordinates (3, x, y, z) of voxel centres from the middle of the array."""
    middle = (np.array(shape) - 1) / 2
    return (np.indices(shape) - middle[:, None, None, None]) * np.reshape(spacing_mm, (3, 1, 1, 1))


def ball(radius_mm, shape=(24, 24, 24), spacing_mm=(1.0, 1.0, 1.0)):
    return np.linalg.norm(grid_mm(shape, spacing_mm), axis=0) <= radius_mm


def measured(mask, **options):
    solid = surface(mask, **options)
    return solid, quality.surface_quality(solid, mask_ml(mask))


def assert_sound(found, pieces=1, euler=2):
    assert found.closed and found.manifold and found.outward
    assert (found.self_intersections, found.pieces, found.euler) == (0, pieces, euler)
    assert found.volume_ratio == pytest.approx(1, abs=0.005)


# Surfaces -------------------------------------------------------------------------------------------------------------------


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


def test_holes_of_one_cavity():
    hollow = np.zeros((20, 12, 3), bool)
    hollow[1:5, 1:5, 0] = hollow[4:8, 1:5, 1] = hollow[7:11, 1:5, 2] = True  # a quarter overlaps, and nothing else does
    hollow[6:18, 6:12, :2] = True
    hollow[13:18, 5:9, 2] = True
    hollow[17:19, 1:3, 0] = True  # a crumb by itself
    found = sorted(cavities(hollow), key=np.count_nonzero)
    assert [np.count_nonzero(one, axis=(0, 1)).tolist() for one in found] == [[4, 0, 0], [16, 16, 16], [72, 72, 20]]
    np.testing.assert_array_equal(np.sum(found, axis=0), hollow)
    assert cavities(np.zeros((3, 3, 3), bool)) == []


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
    solid, found = quality(Volume(mask, spacing_mm, affine))
    assert_sound(found)
    centre_mm = affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]
    a, b, c = np.moveaxis(solid.points_mm[solid.faces], 1, 0)
    parts = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
    centroid_mm = (parts[:, None] * (a + b + c) / 4).sum(axis=0) / parts.sum()
    np.testing.assert_allclose(centroid_mm, centre_mm, atol=0.1)


def test_the_headers_voxel_size_wins_over_the_affines_scale():
    solid, found = quality(Volume(ball(8.0), (2.0, 2.0, 2.0), np.eye(4)))  # as ACDC stores some
    assert_sound(found)
    assert np.ptp(solid.points_mm, axis=0) == pytest.approx([32, 32, 32], abs=2)


def test_crumbs_are_left_out():
    tetra = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])
    both = Surface(np.concatenate([10 * CORNER, 50 + CORNER]), np.concatenate([tetra, tetra + 4]))
    kept = without_crumbs(both, smallest_ml=1 / 1000)
    np.testing.assert_array_equal(kept.points_mm, 10 * CORNER)
    np.testing.assert_array_equal(kept.faces, tetra)
    assert enclosed_ml(kept) == pytest.approx(1000 / 6 / 1000)


# Checks ---------------------------------------------------------------------------------------------------------------------


def meeting(first, second):
    """How many pairs two triangles with no common index make."""
    return len(self_intersections(Surface(np.array([*first, *second], float), np.arange(6).reshape(2, 3))))


FLAT = [[0, 0, 0], [4, 0, 0], [0, 4, 0]]


@pytest.mark.parametrize(
    "other, pairs",
    [
        ([[1, 1, -1], [1, 1, 1], [9, 9, 1]], 1),  # an edge goes through the middle
        ([[1, 1, -1], [5, -3, 1], [-3, 5, 1]], 1),  # only edges of the first go through the second
        ([[3, 3, -1], [3, 3, 1], [9, 9, 1]], 0),  # beside it
        ([[1, 1, 0.001], [1, 1, 1], [9, 9, 1]], 0),  # above it
        ([[1, 1, 0], [1, 1, 1], [9, 9, 1]], 1),  # a corner touches the inside
        ([[4, 0, 0], [5, 0, 1], [5, 1, 1]], 1),  # corners touch
        ([[3, 3, 0], [6, 3, 0], [3, 6, 0]], 0),  # in one plane, apart
        ([[1, 1, 0], [6, 3, 0], [3, 6, 0]], 1),  # in one plane, overlapping
        ([[0.5, 0.5, 0], [1, 0.5, 0], [0.5, 1, 0]], 1),  # in one plane, one inside the other
        ([[2.5, 2.5, 0], [-1.5, 2.5, 0], [2.5, -1.5, 0]], 1),  # in one plane, no corner inside the other
    ],
)
def test_triangles_that_meet(other, pairs):
    turned = rotation(15, 25, 35)
    for one, two in ((FLAT, other), (other, FLAT)):
        assert meeting(one, two) == pairs
        assert meeting(np.array(one, float)[[1, 2, 0]] * 10, np.array(two)[[2, 1, 0]] * 10) == pairs
    if not np.any(np.array(other)[:, 2] == 0) or pairs == 0:  # exact contact does not outlive rounding
        assert meeting(FLAT @ turned.T + 100, np.array(other) @ turned.T + 100) == pairs


@pytest.mark.parametrize(
    "points, second, pairs",
    [
        ([[-3, -1, 0], [-1, -3, 0]], [0, 3, 4], 0),  # share a corner, in one plane
        ([[1, 1, 1], [1, 1, -1]], [0, 3, 4], 1),  # share a corner, the edge opposite goes through
        ([[2, 1, 0], [1, 2, 0]], [0, 3, 4], 1),  # share a corner, in one plane, overlapping
        ([[2, 2, 3], [9, 9, 9]], [2, 1, 3], 0),  # share an edge
        ([[4, 4, 0], [9, 9, 9]], [2, 1, 3], 0),  # share an edge, in one plane
        ([[1, 1, 0], [9, 9, 9]], [2, 1, 3], 1),  # share an edge, folded flat
    ],
)
def test_what_neighbours_share_does_not_count(points, second, pairs):
    solid = Surface(np.array([*FLAT, *points], float), np.array([[0, 1, 2], second]))
    assert len(self_intersections(solid)) == pairs


def test_a_large_triangle_meets_a_small_one_far_from_its_middle():
    large, small = [[0, 0, 0], [1000, 0, 0], [0, 1000, 0]], [[900, 1, -1], [900, 1, 1], [901, 2, 1]]
    assert meeting(large, small) == meeting(small, large) == 1


def test_two_balls_that_overlap():
    solid = surface(from_array(ball(6.0)))
    shifted = Surface(np.concatenate([solid.points_mm, solid.points_mm + [3, 0.3, 0.2]]), np.tile(solid.faces, (2, 1)))
    shifted.faces[len(solid.faces) :] += len(solid.points_mm)
    pairs = self_intersections(shifted)
    assert len(pairs) > 50 and np.all((pairs < len(solid.faces)).sum(axis=1) == 1)  # one of each ball


def tetrahedron_surface(points=CORNER):
    return Surface(np.array(points, float), np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]]))


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


@pytest.mark.parametrize(("sizes", "words"), [
    ({"step_mm": 11.0}, "step of 11 mm: expected more than 0 and at most the solid's 10 mm"),
    ({"step_mm": float("inf")}, "step of inf mm"), ({"step_mm": 1e-30}, "a step of 1e-30 mm and a smoothing of 1 mm would take"),
    ({"smoothing_mm": 1000.0}, "smoothing of 1000 mm"), ({"smoothing_mm": float("nan")}, "smoothing of nan mm"),
    ({"step_mm": 0.1, "smoothing_mm": 10.0}, "would take 1e.09 samples, more than 1e.08; expected a longer step"),
])  # fmt: skip
def test_sizes_that_would_take_all_time_and_memory_are_refused(sizes, words):
    with pytest.raises(InputError, match=words):
        surface(from_array(ball(5.5, (16, 16, 16)).astype(bool)), **sizes)


# Tetrahedra -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_halves():
    """A ball of radius 6 mm whose halves are labels 2 and 5, its surface and its tetrahedra."""
    pytest.importorskip("pytetwild", reason="the extra [mesh] is not installed")
    labels = ball(6.0, (16, 16, 16)) * np.where(np.arange(16) < 8, 2, 5)[:, None, None]
    labels = from_array(labels.astype(np.uint8))
    solid = surface(labels.with_array(labels.array > 0), step_mm=1.25)
    return labels, solid, mesh.tetrahedra(solid, edge_mm=4.0, epsilon_mm=0.1, labels=labels)


def test_tetrahedra_fill_the_surface(two_halves):
    _, solid, tets = two_halves
    found = quality.tetrahedra_quality(tets, solid)
    assert found.inverted == 0 and found.boundary_manifold
    assert found.volume_ratio == pytest.approx(1, abs=0.01)
    assert 0.05 < found.worst < found.mean and 0.6 < found.mean <= 1 and found.min_dihedral_deg > 3
    outside = boundary(tets)
    assert enclosed_ml(outside) == pytest.approx(found.volume_ml)  # its triangles look outwards
    assert np.all(np.linalg.norm(outside.points_mm - 7.5, axis=1) > 5)


def test_regions_are_the_labels_at_their_place(two_halves):
    labels, solid, tets = two_halves
    found = quality.tetrahedra_quality(tets, solid).regions_ml
    assert set(found) == {2, 5} and sum(found.values()) == pytest.approx(enclosed_ml(solid), rel=0.01)
    middles_mm = tets.points_mm[tets.cells].mean(axis=1)
    assert middles_mm[tets.regions == 2, 0].max() < 7.6 and middles_mm[tets.regions == 5, 0].min() > 7.4


def test_edge_length(two_halves, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels, solid, tets = two_halves
    finer = mesh.tetrahedra(solid, edge_mm=1.2, epsilon_mm=0.1)
    assert len(finer.cells) > 1.2 * len(tets.cells) and set(finer.regions) == {1}
    assert not list(tmp_path.iterdir())  # the library's own files are gone


@pytest.mark.parametrize("options", [{"edge_mm": 0}, {"epsilon_mm": -1.0}, {"edge_mm": 1e4}, {"epsilon_mm": float("nan")}])
def test_sizes_that_cannot_be(options):
    with pytest.raises(InputError, match=f"{next(iter(options))[:4]}.* mm: expected more than 0"):
        mesh.tetrahedra(tetrahedron_surface(10 * CORNER), **options)


# Files ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".vtu", ".vtk", ".msh", ".inp"])
def test_tetrahedra_round_trip(two_halves, tmp_path, ending):
    _, solid, tets = two_halves
    mesh.write(tmp_path / f"heart{ending}", solid, tets)
    again = meshio.read(tmp_path / f"heart{ending}")
    np.testing.assert_allclose(again.points, tets.points_mm, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(np.concatenate([block.data for block in again.cells if block.type == "tetra"]), tets.cells)
    if ending == ".msh":
        np.testing.assert_array_equal(again.cell_data["gmsh:physical"][0], tets.regions)
        assert {name: entry.tolist() for name, entry in again.field_data.items()} == {"label_2": [2, 3], "label_5": [5, 3]}
        assert (tmp_path / "heart.msh").read_text().startswith("$MeshFormat\n2.2 0 8")
    elif ending == ".inp":
        np.testing.assert_array_equal(again.cell_sets["label_5"][0], np.flatnonzero(tets.regions == 5))
    else:
        np.testing.assert_array_equal(again.cell_data["region"][0], tets.regions)
    assert [path.name for path in tmp_path.iterdir()] == [f"heart{ending}"]


@pytest.mark.parametrize("ending", mesh.FORMATS)
def test_every_file_says_that_its_points_are_ras(two_halves, tmp_path, ending):
    """In the header of an STL and the title line of a .vtk, where 3D Slicer looks; elsewhere near the top."""
    _, solid, tets = two_halves
    mesh.write(tmp_path / f"heart{ending}", solid, tets)
    content = (tmp_path / f"heart{ending}").read_bytes()
    if ending == ".vtk":
        assert content.splitlines()[1].startswith(b"SPACE=RAS")
    elif ending == ".stl":
        assert content[:80].startswith(b"SPACE=RAS") and not content.startswith(b"solid")
    else:
        assert b"SPACE=RAS" in b"".join(content.splitlines(keepends=True)[:6])


def test_stl_is_binary_and_holds_the_triangles(tmp_path):
    solid = surface(from_array(ball(5.0, (14, 14, 14))))
    mesh.write(tmp_path / "ball.stl", solid)
    content = (tmp_path / "ball.stl").read_bytes()
    assert len(content) == 84 + 50 * len(solid.faces)
    rows = np.frombuffer(content[84:], np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("spare", "<u2")]))
    np.testing.assert_allclose(rows["corners"], solid.points_mm[solid.faces], atol=1e-5)
    outward = rows["corners"].mean(axis=1) - 6.5
    assert np.all(np.einsum("ij,ij->i", rows["normal"], outward) > 0)
    assert len(meshio.read(tmp_path / "ball.stl").cells[0].data) == len(solid.faces)


def test_an_unknown_ending_lists_the_choices(tmp_path):
    with pytest.raises(InputError, match=r"heart.xyz: cannot write.*\.stl \(surface\), \.vtu \(tetrahedra\)"):
        mesh.write(tmp_path / "heart.xyz", tetrahedron_surface())


def test_a_picture(tmp_path):
    mesh.draw(surface(from_array(ball(5.0, (14, 14, 14)))), tmp_path / "ball.png")
    assert (tmp_path / "ball.png").read_bytes()[:4] == b"\x89PNG"


# Labels and command ---------------------------------------------------------------------------------------------------------


def test_only_the_largest_part_of_a_label_stays():
    array = np.zeros((12, 6, 6), np.uint8)
    array[1:5, 1:5, 1:5], array[7:9, 1:3, 1:3], array[9:11, 3:5, 3:5] = 1, 1, 2
    assert np.count_nonzero(structures(from_array(array)).array == 1) == 64
    assert np.count_nonzero(structures(from_array(array), largest=False).array == 1) == 72
    assert set(np.unique(structures(from_array(array), [2]).array)) == {0, 2}


@pytest.mark.parametrize(
    "array, values, message",
    [
        (np.zeros((4, 4, 4), np.uint8), None, "is empty"),
        (np.ones((4, 4, 4), np.uint8), [1, 7], "label 7: not in the label map, which holds 1$"),
        (np.ones((4, 4, 4), np.uint8), [0], "label 0: not in the label map"),
        (np.full((4, 4, 4), 0.5), None, "whole numbers, found float64"),
        (np.ones((4, 4), np.uint8), None, r"3D label map, found shape \(4, 4\)"),
        (np.ones((4, 4, 4, 2), np.uint8), None, "one frame of a cine"),
        (np.ones((4, 4, 1), np.uint8), None, "label 1: one voxel thin along z"),
        (np.pad(np.ones((1, 1, 1), np.uint8), 2), None, "label 1: one voxel thin along x, y, z"),
    ],
)
def test_label_maps_that_cannot_be_meshed(array, values, message):
    with pytest.raises(InputError, match=message):
        structures(Volume(array, (1.0, 1.0, 1.0), np.eye(4)), values)


def labels_file(tmp_path, array, name="seg.nii.gz"):
    volume.write(from_array(array.astype(np.uint8)), tmp_path / name)
    return tmp_path / name


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        mesh.main([str(argument) for argument in arguments])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and len(error.splitlines()) == 1, error
    return error


def test_the_command(tmp_path, capsys):
    pytest.importorskip("pytetwild", reason="the extra [mesh] is not installed")
    path = labels_file(tmp_path, 3 * ball(5.0, (14, 14, 14)))
    wanted = [tmp_path / name for name in ("heart.vtu", "heart.stl", "quality.json", "heart.png")]
    mesh.main([
        *map(str, [path, "-o", *wanted[:2], "--labels", 3, "--edge-mm", 4, "--epsilon-mm", 0.05]),
        *map(str, ["--report", wanted[2], "--picture", wanted[3]]),
    ])  # fmt: skip
    printed = capsys.readouterr().out
    assert all(path.stat().st_size > 0 for path in wanted)
    assert "closed: yes, manifold: yes, outward: yes, self-intersections: 0" in printed
    found = json.loads(wanted[2].read_text())
    assert found["surface"]["volume_ratio"] == pytest.approx(1, abs=0.005) and found["surface"]["closed"] is True
    assert found["tetrahedra"]["inverted"] == 0 and list(found["tetrahedra"]["regions_ml"]) == ["3"]
    assert set(meshio.read(wanted[0]).cell_data["region"][0]) == {3}


def test_the_command_meshes_the_biventricular_wall(tmp_path, capsys, monkeypatch):
    given = []
    monkeypatch.setattr(
        masks, "biventricular", lambda labels, mm: given.append(mm) or labels.with_array((labels.array == 2).astype(np.uint8))
    )
    array = 2 * ball(6.0, (16, 16, 16)) + ball(3.0, (16, 16, 16))
    array[0:2] = 1
    path = labels_file(tmp_path, array)
    mesh.main([str(path), "-o", str(tmp_path / "wall.stl"), "--biventricular", "--rv-wall-mm", "4"])
    assert given == [4.0] and "2 piece(s), Euler characteristic 4" in capsys.readouterr().out
    path = labels_file(tmp_path, np.full((4, 4, 4), 7), "other.nii.gz")
    assert "expected ACDC's labels" in refused(capsys, path, "-o", tmp_path / "a.stl", "--biventricular")


def test_the_biventricular_wall_of_slices_along_the_first_axis(tmp_path, capsys):
    """The ring around the RV lies in the slices, whichever axis they are stacked along."""
    x, y, _ = np.indices((24, 20, 5))
    array = np.where(np.hypot(x - 14, y - 10) < 3, 3, np.where(np.hypot(x - 14, y - 10) < 6, 2, np.where(x < 6, 1, 0)))
    array[..., [0, 4]] = array[:2] = array[:, :2] = array[:, -2:] = 0
    labels, lines = Volume(array.astype(np.uint8), (1.5, 1.5, 8.0), np.diag([1.5, 1.5, 8.0, 1.0])), []
    for name, each in (("last.nii.gz", labels), ("first.nii.gz", orientation.transpose(labels, (2, 0, 1)))):
        volume.write(each, tmp_path / name)
        mesh.main([str(tmp_path / name), "-o", str(tmp_path / "wall.stl"), "--biventricular"])
        lines.append(capsys.readouterr().out.splitlines()[:-1])
    assert lines[0] == lines[1] and "surface: " in lines[0][0]


def test_bad_arguments_are_one_line_and_leave_nothing(tmp_path, capsys):
    path = labels_file(tmp_path, ball(5.0, (14, 14, 14)))
    assert "expected .stl (surface)" in refused(capsys, path, "-o", tmp_path / "heart.ply")
    assert f"{path}: label 9: not in the label map" in refused(capsys, path, "-o", tmp_path / "a.stl", "--labels", "9")
    assert "expected whole numbers such as 1,2" in refused(capsys, path, "-o", tmp_path / "a.stl", "--labels", "LV")
    assert "--edge-mm: expected more than 0 mm, found -1" in refused(capsys, path, "-o", tmp_path / "a.stl", "--edge-mm", "-1")
    assert "no such file" in refused(capsys, tmp_path / "none.nii.gz", "-o", tmp_path / "a.stl")
    volume.write(from_array(np.full((4, 4, 4), 0.5, np.float32)), tmp_path / "half.nii.gz")
    assert "whole-number labels" in refused(capsys, tmp_path / "half.nii.gz", "-o", tmp_path / "a.stl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half.nii.gz", "seg.nii.gz"]


@pytest.mark.parametrize("module", ["skimage.measure", "meshio", "pytetwild"])
def test_a_missing_library_names_the_extra(tmp_path, capsys, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    path = labels_file(tmp_path, ball(5.0, (14, 14, 14)))
    assert "pip install -e '.[mesh]'" in refused(capsys, path, "-o", tmp_path / "heart.vtu")
    assert not (tmp_path / "heart.vtu").exists()


def acdc_labels(patient):
    """The labels of the first frame. Needs the challenge's training set in $CARDIAC_DATA/acdc."""
    path = Path(os.environ.get("CARDIAC_DATA", "")) / "acdc" / "training" / patient / f"{patient}_frame01_gt.nii.gz"
    if not os.environ.get("CARDIAC_DATA") or not path.exists():
        pytest.skip("no ACDC: the environment variable CARDIAC_DATA names the folder that holds acdc/")
    return volume.read_labels(path)


def test_the_walls_of_both_ventricles_of_acdc():
    labels = structures(mesh.wall(acdc_labels("patient010"), 3.75))
    _, found = measured(labels.with_array(labels.array > 0))
    assert_sound(found, euler=-2)  # two tubes: no hole in any wall, 10 mm between slices


def test_a_ventricle_of_acdc():
    labels = structures(acdc_labels("patient001"), [masks.MYOCARDIUM])
    _, found = measured(labels.with_array(labels.array > 0), step_mm=2.0)
    assert_sound(found, euler=0)  # a tube: open at the base, and ACDC's last slice has cavity too
