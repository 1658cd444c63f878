"""Random gamma correction, blur and rotation of a batch, on the accelerator (paper; the ranges are ours).

The host draws the parameters of each example with its own generator. Gamma and blur change the image only; the rotation moves
image and labels alike, the image linearly and the labels by nearest neighbour. What enters from outside is 0.
"""

from collections.abc import Mapping

import numpy as np

from dense_unet.recipe import Recipe
from shared.framework import Tensor, ops
from shared.learning import augment

REACH = 3  # standard deviations that a blur sees on either side


def draw(rng: np.random.Generator, recipe: Recipe) -> dict[str, np.ndarray]:
    """Parameters for one example: the exponent "gamma", the "taps" of a Gaussian along one axis, and "rotation" for
    `augment.affine`. An exponent of 1, and a single tap of weight 1, change nothing."""
    chances, size = rng.random(2) < recipe.chance, recipe.preparation.size
    gamma, sigma_px = np.exp(rng.uniform(*np.log(recipe.gamma))), rng.uniform(0, recipe.blur_px)
    return {
        "gamma": np.array(gamma if chances[0] else 1, np.float32),
        "taps": gaussian(sigma_px if chances[1] else 0, int(np.ceil(REACH * recipe.blur_px))),
        "rotation": augment.draw_affine(rng, (size, size), rotation_deg=recipe.rotation_deg, crop_px=0, flip=False),
    }


def gaussian(sigma_px: float, reach_px: int) -> np.ndarray:
    """(2 * reach_px + 1,) float32: weights of a Gaussian, whose sum is 1; a standard deviation of 0 weighs the middle alone."""
    places = np.arange(-reach_px, reach_px + 1)
    weights = np.exp(-(places**2) / (2 * sigma_px**2)) if sigma_px else (places == 0).astype(float)
    return (weights / weights.sum()).astype(np.float32)


def apply(images: Tensor, labels: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Transform a batch.

    Args:
        images: (B, x, y, 1) in [0, 1]; or (B, x, y, 2) with the border term (see `losses.border`) as a second channel, since it
            moves as an image does.
        labels: (B, x, y) class indices.
        parameters: of `draw`, for each image.

    Returns:
        Images (B, x, y, 1); labels (B, x, y), or (B, x, y, 2) with the border term behind them, as the losses take them.
    """
    grey = blurred(ops.cast(images[..., :1], "float32") ** parameters["gamma"][:, None, None, None], parameters["taps"])
    moved, labels = augment.affine(ops.concatenate([grey, images[..., 1:]], axis=-1), labels, parameters["rotation"])
    if images.shape[-1] == 1:
        return moved, labels
    return moved[..., :1], ops.concatenate([ops.cast(labels, "float32")[..., None], moved[..., 1:]], axis=-1)


def blurred(images: Tensor, taps: Tensor) -> Tensor:
    """Images (B, x, y, 1), each smoothed along x and y by its own weights `taps` (B, 2 r + 1); the border is mirrored."""
    width, extents = taps.shape[1], images.shape[1:3]
    reach = width // 2
    padded = ops.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="symmetric") if reach else images
    weights = taps[:, :, None, None, None]
    along_x = sum(weights[:, k] * padded[:, k : k + extents[0]] for k in range(width))
    return sum(weights[:, k] * along_x[:, :, k : k + extents[1]] for k in range(width))
