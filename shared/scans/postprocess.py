"""From network output to a clean label map."""

import numpy as np
from scipy import ndimage


def classes_of(probabilities):
    """Class indices (x, y, z) uint8 of probabilities (x, y, z, classes): the likeliest; of a single one, 1 from 0.5 on."""
    if probabilities.shape[-1] == 1:
        return (probabilities[..., 0] >= 0.5).astype(np.uint8)
    return probabilities.argmax(axis=-1).astype(np.uint8)


def largest_components(labels):
    """Keep the largest connected component of every label, set the rest to 0.

    Args:
        labels: (x, y, z) integers, 0 = background. Voxels connect over their 6 faces; of equal components the first stays.
    """
    result = np.zeros_like(labels)
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        components, count = ndimage.label(labels[box] == value)
        sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
        result[box][components == 1 + sizes.argmax()] = value
    return result
