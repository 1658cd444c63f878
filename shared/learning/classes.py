"""What several papers ask of maps of classes: how many pixels each class has, and the Dice of those that occur."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shared.datasets import IGNORED
from shared.learning.prepared import voxels_of
from shared.scoring import metrics


def class_counts(paths: Sequence[Path], classes: int) -> list[int]:
    """Voxels of each of so many classes, background included, in all of the prepared cases."""
    counts = [np.bincount(voxels_of(path)["label"].ravel(), minlength=IGNORED + 1) for path in paths]
    return np.sum(counts, axis=0)[:classes].tolist()


def dice_of(found: np.ndarray, labels: np.ndarray) -> list[float]:
    """Dice of each structure that occurs in one of two maps of classes; IGNORED voxels are left out."""
    found = found * (labels != IGNORED)
    values = {*np.unique(found).tolist(), *np.unique(labels).tolist()} - {0, IGNORED}
    return [float(metrics.dice(found == value, labels == value)) for value in sorted(values)]
