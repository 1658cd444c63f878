"""A solid as triangles around it or tetrahedra that fill it, in millimetres of the scanner (RAS)."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class Surface:
    """Triangles around a solid.

    Attributes:
        points_mm: (points, 3) float64, RAS.
        faces: (triangles, 3) indices of points, anticlockwise from outside.
    """

    points_mm: np.ndarray
    faces: np.ndarray


@dataclass(frozen=True)
class Tetrahedra:
    """A solid cut into tetrahedra.

    Attributes:
        points_mm: (points, 3) float64, RAS.
        cells: (tetrahedra, 4) indices of points.
        regions: (tetrahedra,) label value of each.
    """

    points_mm: np.ndarray
    cells: np.ndarray
    regions: np.ndarray


def pieces(solid: Surface) -> tuple[int, np.ndarray]:
    """How many connected pieces a surface has, and the piece of every point."""
    links = np.concatenate([solid.faces[:, [0, 1]], solid.faces[:, [1, 2]]])
    return components(links, len(solid.points_mm))


def components(links: np.ndarray, count: int) -> tuple[int, np.ndarray]:
    """How many connected components `count` nodes have with these links (n, 2), and the component of every node."""
    graph = sparse.coo_array((np.ones(len(links), bool), links.T), shape=(count, count))
    return sparse.csgraph.connected_components(graph, directed=False)


def signed_ml(solid: Surface) -> np.ndarray:
    """Volume between each triangle and the middle of the points (triangles,); the sum is the enclosed volume."""
    a, b, c = np.moveaxis((solid.points_mm - solid.points_mm.mean(axis=0))[solid.faces], 1, 0)
    return np.einsum("ij,ij->i", a, np.cross(b, c)) / 6000


def enclosed_ml(solid: Surface) -> float:
    return float(signed_ml(solid).sum()) if len(solid.faces) else 0.0


def boundary(tets: Tetrahedra) -> Surface:
    """The triangles that belong to one tetrahedron only."""
    faces = np.concatenate([tets.cells[:, corners] for corners in ([1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1])])
    _, first, count = np.unique(np.sort(faces, axis=1), axis=0, return_index=True, return_counts=True)
    kept, faces = np.unique(faces[first[count == 1]], return_inverse=True)
    return Surface(tets.points_mm[kept], faces.reshape(-1, 3))


def signed_volumes_mm3(corners: np.ndarray) -> np.ndarray:
    """Volume of tetrahedra (n, 4 corners, 3), negative where inverted."""
    a, b, c = (corners[:, k] - corners[:, 0] for k in (1, 2, 3))
    return np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
