"""Made-up slices of the heart: an elliptic cavity (3) in a wall (2) that may have a gap, as ACDC labels them."""

import numpy as np

from shared.scans.volume import Volume

RV, MYO, LV = 1, 2, 3


def slice_of(gap_deg=0.0, radii_px=(30.0, 30.0), wall_px=10.0, size=121, at_deg=33.0):
    """(x, y) uint8: the wall is open over `gap_deg`, about `at_deg`."""
    x, y = np.meshgrid(*[np.arange(size) - size // 2] * 2, indexing="ij")
    a, b = radii_px
    inner, outer = np.hypot(x / a, y / b), np.hypot(x / (a + wall_px), y / (b + wall_px))
    off = (np.degrees(np.arctan2(y, x)) - at_deg + 180) % 360 - 180
    labels = np.zeros((size, size), np.uint8)
    labels[(outer < 1) & (abs(off) >= gap_deg / 2)] = MYO
    labels[inner < 1] = LV
    return labels


def volume(*slices, towards_head=True):
    """The slices in a `Volume` of 1 x 1 x 8 mm, the last one nearest to the head or to the feet."""
    spacing = (1.0, 1.0, 8.0)
    return Volume(np.stack(slices, axis=-1), spacing, np.diag([1.0, 1.0, 8.0 if towards_head else -8.0, 1.0]))
