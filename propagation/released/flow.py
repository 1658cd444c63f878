"""Motion between two frames of a slice, as apparentflow_net sees it."""

import numpy as np

from propagation.released.images import normalised, square_image
from shared.lazy import lazily

with lazily():
    from shared.framework import keras


def apparent_flow(model: "keras.Model", ed: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """How a slice moves from end-diastole to `frame`.

    Args:
        model: an apparentflow_net.
        ed, frame: (rows, columns) grey values of the square around the heart at both instants.

    Returns:
        (size, size, 2) float32, pixels of the network's grid: along columns, along rows.
    """
    size = model.input_shape[0][1]
    inputs = [normalised(square_image(image, size))[None, ..., None] for image in (ed, frame)]
    return np.asarray(model.predict_on_batch(inputs))[0]


def warp_by_flow(mask: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The mask at end-diastole, from a mask at the instant that `flow` leads to: each pixel takes the value where it goes.

    Args:
        mask: (rows, columns).
        flow: (rows, columns, 2) from `apparent_flow`. Half pixels are rounded to even ones. A pixel that leaves the image
            takes the value at the border.
    """
    rows, columns = np.indices(mask.shape)
    to_row = np.clip(np.rint(rows + flow[..., 1]), 0, mask.shape[0] - 1).astype(int)
    to_column = np.clip(np.rint(columns + flow[..., 0]), 0, mask.shape[1] - 1).astype(int)
    return mask[to_row, to_column]
