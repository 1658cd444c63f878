"""What the losses of all papers share: which pixels count, and the weighted sum of two or more."""

from collections.abc import Sequence

from shared.datasets import IGNORED
from shared.framework import Tensor, keras, ops


def annotated(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Integer labels with 0 in the place of `IGNORED`, and a mask of the pixels that are not ignored."""
    labels = ops.cast(labels, "int32")
    kept = labels != IGNORED
    return ops.where(kept, labels, 0), kept


class Sum(keras.losses.Loss):
    """The weighted sum of losses of the same labels and logits.

    Args:
        losses: each takes labels and logits, and returns a number.
        weights: one for each loss.
    """

    def __init__(self, losses: Sequence[keras.losses.Loss], weights: Sequence[float], name: str = "sum") -> None:
        super().__init__(name=name, reduction="none")
        self.terms = tuple(zip(losses, weights, strict=True))

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return sum(weight * loss.call(y_true, y_pred) for loss, weight in self.terms)
