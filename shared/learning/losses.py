"""What the losses of all papers share: which pixels count."""

from typing import Any

from shared.datasets import IGNORED
from shared.framework import ops


def annotated(labels: Any) -> tuple[Any, Any]:
    """Integer labels with 0 in the place of `IGNORED`, and which pixels are not ignored."""
    labels = ops.cast(labels, "int32")
    kept = labels != IGNORED
    return ops.where(kept, labels, 0), kept
