"""Random transforms of a batch, on the accelerator: of images and labels together, and of grey values.

The parameters of each example are drawn on the host with its own generator (see `batches`), so that it is the same in every run;
the transform itself uses `keras.ops`. Images are interpolated linearly, labels by nearest neighbour; outside the image, both
are 0.
"""

from collections.abc import Sequence

import numpy as np

from shared.framework import Tensor, ops


def draw_affine(
    rng: np.random.Generator, shape: Sequence[int], *, rotation_deg: float, crop_px: float | np.ndarray, flip: bool
) -> np.ndarray:
    """Coefficients of a random rotation, followed by a crop enlarged to full size and a flip along y, for an image (x, y).

    Args:
        rng: draws everything.
        shape: (x, y) of the image.
        rotation_deg: the angle is uniform in +- this, about the image's centre.
        crop_px: the crop's sides are 0 to this many pixels shorter than the image's; one number, or one for x and one for y.
        flip: whether to mirror the second axis with probability 1/2.

    Returns:
        (8,) float32 (a b e c d f 0 0) for `affine`: output row i, column j comes from input row c j + d i + f and column
        a j + b i + e.
    """
    angle, shrink, mirror = rng.uniform(-1, 1), rng.uniform(0, 1), rng.random()
    place = rng.uniform(0, 1, 2)
    centre = (np.array(shape) - 1) / 2
    angle = np.deg2rad(rotation_deg) * angle
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    side = np.array(shape) - np.round(crop_px * shrink)
    zoom = np.diag((side - 1) / (np.array(shape) - 1))
    corner = place * (np.array(shape) - side)
    matrix, offset = rotation @ zoom, rotation @ (corner - centre) + centre
    if flip and mirror < 0.5:
        offset = offset + matrix[:, 1] * (shape[1] - 1)
        matrix = matrix @ np.diag([1, -1])
    (xx, xy), (yx, yy) = matrix
    return np.array([yy, yx, offset[1], xy, xx, offset[0], 0, 0], np.float32)


def affine(images: Tensor, labels: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Transform images (B, x, y, channels) and labels (B, x, y) or (B, x, y, masks) by coefficients (B, 8) of `draw_affine`."""
    moved = ops.image.affine_transform(images, coefficients, "bilinear", "constant", data_format="channels_last")
    single = len(labels.shape) == 3
    masks = ops.cast(labels[..., None] if single else labels, "float32")
    masks = ops.image.affine_transform(masks, coefficients, "nearest", "constant", data_format="channels_last")
    return moved, ops.cast(ops.round(masks[..., 0] if single else masks), "uint8")


def draw_gamma(rng: np.random.Generator, ends: Sequence[float], samples: int | None = None) -> np.ndarray:
    """Exponents for `gamma`, whose logarithms are uniform between those of the `ends`: one, or (samples,)."""
    low, high = np.log(ends)
    return np.asarray(np.exp(rng.uniform(low, high, samples)), np.float32)


def gamma(images: Tensor, exponents: Tensor) -> Tensor:
    """Images (B, ...) with grey values from 0 (what is below counts as 0) to 1 (what is above counts as 1) to the power of the
    exponents (B,)."""
    return ops.clip(images, 0, 1) ** ops.reshape(exponents, (-1, *(1 for _ in images.shape[1:])))
