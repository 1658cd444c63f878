"""Prepared cases whose every voxel says its case and slice."""

import numpy as np

from shared.learning.prepared import store

DEPTHS = (3, 1, 4, 2, 3)  # 13 slices
ALL_SLICES = sorted(case * 10 + z for case, depth in enumerate(DEPTHS) for z in range(depth))


def channels(case, depth):
    """The image is 10 * case + slice; the label says it too, as image + 1."""
    slices = np.broadcast_to(case * 10 + np.arange(depth), (6, 5, depth))
    return {"image": slices.astype(np.float32), "label": (slices + 1).astype(np.uint8)}


def stored(folder):
    """Paths for "slices" (13, of cases of several depths), and of "volumes" (three, of one shape: cases 0, 4 and 7)."""
    paths = [store(folder, f"case{i}", lambda i=i, depth=depth: channels(i, depth)) for i, depth in enumerate(DEPTHS)]
    square = store(folder, "same shape", lambda: channels(7, 3))
    return {"slices": paths, "volumes": [paths[0], paths[4], square]}


def identity(part):
    """What an example is: its first voxel."""
    return int(part.reshape(-1)[0])
