"""Pure steps from scan to network grid, and the one step back.

Every function maps a `Volume` to a new `Volume` whose affine says where its voxels are, so that `onto_grid` undoes any sequence
of them. Arrays are (x, y, z), or (x, y, z, channels) where a function says so.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from shared.errors import InputError
from shared.scans.volume import Volume

NOTHING = "constant image: every voxel is {:g}, there is nothing to segment"


def zscore(volume: Volume) -> Volume:
    """float32 with zero mean and unit (population) standard deviation over the whole volume.

    Raises:
        InputError: a constant image.
    """
    array = volume.array.astype(np.float32)
    std = array.std(dtype=np.float64)
    if std == 0:
        raise InputError(NOTHING.format(array.flat[0]))
    return volume.with_array(((array - array.mean(dtype=np.float64)) / std).astype(np.float32))


def clahe(volume: Volume, clip_limit: float, tile_mm: float) -> Volume:
    """Contrast-limited adaptive histogram equalisation, slice by slice (OpenCV).

    Every slice is first stretched to 8 bits, from its minimum to its maximum, because OpenCV's result depends on the type.

    Args:
        volume: (x, y, z).
        clip_limit: OpenCV's, in multiples of a flat histogram.
        tile_mm: wanted side of a tile along x and y; the side taken is the nearest that makes a whole number of tiles.

    Returns:
        (x, y, z) uint8; a constant slice is 0.

    Raises:
        InputError: a constant image.
    """
    import cv2

    if volume.array.min() == volume.array.max():
        raise InputError(NOTHING.format(volume.array.flat[0]))
    tiles = [max(1, round(n * mm / tile_mm)) for n, mm in zip(volume.array.shape[:2], volume.spacing_mm[:2], strict=True)]
    equaliser = cv2.createCLAHE(clip_limit, tiles[::-1])  # OpenCV: columns, then rows
    result = np.zeros(volume.array.shape, np.uint8)
    for z in range(volume.array.shape[2]):
        grey = volume.array[:, :, z].astype(np.float64)
        low, high = grey.min(), grey.max()
        if high > low:
            result[:, :, z] = equaliser.apply(np.round((grey - low) * (255 / (high - low))).astype(np.uint8))
    return volume.with_array(result)


def resample(
    volume: Volume, spacing_mm: Sequence[float] | np.ndarray, order: int, edge: str = "blend", anti_alias: bool = False
) -> Volume:
    """Resample to about `spacing_mm`: each axis gets round(n * old / new) voxels and keeps its physical extent exactly.

    Args:
        volume: (x, y, z).
        spacing_mm: wanted voxel size along x, y, z; the result's own `spacing_mm` differs from it by the rounding.
        order: 0 nearest neighbour (labels), 1 linear.
        edge: what becomes of samples up to half a voxel outside the array: "blend" mixes them with 0, "zero" makes them 0.
        anti_alias: smooth with a Gaussian of (step - 1) / 2 voxels before an axis is made coarser.
    """
    old = np.array(volume.array.shape[:3])
    new = resampled_shape(volume, spacing_mm)
    step = old / new
    array = volume.array
    if anti_alias:
        array = ndimage.gaussian_filter(array, np.maximum(0, (step - 1) / 2), mode="nearest")
    for axis in range(3):
        array = _interpolate(array, axis, (np.arange(new[axis]) + 0.5) * step[axis] - 0.5, order, edge)
    return _moved(volume, array, step, 0.5 * step - 0.5)


def resampled_shape(volume: Volume, spacing_mm: Sequence[float] | np.ndarray) -> tuple[int, ...]:
    """The shape that `resample` gives."""
    extent = np.array(volume.array.shape[:3]) * volume.spacing_mm
    return tuple(int(n) for n in np.maximum(1, np.round(extent / spacing_mm)))


def crop_or_pad(volume: Volume, shape: Sequence[int]) -> Volume:
    """Bring each axis from n voxels to N, about its centre: cut floor((n - N) / 2) or add floor((N - n) / 2) zeros in front.

    Args:
        volume: (x, y, z) or (x, y, z, channels).
        shape: wanted numbers of voxels N along x, y, z.
    """
    sizes = zip(volume.array.shape[:3], shape, strict=True)
    return window(volume, [(n - wanted) // 2 if n >= wanted else -((wanted - n) // 2) for n, wanted in sizes], shape)


def window(volume: Volume, starts: Sequence[int], shape: Sequence[int]) -> Volume:
    """The box of `shape` voxels that begins at voxel `starts`; zeros where it reaches outside.

    Args:
        volume: (x, y, z) or (x, y, z, channels).
        starts, shape: along x, y, z; a start may be negative.
    """
    return _moved(volume, cut(volume.array, starts, shape), np.ones(3), np.array(starts, float))


def cut(array: np.ndarray, starts: Sequence[int], shape: Sequence[int], fill: float = 0) -> np.ndarray:
    """The box of `shape` that begins at `starts` along the first axes of an array; `fill` where it reaches outside."""
    result = np.full((*shape, *array.shape[len(shape) :]), fill, array.dtype)
    sizes = array.shape[: len(shape)]
    parts = [(max(s, 0), max(min(s + n, size), 0)) for s, n, size in zip(starts, shape, sizes, strict=True)]
    if all(first < stop for first, stop in parts):
        target = tuple(slice(first - s, stop - s) for (first, stop), s in zip(parts, starts, strict=True))
        result[target] = array[tuple(slice(first, stop) for first, stop in parts)]
    return result


def shrink(volume: Volume, factors: Sequence[int]) -> Volume:
    """Means of blocks of `factors` voxels.

    Args:
        volume: (x, y, z), each extent a multiple of its factor.

    Returns:
        float32.
    """
    step = np.array(factors)
    return _moved(volume, _blocks(volume.array.astype(np.float32), step).mean(axis=(1, 3, 5)), step, (step - 1) / 2)


def shrink_labels(volume: Volume, factors: Sequence[int]) -> Volume:
    """The commonest class of each block of `factors` voxels.

    Where background and foreground are equally common, they win in turn, like the black and white squares of a chessboard: if
    one of them always won, every structure would shrink or grow.

    Args:
        volume: (x, y, z) class indices, each extent a multiple of its factor.
    """
    step, values = np.array(factors), np.union1d([0], volume.array)
    counts = np.stack([
        _blocks(volume.array == value, step).sum(axis=(1, 3, 5), dtype=np.float32) for value in values
    ], axis=-1)  # fmt: skip
    counts[..., 0] += np.where(np.indices(counts.shape[:3]).sum(axis=0) % 2, 0.5, -0.5)
    return _moved(volume, values[counts.argmax(axis=-1)].astype(volume.array.dtype), step, (step - 1) / 2)


def slab(volume: Volume, start: int, stop: int) -> Volume:
    """Slices `start` to `stop` - 1 along z."""
    return _moved(volume, volume.array[:, :, start:stop], np.ones(3), np.array([0.0, 0.0, start]))


def onto_grid(volume: Volume, like: Volume, order: int, edge: str = "blend", anti_alias: bool = False) -> Volume:
    """Resample `volume`, which the functions above made from the grid of `like`, back onto that grid.

    Args:
        volume: (x, y, z) or (x, y, z, channels).
        like: the scan whose shape, spacing and affine the result gets.
        order, edge, anti_alias: see `resample`.

    Raises:
        ValueError: the grids are rotated against each other.
    """
    matrix = np.linalg.inv(volume.affine) @ like.affine
    step, offset = np.diag(matrix)[:3], matrix[:3, 3]
    if not np.allclose(matrix[:3, :3], np.diag(step), atol=1e-4) or np.any(step <= 0):
        raise ValueError("onto_grid: the two grids are rotated or flipped against each other")
    array = volume.array
    if anti_alias:
        sigma = np.zeros(array.ndim)
        sigma[:3] = np.maximum(0, (step - 1) / 2)
        array = ndimage.gaussian_filter(array, sigma, mode="nearest")
    for axis, size in enumerate(like.array.shape[:3]):
        coordinates = np.round(np.arange(size) * step[axis] + offset[axis], 6)  # the affines carry rounding of about 1e-12
        array = _interpolate(array, axis, coordinates, order, edge)
    return Volume(array, like.spacing_mm, like.affine)


def _blocks(array: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """(blocks along x, x within a block, and the same for y and z)."""
    (nx, ny, nz), (fx, fy, fz) = array.shape // factors, factors
    return array.reshape(nx, fx, ny, fy, nz, fz)


def _moved(volume: Volume, array: np.ndarray, step: np.ndarray, offset: np.ndarray) -> Volume:
    """`array` on a grid whose voxel i lies at voxel i * step + offset of `volume`."""
    transform = np.diag([*step, 1.0])
    transform[:3, 3] = offset
    x, y, z = map(float, np.array(volume.spacing_mm) * step)
    return Volume(array, (x, y, z), volume.affine @ transform, volume.frame_s)


def _interpolate(array: np.ndarray, axis: int, coordinates: np.ndarray, order: int, edge: str) -> np.ndarray:
    """`array` sampled along one axis at fractional `coordinates`; voxel centres are whole numbers."""
    if order and not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
    last = array.shape[axis] - 1
    if np.array_equal(coordinates, np.arange(last + 1)):
        return array
    if order == 0:
        nearest = np.floor(coordinates + 0.5)
        taps = [(nearest, np.ones_like(nearest))]
    else:
        lower = np.floor(coordinates)
        taps = [(lower, lower + 1 - coordinates), (lower + 1, coordinates - lower)]
    outside = (coordinates < 0) | (coordinates > last) if edge == "zero" else np.zeros(coordinates.shape, bool)
    result = np.zeros((), array.dtype)
    for index, weight in taps:
        weight = np.where(outside | (index < 0) | (index > last), 0, weight).astype(array.dtype)
        taken = array.take(np.clip(index, 0, last).astype(int), axis=axis)
        result = result + taken * np.expand_dims(weight, [a for a in range(array.ndim) if a != axis])
    return result
