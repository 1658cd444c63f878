"""A synthetic anatomy, and the measures that it was drawn with."""

import numpy as np
from scipy import ndimage

SPACING_MM = (2.0, 2.0, 2.0)
SHAPE = (72, 64, 42)
AXIS_MM = np.array([84.0, 62.0])
SLOPE = np.array([0.08, -0.05])
RV_DEG = 180.0
CAVITY_MM, WALL_MM, LENGTH_MM = 24.0, 10.0, 68.0


def anatomy():
    """(wall, LV cavity, RV cavity): a cylinder that rounds off towards the apex, and a crescent along it."""
    x, y, z = (np.arange(n).reshape([-1 if a == i else 1 for a in range(3)]) * 2.0 for i, n in enumerate(SHAPE))
    x, y = x - AXIS_MM[0] - SLOPE[0] * z, y - AXIS_MM[1] - SLOPE[1] * z
    r, angle = np.hypot(x, y), np.arctan2(y, x) - np.deg2rad(RV_DEG)
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    radius = CAVITY_MM * np.sqrt(np.clip(1 - (z / LENGTH_MM) ** 4, 0, 1))
    outer = (CAVITY_MM + WALL_MM) * np.sqrt(np.clip(1 - (z / (LENGTH_MM + WALL_MM)) ** 4, 0, 1))
    left = r < radius
    reach = outer + 26 * np.sqrt(np.clip(1 - (z / 56) ** 2, 0, 1)) * np.clip(1 - (angle / 1.25) ** 4, 0, 1)
    right = (r >= outer) & (r < reach)
    around = np.stack([ndimage.binary_dilation(part, iterations=2) for part in np.moveaxis(right, 2, 0)], axis=2)
    return ((r < outer) | around) & ~left & ~right, left, right
