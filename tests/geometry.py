"""Volumes anywhere in space, for tests."""

import numpy as np

from shared.scans.volume import Volume


def rotation(x_deg, y_deg, z_deg):
    """Rotations about x, then y, then z."""
    result = np.eye(3)
    for axis, angle in enumerate(np.deg2rad([x_deg, y_deg, z_deg])):
        turn, (i, j) = np.eye(3), [k for k in range(3) if k != axis]
        turn[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        result = turn @ result
    return result


def placed(array, spacing_mm, axes=None, origin_mm=(-31.5, 20.25, 60.75), unit_affine=False):
    """A volume whose unit axes in RAS are the columns of `axes`; ACDC's quirk where the affine forgets the spacing."""
    affine = np.eye(4)
    affine[:3, :3] = (rotation(25, -40, 70) if axes is None else axes) * (1 if unit_affine else np.asarray(spacing_mm))
    affine[:3, 3] = origin_mm
    return Volume(array, tuple(map(float, spacing_mm)), affine)


def noise(shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).uniform(1, 200, shape).astype(dtype)


def positions_mm(volume):
    """(x, y, z, 3): where every voxel lies."""
    indices = np.stack(np.meshgrid(*map(np.arange, volume.array.shape[:3]), indexing="ij"), axis=-1)
    return indices @ volume.affine[:3, :3].T + volume.affine[:3, 3]
