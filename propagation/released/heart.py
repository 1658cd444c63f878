"""Where the heart is: the square around what roi_net finds, or one at the centre of the slices."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from propagation.released.images import (
    clipped,
    equalised,
    grey,
    largest_component,
    normalised,
    resized_nearest,
    square_image,
)
from propagation.released.variants import Released
from shared.errors import InputError
from shared.lazy import lazily
from shared.scans.volume import Volume

with lazily():
    from shared.framework import keras

MARGIN = 0.3  # of the heart's longer side, on each side


@dataclass(frozen=True)
class Square:
    """A square of `side` pixels in a slice, which starts at (`row`, `column`) and may reach outside."""

    row: int
    column: int
    side: int


def find_heart(scan: Volume, model: "keras.Model | None", options: Released) -> Square:
    """The square around what `model`, a roi_net, finds in the upper slices; without a model, a square at the centre.

    Raises:
        InputError: no such frames, or nothing found.
    """
    rows, columns = scan.array.shape[1], scan.array.shape[0]
    if model is None:
        side = min(round(options.centre_mm / min(scan.spacing_mm[:2])), max(rows, columns))
        return Square((rows - side) // 2, (columns - side) // 2, side)
    if not options.roi_frames or not all(0 <= t < scan.frames for t in options.roi_frames):
        raise InputError(f"roi_frames: expected some of the scan's {scan.frames}, counted from 0, found {options.roi_frames}")
    masks = [
        heart_mask(grey(scan.frame(t).array[:, :, z].T, scan.array.max(), eight_bit=True), model)  # CLAHE takes whole numbers
        for t in options.roi_frames
        for z in share_of(scan.array.shape[2], *options.roi_slices)
    ]
    if not any(mask.any() for mask in masks):
        raise InputError("roi_net found no heart: check the order of the axes, or segment the centre, without a roi_net")
    return square_around(masks)


def share_of(slices: int, start: float, stop: float) -> range:
    """Indices of the slices from the fraction `start` to the fraction `stop` of them, at least one."""
    first = min(round(start * slices + 0.001), slices - 1)
    return range(first, max(round(stop * slices + 0.001), first + 1))


def heart_mask(image: np.ndarray, model: "keras.Model") -> np.ndarray:
    """The largest part that roi_net takes for heart in a slice (rows, columns) of whole grey values 0..255."""
    size, side = model.input_shape[1], max(image.shape)
    inputs = normalised(equalised(square_image(clipped(image), size)))
    found = model.predict_on_batch(inputs[None, ..., None])[0, ..., 0] >= 0.5
    row, column = ((side - n) // 2 for n in image.shape)
    found = resized_nearest(found, side)[row : row + image.shape[0], column : column + image.shape[1]]
    return largest_component(found)


def square_around(masks: Sequence[np.ndarray]) -> Square:
    """The square around all masks (rows, columns): its side is the longer one of their box, plus 0.3 of it all around."""
    rows, columns = np.nonzero(np.any(masks, axis=0))
    side = int(max(np.ptp(rows), np.ptp(columns))) + 1
    margin = round(MARGIN * side + 0.001)
    row, column = ((int(each.min()) + int(each.max())) // 2 - side // 2 - margin for each in (rows, columns))
    return Square(row, column, side + 2 * margin)
