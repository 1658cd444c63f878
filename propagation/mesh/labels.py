"""Which voxels of a label map are meshed."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from propagation import masks
from shared.datasets.case import MOST_VALUES
from shared.errors import InputError
from shared.scans import postprocess
from shared.scans.volume import Volume


def structures(labels: Volume, values: Sequence[int] | None = None, largest: bool = True) -> Volume:
    """The label map with the wanted structures only.

    Args:
        labels: (x, y, z), whole numbers, 0 = background.
        values: label values to keep; None keeps all but 0.
        largest: keep only the largest connected component of each.

    Raises:
        InputError: a cine, a scan, numbers that are not whole, nothing to mesh, a label that is absent or one voxel thin.
    """
    array = labels.array
    if array.ndim != 3:
        raise InputError(f"expected a 3D label map, found shape {array.shape}; mesh one frame of a cine at a time")
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"expected a label map of whole numbers, found {array.dtype}")
    present = [int(value) for value in np.unique(array) if value]
    if len(present) > MOST_VALUES:
        raise InputError(f"{len(present)} different values: this is a scan; expected its label map, such as predict writes")
    if not present:
        raise InputError(f"the label map of shape {array.shape} is empty: there is nothing to mesh")
    for value in values or ():
        if value not in present:
            raise InputError(f"label {value}: not in the label map, which holds {', '.join(map(str, present))}")
    array = np.where(np.isin(array, list(values or present)), array, 0)
    if largest:
        array = postprocess.largest_components(array)
    for value in values or present:
        (box,) = ndimage.find_objects((array == value).astype(np.uint8))
        thin = [axis for axis, part in zip("xyz", box, strict=True) if part.stop - part.start < 2]
        if thin:
            raise InputError(
                f"label {value}: one voxel thin along {', '.join(thin)}; a solid needs at least two, in {array.shape}"
            )
    return labels.with_array(array)


def wall(labels: Volume, rv_wall_mm: float) -> Volume:
    """The walls of both ventricles as label 1, from a label map with ACDC's labels; see `masks.biventricular`.

    Raises:
        InputError: labels that are not ACDC's.
    """
    found = set(np.unique(labels.array).tolist())
    if not {masks.RV, masks.MYOCARDIUM} <= found <= {0, masks.RV, masks.MYOCARDIUM, masks.LV}:
        raise InputError(f"--biventricular: expected ACDC's labels, 1 RV, 2 myocardium and 3 LV; found {sorted(found)}")
    if labels.array.ndim != 3:
        return labels  # `structures` refuses it
    return masks.biventricular(labels, rv_wall_mm)


def volume_ml(mask: Volume) -> float:
    """Volume of the voxels of a mask."""
    return float(np.count_nonzero(mask.array) * mask.voxel_ml)
