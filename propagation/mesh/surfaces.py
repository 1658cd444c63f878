"""The smooth closed surface of a mask, in millimetres of the scanner: where its field has the value that encloses its volume."""

import numpy as np
from scipy import optimize

from propagation.mesh.fields import field
from propagation.mesh.labels import volume_ml
from propagation.mesh.solid import Surface, enclosed_ml, pieces, signed_ml
from shared.errors import InputError
from shared.lazy import library
from shared.scans.volume import Volume

TOLERANCE = 0.01  # of the volume


def surface(mask: Volume, step_mm: float | None = None, smoothing_mm: float | None = None) -> Surface:
    """The smoothed surface of a mask. It encloses the volume of the mask's voxels; pieces smaller than a voxel are left out.

    Args:
        mask: (x, y, z) bool, at least two voxels thick along every axis.
        step_mm, smoothing_mm: see `field`.

    Raises:
        InputError: scikit-image is missing, or the mask is too thin to survive the smoothing.
    """
    smooth = field(mask, step_mm, smoothing_mm)
    wanted_ml = volume_ml(mask)
    level = optimize.brentq(lambda level: enclosed_ml(contour(smooth, level)) - wanted_ml, -0.95, 0.95, xtol=1e-4)
    found = without_crumbs(contour(smooth, level), mask.voxel_ml)
    ratio = enclosed_ml(found) / wanted_ml
    if abs(ratio - 1) > TOLERANCE:
        raise InputError(f"smoothing leaves {100 * ratio:.0f} % of the mask's volume: it is too thin or in crumbs; smooth less")
    return found


def contour(smooth: Volume, level: float) -> Surface:
    """The surface on which a field has this value.

    Raises:
        InputError: scikit-image is missing.
    """
    if smooth.array.max() <= level:
        return Surface(np.zeros((0, 3)), np.zeros((0, 3), int))
    clearance = 0.02  # samples at the level itself would give triangles of no area
    above = smooth.array - level
    above = np.where(np.abs(above) < clearance, np.where(above < 0, -clearance, clearance), above)
    voxels, faces, *_ = library("skimage.measure", "mesh").marching_cubes(above, 0.0, gradient_direction="ascent")
    points_mm = voxels.astype(float) @ smooth.affine[:3, :3].T + smooth.affine[:3, 3]
    mirrored = np.linalg.det(smooth.affine[:3, :3]) < 0
    return Surface(points_mm, faces[:, ::-1] if mirrored else faces)


def without_crumbs(solid: Surface, smallest_ml: float) -> Surface:
    """The surface without its pieces (parts and bubbles) that enclose less than `smallest_ml`."""
    _, piece = pieces(solid)
    volumes_ml = np.bincount(piece[solid.faces[:, 0]], signed_ml(solid))
    faces = solid.faces[np.abs(volumes_ml[piece[solid.faces[:, 0]]]) >= smallest_ml]
    kept, faces = np.unique(faces, return_inverse=True)
    return Surface(solid.points_mm[kept], faces.reshape(-1, 3))
