"""Random transforms of a batch, image and label together, on the accelerator.

Parameters are drawn on the host with a generator of (seed, epoch, example), so that an example is the same in every run; the
transform itself is `keras.ops`. Images are interpolated linearly, labels by nearest neighbour; what enters from outside is 0.
"""

import numpy as np

from shared.framework import ops


def draw_affine(rng, shape, *, rotation_deg, crop_px, flip):
    """Coefficients of one random rotation, then square crop enlarged to full size, then flip along y, for a (x, y) image.

    Args:
        rng: numpy generator.
        shape: (x, y) of the image.
        rotation_deg: angle uniform in +- this, about the image's centre.
        crop_px: the crop's sides are 0 to this many pixels less than the image's; one number, or one for x and one for y.
        flip: whether to mirror the second axis with probability 1/2.

    Returns:
        (8,) float32 for `affine`: output row i, column j comes from input row (c d f), column (a b e) . (j i 1).
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


def affine(images, labels, coefficients):
    """Transform images (B, x, y, channels) and labels (B, x, y) or (B, x, y, masks) by coefficients (B, 8) of `draw_affine`."""
    moved = ops.image.affine_transform(images, coefficients, "bilinear", "constant", data_format="channels_last")
    single = len(labels.shape) == 3
    masks = ops.cast(labels[..., None] if single else labels, "float32")
    masks = ops.image.affine_transform(masks, coefficients, "nearest", "constant", data_format="channels_last")
    return moved, ops.cast(ops.round(masks[..., 0] if single else masks), "uint8")
