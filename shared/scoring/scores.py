"""One case -> its rows of cases.csv: predicted against reference label map, one row per structure.

The measures are those of `shared.scoring.metrics`; `RULE` says them in few words for captions.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.errors import InputError
from shared.scans.orientation import all_slices_last, matched
from shared.scans.volume import Volume
from shared.scoring import metrics

Scores = dict[str, Any]  # a row of cases.csv; some of its columns hold text, the others numbers

RULE = (
    "Per volume, in mm: surface = mask voxels with a 6-neighbour outside the mask, exact Euclidean distances; HD = maximum of "
    "both directions (in voxels: every voxel side counts 1; slice-wise: mean of the slices' own HD, over slices with both "
    "masks), ASSD = mean of the two directed means, ASD = mean over the surface voxels of both masks. Both masks empty: Dice 1, "
    "distances 0; one empty: Dice 0, distances undefined and left out of n, as is a slice-wise HD where no slice has both."
)


def score(
    predicted: Volume, reference: Volume, structures: Mapping[int, str], about: Mapping[str, str], ignore: int | None = None
) -> list[Scores]:
    """Rows of one case, one per structure.

    Args:
        predicted, reference: label maps of the same voxels, in any order of axes.
        structures: label value -> structure name; several values may have one name.
        about: columns that say which case this is, put first.
        ignore: value of reference voxels that are taken out of all masks, the predicted ones too; None: all count.

    Raises:
        InputError: the voxels differ (see `orientation.matched`).
    """
    case = about["case"]
    if predicted.array.ndim != 3 or reference.array.ndim != 3:
        shapes = f"{predicted.array.shape} against {reference.array.shape}"
        raise InputError(f"{case}: expected two 3D label maps, found {shapes}; split a cine into its frames")
    predicted = matched(reference, predicted, (f"the reference of {case}", f"prediction of {case}"))
    reference, predicted = all_slices_last(reference, predicted)
    counts = True if ignore is None else reference.array != ignore
    rows = []
    for structure in dict.fromkeys(structures.values()):
        values = [value for value, name in structures.items() if name == structure]
        a, b = np.isin(predicted.array, values) & counts, np.isin(reference.array, values)
        rows.append({**about, "structure": structure, **of_masks(a, b, reference.spacing_mm)})
    return rows


def of_masks(a: np.ndarray, b: np.ndarray, spacing_mm: tuple[float, ...]) -> dict[str, float]:
    """Every measure of a predicted mask `a` against its reference `b`, slices last."""
    distances_mm = metrics.surface_distances_mm(a, b, spacing_mm)
    hausdorff_mm = metrics.hausdorff_of(*distances_mm)
    cubes = len(set(spacing_mm)) == 1  # where voxels are cubes, mm and voxels differ by a factor only
    return {
        "dice": float(metrics.dice(a, b)),
        "jaccard": float(metrics.jaccard(a, b)),
        "sensitivity": float(metrics.sensitivity(a, b)),
        "hausdorff_mm": hausdorff_mm,
        "assd_mm": metrics.assd_of(*distances_mm),
        "asd_mm": metrics.asd_of(*distances_mm),
        "hausdorff_voxels": hausdorff_mm / spacing_mm[0] if cubes else metrics.hausdorff_mm(a, b, (1, 1, 1)),
        "hausdorff_slice_mm": metrics.hausdorff_slices_mm(a, b, spacing_mm),
        "volume_ml": metrics.volume_ml(a, spacing_mm),
        "reference_ml": metrics.volume_ml(b, spacing_mm),
    }
