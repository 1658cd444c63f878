"""From network output to a clean label map."""

import numpy as np
from scipy import ndimage


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
