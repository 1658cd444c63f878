"""The losses of Vesal 2020, section 3.4, as they are meant and as they are printed; sums run over all voxels of the batch.

| name | meant | printed |
|---|---|---|
| Dice, eq. 2 | 1 - (2 sum(y p) + s) / (sum y + sum p + s) | 1 - sum(y p) / (sum y + sum p): at least 0.5 |
| BCE, eq. 3 | mean of -[y log p + (1 - y) log(1 - p)] | mean of -[p log p + (1 - y)(1 - p)] |
| BCE-Dice, eq. 4 | BCE + Dice | the sum of the two above |
| multi-class Dice, eq. 5 | mean of eq. 2 over all classes, background included | the same of eq. 2 as printed |

No sum and no mean includes voxels whose label is `IGNORED` (ours).
"""

from dr_unet.recipe import Recipe
from shared.framework import Tensor, keras, ops
from shared.learning.losses import annotated


def of(recipe: Recipe) -> keras.losses.Loss:
    """The loss of the network that segments."""
    loss = named(recipe.loss, recipe.smoothing)
    return EndToEnd(loss, of_localiser(recipe), recipe.localiser_weight) if recipe.method == "end_to_end" else loss


def of_localiser(recipe: Recipe) -> keras.losses.Loss:
    return named(recipe.localiser_loss, recipe.smoothing)


def named(name: str, smoothing: float) -> keras.losses.Loss:
    """A loss by the name that recipes use; names with "as_printed" are the paper's formulas with their misprints."""
    kind = BceDice if name.startswith("bce_dice") else MulticlassDice
    return kind(smoothing, as_printed=name.endswith("as_printed"))


class BceDice(keras.losses.Loss):
    """Eq. 4: labels (B, x, y, z), foreground where not 0, against the logit (B, x, y, z, 1) of a sigmoid.

    Args:
        smoothing: s.
        as_printed: the printed formulas instead.
    """

    def __init__(self, smoothing: float, as_printed: bool = False, name: str = "bce_dice") -> None:
        super().__init__(name=name, reduction="none")
        self.smoothing, self.as_printed = smoothing, as_printed

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        logit = y_pred[..., 0]
        labels, kept = (ops.cast(part, logit.dtype) for part in annotated(y_true))
        y, p = ops.cast(labels > 0, logit.dtype), ops.sigmoid(logit)
        dice = 1 - ratio(ops.sum(y * p), ops.sum(y) + ops.sum(p * kept), self.smoothing, self.as_printed)
        if self.as_printed:
            return dice - mean(p * ops.log(p + keras.config.epsilon()) + (1 - y) * (1 - p), kept)
        return dice + mean(ops.softplus(logit) - y * logit, kept)


class MulticlassDice(keras.losses.Loss):
    """Eq. 5: labels (B, x, y, z) of class indices against the logits (B, x, y, z, classes) of a softmax.

    Args:
        smoothing: s.
        as_printed: the printed formula instead.
    """

    def __init__(self, smoothing: float, as_printed: bool = False, name: str = "multiclass_dice") -> None:
        super().__init__(name=name, reduction="none")
        self.smoothing, self.as_printed = smoothing, as_printed

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels, kept = annotated(y_true)
        p = ops.softmax(y_pred, axis=-1)
        kept = ops.cast(kept, p.dtype)[..., None]
        p, y = p * kept, ops.one_hot(labels, y_pred.shape[-1], dtype=p.dtype) * kept
        voxels = tuple(range(len(p.shape) - 1))
        together, apart = ops.sum(y * p, axis=voxels), ops.sum(y, axis=voxels) + ops.sum(p, axis=voxels)
        return 1 - ops.mean(ratio(together, apart, self.smoothing, self.as_printed))


class EndToEnd(keras.losses.Loss):
    """Loss of the segmentation (all channels but the last), plus `weight` times the loss of the localiser (the last channel)."""

    def __init__(
        self, segmentation: keras.losses.Loss, localisation: keras.losses.Loss, weight: float, name: str = "end_to_end"
    ) -> None:
        super().__init__(name=name, reduction="none")
        self.segmentation, self.localisation, self.weight = segmentation, localisation, weight

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        located = self.localisation.call(y_true, y_pred[..., -1:])
        return self.segmentation.call(y_true, y_pred[..., :-1]) + self.weight * located


def mean(values: Tensor, kept: Tensor) -> Tensor:
    """Mean of the values where `kept` is 1; 0 if `kept` is 0 everywhere."""
    return ops.sum(values * kept) / ops.maximum(ops.sum(kept), 1)


def ratio(together: Tensor, apart: Tensor, smoothing: float, as_printed: bool) -> Tensor:
    """The Dice coefficient from the sum of the products (`together`) and the sum of both sides (`apart`)."""
    return together / (apart + keras.config.epsilon()) if as_printed else (2 * together + smoothing) / (apart + smoothing)
