"""Triangles that meet, and those that only share a point or an edge."""

import numpy as np
import pytest

from propagation.mesh.intersections import self_intersections
from propagation.mesh.solid import Surface
from propagation.mesh.surfaces import surface
from shared.scans.volume import from_array
from tests.geometry import rotation
from tests.propagation.mesh.shapes import ball


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
    pytest.importorskip("skimage", reason="the extra [mesh] is not installed")
    solid = surface(from_array(ball(6.0)))
    shifted = Surface(np.concatenate([solid.points_mm, solid.points_mm + [3, 0.3, 0.2]]), np.tile(solid.faces, (2, 1)))
    shifted.faces[len(solid.faces) :] += len(solid.points_mm)
    pairs = self_intersections(shifted)
    assert len(pairs) > 50 and np.all((pairs < len(solid.faces)).sum(axis=1) == 1)  # one of each ball
