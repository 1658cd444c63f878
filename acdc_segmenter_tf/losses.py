"""The losses of Baumgartner 2017, section 2.3: integer labels `(B, x, y[, z])`, logits `(B, x, y[, z], classes)`, in float32.

`of(recipe)` gives the one that a recipe names. Pixels whose label is `IGNORED` count nowhere, neither in a mean nor in a sum.
"""

from collections.abc import Sequence

from acdc_segmenter_tf.recipe import Recipe
from shared.framework import Tensor, keras, ops
from shared.learning.losses import annotated


def of(recipe: Recipe) -> keras.losses.Loss:
    """The loss that `recipe.loss` names."""
    weights = [recipe.background_weight] + [recipe.foreground_weight] * len(recipe.preparation.structures)
    return {
        "cross_entropy": lambda: CrossEntropy(),
        "weighted_cross_entropy": lambda: CrossEntropy(weights),
        "dice_foreground": lambda: SoftDice(foreground_only=True),  # authors' code of 2017; `dice_onlyfg` of 2019
        "dice_all_classes": lambda: SoftDice(foreground_only=False),  # authors' code of 2019, `dice`
        "dice_paper_formula": lambda: PooledOverlap(),  # the formula as printed
    }[recipe.loss]()


class CrossEntropy(keras.losses.Loss):
    """Mean over the pixels of the batch of -w[t] log softmax(logits)[t], t the true class.

    Args:
        class_weights: w, one weight per class; None weighs all classes alike. The mean is not divided by the sum of weights.
    """

    def __init__(self, class_weights: Sequence[float] | None = None, name: str = "cross_entropy") -> None:
        super().__init__(name=name)
        self.class_weights = class_weights

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels, kept = annotated(y_true)
        loss = ops.sparse_categorical_crossentropy(labels, y_pred, from_logits=True)
        if self.class_weights is not None:
            loss = loss * ops.take(ops.convert_to_tensor(self.class_weights, loss.dtype), labels)
        kept = ops.cast(kept, loss.dtype)
        return loss * kept / ops.maximum(ops.mean(kept), keras.config.epsilon())  # Keras takes the mean over all pixels


class SoftDice(keras.losses.Loss):
    """1 - mean over images and classes of 2 sum(t y) / (sum t + sum y + 1e-10), sums over one image's pixels.

    A class that an image lacks adds a Dice of 0 to the mean, without a gradient.

    Args:
        foreground_only: leave class 0 out of the mean.
    """

    def __init__(self, foreground_only: bool, name: str = "soft_dice") -> None:
        super().__init__(name=name)
        self.foreground_only = foreground_only

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        intersection, total = overlap(y_true, y_pred)  # (B, classes)
        dice = 2 * intersection / (total + 1e-10)
        return 1 - ops.mean(dice[:, 1:] if self.foreground_only else dice, axis=1)


class PooledOverlap(keras.losses.Loss):
    """1 - sum(t y) / sum(t + y), one ratio over all foreground classes and pixels of the batch.

    There is no factor 2, so it is at least 0.5.
    """

    def __init__(self, name: str = "pooled_overlap") -> None:
        super().__init__(name=name, reduction="none")

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        intersection, total = overlap(y_true, y_pred)
        return 1 - ops.sum(intersection[:, 1:]) / ops.maximum(ops.sum(total[:, 1:]), keras.config.epsilon())


def overlap(labels: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Per image and class, sum(t y) and sum(t) + sum(y), with y the softmax and t the one-hot labels; both (B, classes)."""
    labels, kept = annotated(labels)
    y = ops.softmax(logits, axis=-1)
    kept = ops.cast(kept, y.dtype)[..., None]
    y, t = y * kept, ops.one_hot(labels, logits.shape[-1], dtype=y.dtype) * kept
    pixels = tuple(range(1, len(logits.shape) - 1))
    return ops.sum(t * y, axis=pixels), ops.sum(t, axis=pixels) + ops.sum(y, axis=pixels)
