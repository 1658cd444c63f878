"""The losses of Penso 2020: integer labels against the logits of a softmax, in float32.

With one-hot labels t and probabilities p:

| name | formula | open in the paper, ours |
|---|---|---|
| WCE | mean over pixels of -w log p of the true class | the weights w, see `class_weights` and `border` |
| Dice loss | 1 - (2 sum(p t) + e) / (sum p + sum t + e) over all foreground classes and pixels of the batch together | e = 1 |
| WCE + Dice | WCE + 0.2 Dice loss | |

The paper calls p the output of a sigmoid, but its network ends in a softmax: p is that of the softmax. Pixels whose label is
`IGNORED` count nowhere (ours).
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from dense_unet.recipe import Recipe
from shared.datasets import IGNORED
from shared.errors import InputError
from shared.framework import Tensor, keras, ops
from shared.learning.losses import Sum, annotated

POWERS = {"inverse_root": 0.5, "inverse": 1.0, "unet_map": 1.0}  # a class has weight 1 / share ** power


def of(recipe: Recipe, counts: Sequence[int]) -> keras.losses.Loss:
    """The loss of a recipe.

    Args:
        recipe: of the paper.
        counts: pixels of every class, background first, in the training cases.
    """
    cross_entropy = WeightedCrossEntropy(class_weights(recipe.class_weights, counts))
    if not recipe.dice_weight:
        return cross_entropy
    return Sum([cross_entropy, PooledDice(recipe.smoothing)], [1, recipe.dice_weight])


def class_weights(kind: str, counts: Sequence[int]) -> list[float]:
    """A weight per class that falls with its share f of the pixels, scaled so that their mean is 1.

    Args:
        kind: "inverse_root" (1 / sqrt f), "inverse" (1 / f), or "unet_map" (1 / f too; `border` is added to it).
        counts: pixels of every class, background first. A class without pixels has weight 0 and does not count in the mean.

    Raises:
        InputError: an unknown kind, or no pixel of any class.
    """
    if kind not in POWERS:
        raise InputError(f"unknown class weights {kind!r}: expected one of {', '.join(POWERS)}")
    pixels = np.array(counts, np.float64)
    if not (pixels > 0).any():
        raise InputError(f"class weights need pixels of at least one class, found the counts {', '.join(map(str, counts))}")
    weights = np.divide(1, pixels ** POWERS[kind], out=np.zeros_like(pixels), where=pixels > 0)
    return (weights / weights[pixels > 0].mean()).tolist()


def border(labels: np.ndarray, weight: float, sigma_px: float) -> np.ndarray:
    """The border term of the U-Net paper: weight * exp(-(d1 + d2)^2 / (2 sigma^2)).

    d1 and d2 are the distances in pixels to the nearest and the second nearest structure of the slice, 0 inside a structure.
    (Ours: the U-Net paper has cells of one class in the place of structures.)

    Args:
        labels: (x, y, z) class indices. A slice with fewer than two structures has no border.
        weight: w0.
        sigma_px: in pixels.

    Returns:
        (x, y, z) float32, what is added to the class weights.
    """
    result = np.zeros(labels.shape, np.float32)
    for z in range(labels.shape[2]):
        structures = sorted(set(np.unique(labels[:, :, z]).tolist()) - {0, IGNORED})
        if len(structures) > 1:
            distances = [ndimage.distance_transform_edt(labels[:, :, z] != value) for value in structures]
            first, second = np.sort(distances, axis=0)[:2]
            result[:, :, z] = weight * np.exp(-((first + second) ** 2) / (2 * sigma_px**2))
    return result


class WeightedCrossEntropy(keras.losses.Loss):
    """Mean over the pixels of the batch of -w log p of the true class; it is not divided by the sum of weights.

    Labels are (B, x, y) class indices, or (B, x, y, 2) with the `border` term, which is added to w, behind them.

    Args:
        class_weights: one per class.
    """

    def __init__(self, class_weights: Sequence[float], name: str = "weighted_cross_entropy") -> None:
        super().__init__(name=name, reduction="none")
        self.class_weights = tuple(class_weights)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels, kept = annotated(classes_of(y_true))
        weights = ops.take(ops.convert_to_tensor(self.class_weights, y_pred.dtype), labels)
        if len(y_true.shape) == 4:
            weights = weights + ops.cast(y_true[..., 1], y_pred.dtype)
        losses = weights * ops.sparse_categorical_crossentropy(labels, y_pred, from_logits=True)
        kept = ops.cast(kept, losses.dtype)
        return ops.sum(losses * kept) / ops.maximum(ops.sum(kept), 1)


class PooledDice(keras.losses.Loss):
    """1 - Dice, one ratio over all foreground classes and pixels of the batch; labels as in `WeightedCrossEntropy`.

    Args:
        smoothing: e.
    """

    def __init__(self, smoothing: float, name: str = "pooled_dice") -> None:
        super().__init__(name=name, reduction="none")
        self.smoothing = smoothing

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels, kept = annotated(classes_of(y_true))
        kept = ops.cast(kept, y_pred.dtype)[..., None]
        p = ops.softmax(y_pred, axis=-1)[..., 1:] * kept
        t = ops.one_hot(labels, y_pred.shape[-1], dtype=p.dtype)[..., 1:] * kept
        return 1 - (2 * ops.sum(p * t) + self.smoothing) / (ops.sum(p) + ops.sum(t) + self.smoothing)


def classes_of(y_true: Tensor) -> Tensor:
    """Class indices (B, x, y), with or without a border term behind them."""
    return y_true if len(y_true.shape) == 3 else y_true[..., 0]
