"""Where a surface of triangles runs through itself: first a search for near pairs, then a test that is exact up to PARALLEL."""

import numpy as np
from scipy import spatial

from propagation.mesh.solid import Surface

PARALLEL = 1e-9  # of a triangle's size: a point that is closer to its plane lies in the plane


def self_intersections(solid: Surface) -> np.ndarray:
    """Pairs of triangles with a point in common besides the points and edges they share by index: (n, 2) indices of faces.

    Triangles that touch count. Two triangles that share an edge count where one is folded flat onto the other.
    """
    corners = solid.points_mm[solid.faces]
    middles = corners.mean(axis=1)
    radii = np.linalg.norm(corners - middles[:, None], axis=2).max(axis=1)
    low, high = corners.min(axis=1), corners.max(axis=1)
    tree = spatial.KDTree(middles)
    found = []
    for start in range(0, len(middles), 20_000):
        part = np.arange(start, min(start + 20_000, len(middles)))
        near = tree.query_ball_point(middles[part], 2 * radii[part] * (1 + 1e-9))  # reaches every smaller triangle it can meet
        one, other = np.repeat(part, [len(n) for n in near]), np.concatenate([*near]).astype(int)
        smaller = (radii[other] < radii[one]) | ((radii[other] == radii[one]) & (other < one))
        boxes = np.all((low[one] <= high[other]) & (low[other] <= high[one]), axis=1)
        one, other = one[smaller & boxes], other[smaller & boxes]
        hit = meet(corners[one], corners[other], solid.faces[one], solid.faces[other])
        found.append(np.column_stack([one[hit], other[hit]]))
    return np.concatenate(found)


def meet(one: np.ndarray, other: np.ndarray, one_faces: np.ndarray, other_faces: np.ndarray) -> np.ndarray:
    """Whether triangles meet in more than the points and edges they share, (n,) bool.

    Args:
        one, other: (n, 3 corners, 3).
        one_faces, other_faces: (n, 3) indices of the corners; triangles share a corner where they have the same index.
    """
    shared = one_faces[:, :, None] == other_faces[:, None, :]
    result = np.zeros(len(one), bool)
    for edges, triangles, held in ((one, other, shared.any(axis=2)), (other, one, shared.any(axis=1))):
        for k in range(3):
            free = np.flatnonzero(~(held[:, k] | held[:, (k + 1) % 3]))  # an edge that starts in a shared corner leaves there
            result[free] |= pierces(edges[free, k], edges[free, (k + 1) % 3], triangles[free])
    normals = [np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]) for t in (one, other)]
    cosine = np.einsum("ij,ij->i", *normals) / np.prod([np.linalg.norm(n, axis=1) for n in normals], axis=0)
    return result | ((np.count_nonzero(shared, axis=(1, 2)) == 2) & (cosine < -1 + 1e-12))


def pierces(start: np.ndarray, end: np.ndarray, triangle: np.ndarray) -> np.ndarray:
    """Whether segments have a point in common with triangles, border included, (n,) bool.

    Args:
        start, end: (n, 3).
        triangle: (n, 3 corners, 3).
    """
    normal = np.cross(triangle[:, 1] - triangle[:, 0], triangle[:, 2] - triangle[:, 0])
    size = np.sqrt(np.linalg.norm(normal, axis=1))
    heights = [np.einsum("ij,ij->i", p - triangle[:, 0], normal) / size**2 for p in (start, end)]
    heights = [np.where(np.abs(h) < PARALLEL * size, 0, h) for h in heights]
    flat = (heights[0] == 0) & (heights[1] == 0)
    crosses = heights[0] * heights[1] <= 0
    share = heights[0] / np.where(crosses & ~flat, heights[0] - heights[1], np.inf)
    at = start + share[:, None] * (end - start)
    # Seen along the axis that the normal is nearest to, everything is two-dimensional.
    seen = np.argsort(np.abs(normal), axis=1)[:, :2]
    start, end, at = (np.take_along_axis(p, seen, axis=1) for p in (start, end, at))
    corners = np.take_along_axis(triangle, seen[:, None], axis=2)
    tolerance = PARALLEL * size**2
    result = crosses & holds(corners, at, tolerance)
    for k in range(3):
        result |= flat & cross_flat(start, end, corners[:, k], corners[:, (k + 1) % 3], tolerance)
    return result  # a flat segment without a crossing has its start, which is `at`, inside


def holds(triangle: np.ndarray, point: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    """Whether triangles (n, 3, 2) hold points (n, 2), border included."""
    sides = np.stack([turn(triangle[:, k], triangle[:, (k + 1) % 3], point) for k in range(3)])
    return np.all(sides >= -tolerance, axis=0) | np.all(sides <= tolerance, axis=0)


def cross_flat(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    """Whether segments ab and cd (n, 2) cross. Segments in one line do not count here: `holds` finds them by their ends."""
    apart = [turn(a, b, c) * turn(a, b, d), turn(c, d, a) * turn(c, d, b)]
    return (apart[0] < -(tolerance**2)) & (apart[1] < -(tolerance**2))


def turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Twice the area of triangles abc (n, 2), positive where anticlockwise."""
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
