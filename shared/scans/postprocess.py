"""From network output to a clean label map."""

import numpy as np
from scipy import ndimage


def classes_of(probabilities: np.ndarray) -> np.ndarray:
    """The likeliest class (x, y, z) uint8 of probabilities (x, y, z, classes); of a single channel, 1 from 0.5 on."""
    if probabilities.shape[-1] == 1:
        return (probabilities[..., 0] >= 0.5).astype(np.uint8)
    return probabilities.argmax(axis=-1).astype(np.uint8)


def largest_components(labels: np.ndarray) -> np.ndarray:
    """Keep the largest connected component of every label, and set the rest to 0.

    Voxels connect over their 6 faces. Where two components are equally large, the first stays.

    Args:
        labels: (x, y, z) integers, 0 = background.
    """
    result = np.zeros_like(labels)
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        components, count = ndimage.label(labels[box] == value)
        sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
        result[box][components == 1 + sizes.argmax()] = value
    return result
