"""From a closed surface to the tetrahedra inside it."""

import contextlib
import tempfile
import warnings

import numpy as np
from scipy import ndimage

from propagation.mesh.fields import field
from propagation.mesh.solid import Surface, Tetrahedra, enclosed_ml, signed_volumes_mm3
from propagation.mesh.surfaces import TOLERANCE
from shared.errors import InputError
from shared.lazy import library
from shared.scans.volume import Volume

EDGE_MM, EPSILON_MM = 3.0, 0.2


def tetrahedra(
    solid: Surface, edge_mm: float = EDGE_MM, epsilon_mm: float = EPSILON_MM, labels: Volume | None = None
) -> Tetrahedra:
    """Fill a closed surface with tetrahedra (fTetWild).

    fTetWild is not deterministic, even on one thread: two runs differ in some of their points. A warning is given where the
    boundary of the tetrahedra encloses over 1 % more or less than the surface.

    Args:
        solid: the surface.
        edge_mm: wanted length of edges; they become shorter where the shape needs it.
        epsilon_mm: how far the boundary may be from the surface.
        labels: (x, y, z) from `structures`, which gives every tetrahedron its region; without it all regions are 1.

    Raises:
        InputError: pytetwild is missing, or a size is not usable.
    """
    diagonal_mm = np.linalg.norm(np.ptp(solid.points_mm, axis=0))
    for name, size_mm in (("edge", edge_mm), ("epsilon", epsilon_mm)):
        if not 0 < size_mm < diagonal_mm:
            raise InputError(f"{name} of {size_mm:g} mm: expected more than 0 and less than the solid's {diagonal_mm:.0f} mm")
    centre_mm = solid.points_mm.mean(axis=0)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # fTetWild leaves a file where it runs
        points_mm, cells = library("pytetwild", "mesh").tetrahedralize(
            solid.points_mm - centre_mm, solid.faces.astype(np.int32), edge_length_abs=edge_mm,
            epsilon=epsilon_mm / diagonal_mm, vtk_ordering=True,
        )  # fmt: skip
    points_mm = points_mm + centre_mm
    filled = signed_volumes_mm3(points_mm[cells]).sum() / 1000 / enclosed_ml(solid)
    if abs(filled - 1) > TOLERANCE:
        warnings.warn(f"the tetrahedra fill {100 * filled:.1f} % of the surface; a smaller epsilon keeps closer", stacklevel=2)
    regions = regions_at(points_mm[cells].mean(axis=1), labels) if labels else np.ones(len(cells), int)
    return Tetrahedra(points_mm, cells, regions)


def regions_at(points_mm: np.ndarray, labels: Volume) -> np.ndarray:
    """The label value of each point (n, 3): the one whose `field` is the largest there."""
    values = np.unique(labels.array[labels.array > 0])
    depths = []
    for value in values:
        smooth = field(labels.with_array(labels.array == value))
        voxels = np.linalg.inv(smooth.affine) @ np.column_stack([points_mm, np.ones(len(points_mm))]).T
        depths.append(ndimage.map_coordinates(smooth.array, voxels[:3], order=1, mode="nearest"))
    return values[np.argmax(depths, axis=0)].astype(int)
