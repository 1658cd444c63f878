"""A scan, 3D or a cine with its axes in any order, to its label map: what every paper's `predict` does around its network."""

from collections.abc import Callable, Mapping

import numpy as np

from shared.progress import Progress
from shared.scans import orientation
from shared.scans.volume import Volume


def predict_frames(scan: Volume, predict_frame: Callable[[Volume], np.ndarray], structures: Mapping[int, str]) -> Volume:
    """The label map on the grid of `scan`, in its own order of axes; each frame of a cine is predicted by itself.

    Args:
        scan: `Volume` (x, y, z) or (x, y, z, t).
        predict_frame: `predict_frame(frame Volume (x, y, z) with its slices last) -> class indices (x, y, z)`, 0 = background.
        structures: label value on disk -> name, in the order of the classes.
    """

    def segment(ordered: Volume) -> np.ndarray:
        frames = [predict_frame(ordered.frame(t)) for t in Progress("frame", scan.frames).over(range(scan.frames))]
        return frames[0] if scan.array.ndim == 3 else np.stack(frames, axis=3)

    values = np.array([0, *structures], np.uint8 if max(structures) < 256 else np.uint16)
    classes = orientation.with_slices_last(scan, segment)
    return classes.with_array(values[classes.array])
