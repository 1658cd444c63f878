"""Masks and surfaces with known volumes, and what every good surface has in common."""

import numpy as np
import pytest

from propagation.mesh import quality
from propagation.mesh.labels import volume_ml
from propagation.mesh.solid import Surface
from propagation.mesh.surfaces import surface

CORNER = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])


def grid_mm(shape, spacing_mm):
    """Coordinates (3, x, y, z) of voxel centres from the middle of the array."""
    middle = (np.array(shape) - 1) / 2
    return (np.indices(shape) - middle[:, None, None, None]) * np.reshape(spacing_mm, (3, 1, 1, 1))


def ball(radius_mm, shape=(24, 24, 24), spacing_mm=(1.0, 1.0, 1.0)):
    return np.linalg.norm(grid_mm(shape, spacing_mm), axis=0) <= radius_mm


def measured(mask, **options):
    solid = surface(mask, **options)
    return solid, quality.surface_quality(solid, volume_ml(mask))


def assert_sound(found, pieces=1, euler=2):
    assert found.closed and found.manifold and found.outward
    assert (found.self_intersections, found.pieces, found.euler) == (0, pieces, euler)
    assert found.volume_ratio == pytest.approx(1, abs=0.005)


def tetrahedron_surface(points=CORNER):
    return Surface(np.array(points, float), np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]]))
