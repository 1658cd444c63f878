"""Shapes as signed distances in mm, negative inside, near their surface; and noise. Coordinates are arrays or single numbers."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import ndimage

Point = Sequence[float] | np.ndarray
Coordinate = np.ndarray | float


def ball(
    x: Coordinate, y: Coordinate, z: Coordinate, centre: Iterable[float], half: Iterable[float], power: float = 2.0
) -> np.ndarray:
    """An ellipsoid with half axes `half` (3,), or a box with round corners where `power` is above 2."""
    reach = sum(np.abs((u - c) / h) ** power for u, c, h in zip((x, y, z), centre, half, strict=True)) ** (1 / power)
    return (reach - 1) * min(half)


def tube(
    x: Coordinate, y: Coordinate, z: Coordinate, start: np.ndarray, end: np.ndarray, first_mm: float, last_mm: float
) -> np.ndarray:
    """A rod with round ends from `start` to `end` (3,), whose radius goes from `first_mm` to `last_mm`."""
    axis = end - start
    along = ((x - start[0]) * axis[0] + (y - start[1]) * axis[1] + (z - start[2]) * axis[2]) / (axis @ axis)
    along = np.clip(along, 0, 1)
    away = np.sqrt(sum((u - s - along * a) ** 2 for u, s, a in zip((x, y, z), start, axis, strict=True)))
    return away - (first_mm + along * (last_mm - first_mm))


def melt(first: np.ndarray, second: np.ndarray, width_mm: float) -> np.ndarray:
    """The union of two shapes; about `width_mm` of the corner between them is filled up."""
    blend = np.maximum(width_mm - np.abs(first - second), 0) / width_mm
    return np.minimum(first, second) - blend**2 * width_mm / 4


def noise(random: np.random.Generator, shape: Sequence[int], sigma: float | Sequence[float], mode: str = "reflect") -> np.ndarray:
    """Gaussian noise of unit deviation, smoothed by `sigma` voxels."""
    field = ndimage.gaussian_filter(random.standard_normal(shape, np.float32), sigma, mode=mode)
    return field / field.std()
