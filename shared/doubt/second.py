"""A second opinion: what the same network says of the scan moved by some voxels.

A network that has found a heart finds it there too; where it guesses, the guess changes.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from shared.scans import orientation
from shared.scans.volume import Volume

MOVED = (6, -5)  # voxels in the plane of the slices (ours: neither is a multiple of 4, by which networks halve twice)

Predict = Callable[[Volume, Path], Volume]


def of(predict: Predict) -> Predict:
    """`predict`, asked about the moved scan; its label map is moved back."""

    def again(scan: Volume, path: Path) -> Volume:
        axes = orientation.slices_last(scan)[:2]
        found = predict(scan.with_array(moved(scan.array, axes, MOVED)), path)
        return found.with_array(moved(found.array, axes, (-MOVED[0], -MOVED[1])))

    return again


def moved(array: np.ndarray, axes: tuple[int, ...], voxels: tuple[int, int]) -> np.ndarray:
    """An array moved along two axes; where nothing comes in, the edge is repeated."""
    for axis, by in zip(axes, voxels, strict=True):
        places = np.clip(np.arange(array.shape[axis]) - by, 0, array.shape[axis] - 1)
        array = np.take(array, places, axis=axis)
    return array
