"""The losses of Wang 2018, eq. 1 and 2, as they are meant and as they are printed; sums run over all voxels of the batch.

With one-hot labels t, probabilities p and e = 1 against division by zero (ours: the paper gives no number):

| name | meant | printed |
|---|---|---|
| Dice of class c, S_c | (2 sum(t_c p_c) + e) / (sum(t_c + p_c) + e) | the same, summed over the voxels of class c only |
| multi-class Dice L, eq. 1 | 1 - sum_c w_c S_c, w_c = (1 / N_c) / sum_k (1 / N_k) | 1 - sum_c S_c / N_c |
| foreground Dice L_ROI, eq. 2 | 1 - S_ROI, the S of 1 - t_0 and 1 - p_0 | 1 - S_ROI / N_0, summed over background only |

As printed, S_c is blind to what is found outside class c, L is close to 1 whatever is found, and L_ROI is least where all is
background. N_c is the number of voxels of class c: in eq. 1 of the training cases (`counts`), in eq. 2 of the batch. No sum
includes voxels whose label is `IGNORED` (ours).
"""

from collections.abc import Sequence

import numpy as np

from shared.errors import InputError
from shared.framework import Tensor, keras, ops
from shared.learning.losses import Sum, annotated
from two_stage_unet.recipe import WEIGHTS, Recipe


def of(recipe: Recipe, counts: Sequence[int]) -> keras.losses.Loss:
    """The multi-class loss L of a recipe, for the numbers of voxels N_c."""
    return MulticlassDice(class_weights(recipe.class_weights, counts), recipe.smoothing, recipe.dice_as_printed)


def foreground(recipe: Recipe) -> keras.losses.Loss:
    """The loss L_ROI of a recipe."""
    return ForegroundDice(recipe.smoothing, recipe.dice_as_printed)


def both(recipe: Recipe, counts: Sequence[int]) -> keras.losses.Loss:
    """L_ROI + L, of step 2."""
    return Sum([foreground(recipe), of(recipe, counts)], [1, 1])


def class_weights(kind: str, counts: Sequence[int]) -> list[float]:
    """The weights w_c of eq. 1.

    Args:
        kind: "inverse_count" (as meant), "uniform" (every class alike) or "printed" (1 / N_c).
        counts: N_c of every class, background included. Without voxels a class has weight 0, except in
            "uniform" (ours).

    Raises:
        InputError: an unknown kind, or no voxel of any class.
    """
    if kind not in WEIGHTS:
        raise InputError(f"unknown class weights {kind!r}: expected one of {', '.join(WEIGHTS)}")
    if kind == "uniform":
        return [1 / len(counts)] * len(counts)
    voxels = np.array(counts, np.float64)
    if not (voxels > 0).any():
        raise InputError(f"class weights need voxels of at least one class, found the counts {', '.join(map(str, counts))}")
    weights = np.divide(1, voxels, out=np.zeros_like(voxels), where=voxels > 0)
    return (weights if kind == "printed" else weights / weights.sum()).tolist()


class MulticlassDice(keras.losses.Loss):
    """Eq. 1: labels (B, ...) of class indices against the logits (B, ..., classes) of a softmax.

    Args:
        weights: w_c, see `class_weights`.
        smoothing: e.
        as_printed: S_c as printed.
    """

    def __init__(
        self, weights: Sequence[float], smoothing: float, as_printed: bool = False, name: str = "multiclass_dice"
    ) -> None:
        super().__init__(name=name, reduction="none")
        self.weights, self.smoothing, self.as_printed = tuple(weights), smoothing, as_printed

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        t, p = labels_and_chances(y_true, y_pred)
        found = t * p if self.as_printed else p
        together, apart = ops.sum(t * p, axis=0), ops.sum(t, axis=0) + ops.sum(found, axis=0)  # (classes,)
        dice = (2 * together + self.smoothing) / (apart + self.smoothing)
        return 1 - ops.sum(ops.convert_to_tensor(self.weights, dice.dtype) * dice)


class ForegroundDice(keras.losses.Loss):
    """Eq. 2: labels (B, ...), foreground where not 0, against the logits (B, ..., classes) of a softmax.

    Args:
        smoothing: e.
        as_printed: the printed formula instead.
    """

    def __init__(self, smoothing: float, as_printed: bool = False, name: str = "foreground_dice") -> None:
        super().__init__(name=name, reduction="none")
        self.smoothing, self.as_printed = smoothing, as_printed

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        t, p = labels_and_chances(y_true, y_pred)
        background, t, p = t[:, 0], ops.sum(t[:, 1:], axis=-1), ops.sum(p[:, 1:], axis=-1)
        if self.as_printed:
            count = ops.sum(background)
            dice = self.smoothing / (ops.sum(background * p) + self.smoothing)  # t is 0 on background
            return 1 - dice / ops.maximum(count, 1)
        return 1 - (2 * ops.sum(t * p) + self.smoothing) / (ops.sum(t) + ops.sum(p) + self.smoothing)


def labels_and_chances(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """One-hot labels t and probabilities p of all voxels of the batch, both (voxels, classes); 0 in voxels that are `IGNORED`."""
    classes = y_pred.shape[-1]
    labels, kept = annotated(ops.reshape(y_true, (-1,)))
    p = ops.softmax(ops.reshape(y_pred, (-1, classes)), axis=-1)
    kept = ops.cast(kept, p.dtype)[:, None]
    return ops.one_hot(labels, classes, dtype=p.dtype) * kept, p * kept
