"""Classes counted in prepared cases, and the Dice of maps of classes."""

import numpy as np

from shared.learning.classes import class_counts, dice_of
from shared.learning.prepared import store


def test_dice_is_of_the_structures_that_are_there():
    found, labels = np.array([0, 1, 1, 2, 1]), np.array([0, 1, 0, 0, 255])
    assert dice_of(found, labels) == [2 / 3, 0.0]
    assert dice_of(np.zeros(3), np.zeros(3)) == []


def test_ignored_voxels_are_no_class(tmp_path):
    labels = np.array([0, 0, 1, 3, 255], np.uint8).reshape(5, 1, 1)
    paths = [store(tmp_path, name, lambda: {"label": labels}) for name in ("a", "b")]
    assert class_counts(paths, 4) == [4, 2, 0, 2]
