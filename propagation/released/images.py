"""Slices as the authors' code prepares them for the released networks: grey values, squares, and resizing as PIL does it.

Images are (rows, columns), the transpose of a slice of a scan. Numbers are those of the authors' code.
"""

import numpy as np
from scipy import ndimage


def grey(array, largest, eight_bit):
    """Values from 0 to `largest` as 0..255, with `eight_bit` cut to whole numbers."""
    scaled = array * (255 / (float(largest) or 1.0))
    return np.floor(scaled) if eight_bit else scaled


def clipped(image):
    """Grey values outside the 5th to the 95th percentile set to these."""
    return np.clip(image, *np.percentile(image, (5, 95)))


def equalised(image):
    """CLAHE with clip limit 3 and 8 x 8 tiles, from 0 on."""
    import cv2

    result = cv2.createCLAHE(3.0, (8, 8)).apply(image.astype(np.uint8))
    return result - result.min()


def square_image(image, size):
    """An image (rows, columns) from 0 on, zero-padded to a centred square, resized to `size` by nearest neighbour."""
    side = max(image.shape)
    padding = [((side - n) // 2, side - n - (side - n) // 2) for n in image.shape]
    return resized_nearest(np.pad(image - image.min(), padding), size)


def normalised(image):
    """float32: mean 0 and standard deviation 1 of the pixels strictly between the 5th and the 95th percentile.

    The standard deviation counts as 1 / sqrt(pixels) at least; where there are no such pixels only the minimum is subtracted.
    """
    low, high = np.percentile(image, (5, 95))
    middle = image[(image > low) & (image < high)]
    if not middle.size:
        return (image - image.min()).astype(np.float32)
    return ((image - middle.mean()) / max(middle.std(), image.size**-0.5)).astype(np.float32)


def resized_nearest(image, size):
    """A square image with `size` rows and columns: pixel i takes floor((i + 1/2) * n / size).

    The positions are added up one by one, as PIL does: its rounding errors decide where one falls between two pixels.
    """
    step = image.shape[0] / size
    nearest = np.cumsum([step / 2, *[step] * (size - 1)]).astype(int)
    return image[np.ix_(nearest, nearest)]


def resized_bilinear(maps, size, stretch=False):
    """Square maps (rows, columns, classes) with `size` rows and columns, by a triangle as wide as the coarser pixels, as in PIL.

    Args:
        stretch: as in `Released`; the results are then whole numbers 0..255, as every pass of the old `scipy.misc.imresize` was.
    """
    scale = maps.shape[0] / size
    distance = (np.arange(size)[:, None] + 0.5) * scale - (np.arange(maps.shape[0]) + 0.5)
    weights = np.maximum(0, 1 - abs(distance) / max(scale, 1.0))
    weights /= weights.sum(axis=1, keepdims=True)
    if stretch:
        low, high = maps.min(axis=(0, 1)), maps.max(axis=(0, 1))
        maps = rounded((maps - low) * (255 / np.where(high > low, high - low, 1)))
    maps = np.einsum("oi,ric->roc", weights, maps)
    maps = np.einsum("oi,ikc->okc", weights, rounded(maps) if stretch else maps)
    return rounded(maps) if stretch else maps


def rounded(values):
    """To whole numbers, halves upwards."""
    return np.floor(values + 0.5)


def largest_component(mask):
    """The largest part of a mask (rows, columns) whose pixels are connected over their sides, the first of equals."""
    parts, count = ndimage.label(mask)
    return parts == 1 + np.bincount(parts.ravel(), minlength=2)[1:].argmax() if count else mask
