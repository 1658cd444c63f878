"""Masks carried through a stack of slices by any two networks: the loop of Zheng 2018, section 2.2.

Slice 0 is at the base; the paper counts from the apex.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

STEP = 4  # slices that one propagation reaches (paper 2.2)
LEAST_CAVITY = 20  # pixels; smaller holes are gaps in the wall, not cavities


def propagate(
    image: np.ndarray,
    initialise: Callable[[np.ndarray], np.ndarray],
    carry: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    base: int,
    binary_input: bool = False,
) -> np.ndarray:
    """The mask of every slice from `base` on, carried up and down from the middle one, four slices per step (paper 2.2).

    Args:
        image: (x, y, n), slice 0 at the base.
        initialise: `initialise(slice (x, y)) -> probabilities (x, y)`.
        carry: `carry(slice (x, y), its mask (x, y), four slices (x, y, 4)) -> probabilities (x, y, 4)`.
        base: first slice to segment.
        binary_input: carry the mask on as 0 and 1 rather than as probabilities.

    Returns:
        (x, y, n) float32; 0 above the base.
    """
    last = image.shape[2] - 1
    masks = np.zeros(image.shape, np.float32)
    middle = last - (last - base + 1) // 2
    masks[..., middle] = initialise(image[..., middle])
    for direction, end in ((-1, base), (1, last)):
        z = middle
        while z != end:
            mask = (masks[..., z] >= 0.5).astype(np.float32) if binary_input else masks[..., z]
            found = carry(image[..., z], mask, image[..., neighbours(z, direction, last)])
            count = min(STEP, abs(end - z))
            masks[..., [z + direction * k for k in range(1, count + 1)]] = found[..., :count]
            z += direction * count
    return masks


def neighbours(z: int, direction: int, last: int) -> list[int]:
    """The next four slices from `z` on. Beyond the end of the stack its last slice is repeated (ours: the paper does not say)."""
    return [min(max(z + direction * k, 0), last) for k in range(1, STEP + 1)]


def network_input(slice_: np.ndarray, mask: np.ndarray, next_slices: np.ndarray) -> np.ndarray:
    """The input of the propagation network, (x, y, 6): slice z, mask z, slices z+1 to z+4."""
    return np.concatenate([np.stack([slice_, mask], axis=-1), next_slices], axis=-1, dtype=np.float32)


def find_base(alone: np.ndarray) -> int:
    """The base slice, if none is given (ours: the paper's was picked by hand).

    A slice counts if it has an enclosed cavity, and at least half as much wall as the slices in the middle third. The base is the
    first slice of the longest run of slices that count.

    Args:
        alone: probabilities (x, y, n) of every slice by itself, see `predict.slice_by_slice`.

    Returns:
        Slice index; that of the middle slice if no slice counts.
    """
    masks = alone >= 0.5
    n = masks.shape[2]
    areas = masks.sum(axis=(0, 1))
    enough = np.median(areas[n // 3 : n - n // 3]) / 2
    closed = [areas[z] >= enough and has_cavity(masks[..., z]) for z in range(n)]
    runs, count = ndimage.label(closed)
    if not count:
        return n // 2
    longest = 1 + np.bincount(runs)[1:].argmax()
    return int(np.argmax(runs == longest))


def has_cavity(mask: np.ndarray) -> bool:
    """Whether the wall (x, y) encloses a cavity of more than a few pixels."""
    return bool((ndimage.binary_fill_holes(mask) & ~mask).sum() >= LEAST_CAVITY)
