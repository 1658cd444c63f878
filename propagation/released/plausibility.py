"""Which masks of a slice are believed: a cavity of the left ventricle has its wall around it."""

from collections.abc import Sequence

import numpy as np

from propagation.released.images import largest_component
from propagation.released.variants import LVC, LVM, RVC


def cleaned(classes: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """The classes (rows, columns) of one slice; all background where they are not plausible.

    Args:
        classes: (rows, columns).
        kept: classes of which only the largest component stays; pixels are connected over their sides.
    """
    if not plausible(classes):
        return np.zeros_like(classes)
    result = classes.copy()
    for value in kept:
        result[(classes == value) & ~largest_component(classes == value)] = 0
    return result


def plausible(classes: np.ndarray) -> bool:
    """Whether there is myocardium, and the LV cavity touches it at least twice as much as background and RV cavity together."""
    outside = touching(classes, LVC, 0) + touching(classes, LVC, RVC)
    return bool((classes == LVM).any()) and outside <= 0.5 * touching(classes, LVC, LVM)


def touching(classes: np.ndarray, value: int, other: int) -> int:
    """Number of pairs of pixels that share a side and have the classes `value` and `other`."""
    return sum(
        int(np.sum((a == value) & (b == other)) + np.sum((a == other) & (b == value)))
        for a, b in ((classes[1:], classes[:-1]), (classes[:, 1:], classes[:, :-1]))
    )
