"""What the losses of all papers share: which pixels count."""

from shared.datasets import IGNORED
from shared.framework import Tensor, ops


def annotated(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Integer labels with 0 in the place of `IGNORED`, and a mask of the pixels that are not ignored."""
    labels = ops.cast(labels, "int32")
    kept = labels != IGNORED
    return ops.where(kept, labels, 0), kept
