"""Slices as the released networks take them: grey values, squares, and resizing as PIL does it.

Images are (rows, columns), the transpose of a slice of a scan. Numbers are those of the authors' code.
"""

import numpy as np
from scipy import ndimage


def grey(array: np.ndarray, largest: float, eight_bit: bool) -> np.ndarray:
    """Values from 0 to `largest` as 0..255; `eight_bit` cuts them to whole numbers."""
    scaled = array * (255 / (float(largest) or 1.0))
    return np.floor(scaled) if eight_bit else scaled


def clipped(image: np.ndarray) -> np.ndarray:
    """Grey values below the 5th or above the 95th percentile are set to these percentiles."""
    return np.clip(image, *np.percentile(image, (5, 95)))


def equalised(image: np.ndarray) -> np.ndarray:
    """CLAHE with clip limit 3 and 8 x 8 tiles; the minimum is 0."""
    import cv2

    result = cv2.createCLAHE(3.0, (8, 8)).apply(image.astype(np.uint8))
    return result - result.min()


def square_image(image: np.ndarray, size: int) -> np.ndarray:
    """An image (rows, columns) whose minimum is brought to 0, zero-padded to a centred square, resized by nearest neighbour."""
    side = max(image.shape)
    padding = [((side - n) // 2, side - n - (side - n) // 2) for n in image.shape]
    return resized_nearest(np.pad(image - image.min(), padding), size)


def normalised(image: np.ndarray) -> np.ndarray:
    """float32: mean 0 and standard deviation 1 of the pixels strictly between the 5th and the 95th percentile.

    A standard deviation below 1 / sqrt(pixels) counts as that. Where there are no such pixels, only the minimum is subtracted.
    """
    low, high = np.percentile(image, (5, 95))
    middle = image[(image > low) & (image < high)]
    if not middle.size:
        return (image - image.min()).astype(np.float32)
    return ((image - middle.mean()) / max(middle.std(), image.size**-0.5)).astype(np.float32)


def resized_nearest(image: np.ndarray, size: int) -> np.ndarray:
    """A square image with `size` rows and columns: pixel i takes floor((i + 1/2) * n / size).

    The positions are added up one by one, as PIL does, because its rounding errors count where one falls between two pixels.
    """
    step = image.shape[0] / size
    nearest = np.cumsum([step / 2, *[step] * (size - 1)]).astype(int)
    return image[np.ix_(nearest, nearest)]


def resized_bilinear(maps: np.ndarray, size: int, stretch: bool = False) -> np.ndarray:
    """Square maps (rows, columns, classes) with `size` rows and columns, by a triangle as wide as the coarser pixels, as in PIL.

    Args:
        maps: to be resized.
        size: rows and columns of the result.
        stretch: see `Released`. The results are then whole numbers 0..255, as after each pass of the old `scipy.misc.imresize`.
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


def rounded(values: np.ndarray) -> np.ndarray:
    """To whole numbers, halves upwards."""
    return np.floor(values + 0.5)


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest part of a mask (rows, columns), with pixels connected over their sides; of equal parts the first."""
    parts, count = ndimage.label(mask)
    return parts == 1 + np.bincount(parts.ravel(), minlength=2)[1:].argmax() if count else mask
