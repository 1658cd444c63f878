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
    masks, spacing_mm = masks_of(predicted, reference, structures, about["case"], ignore)
    return [{**about, "structure": name, **of_masks(a, b, spacing_mm)} for name, (a, b) in masks.items()]


def score_slices(
    predicted: Volume, reference: Volume, structures: Mapping[int, str], about: Mapping[str, str], ignore: int | None = None
) -> list[Scores]:
    """Rows of one case, one per slice and structure, in 2D; a slice that has the structure in neither mask has no row for it.

    Each slice is a case of its own, which the column "case" names; "slice" is its place along the axis of slices, from 0. For
    arguments and errors see `score`.
    """
    masks, spacing_mm = masks_of(predicted, reference, structures, about["case"], ignore)
    return [
        {**about, "case": f"{about['case']} slice {z}", "slice": z, "structure": name}
        | overlap_and_distances(a[..., z], b[..., z], spacing_mm[:2])
        for name, (a, b) in masks.items()
        for z in np.flatnonzero((a | b).any(axis=(0, 1))).tolist()
    ]


def masks_of(
    predicted: Volume, reference: Volume, structures: Mapping[int, str], case: str, ignore: int | None
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], tuple[float, ...]]:
    """Structure -> (predicted mask, reference mask), slices last, and their spacing; for arguments and errors see `score`."""
    if predicted.array.ndim != 3 or reference.array.ndim != 3:
        shapes = f"{predicted.array.shape} against {reference.array.shape}"
        raise InputError(f"{case}: expected two 3D label maps, found {shapes}; split a cine into its frames")
    predicted = matched(reference, predicted, (f"the reference of {case}", f"prediction of {case}"))
    reference, predicted = all_slices_last(reference, predicted)
    counts = True if ignore is None else reference.array != ignore
    masks = {}
    for structure in dict.fromkeys(structures.values()):
        ours, theirs = (metrics.mask_of(each.array, structures, structure) for each in (predicted, reference))
        masks[structure] = ours & counts, theirs
    return masks, reference.spacing_mm


def of_masks(a: np.ndarray, b: np.ndarray, spacing_mm: tuple[float, ...]) -> dict[str, float]:
    """Every measure of a predicted mask `a` against its reference `b`, slices last."""
    a, b = metrics.cropped(a, b, spacing_mm)
    scores = overlap_and_distances(a, b, spacing_mm)
    cubes = len(set(spacing_mm)) == 1  # where voxels are cubes, mm and voxels differ by a factor only
    return scores | {
        "hausdorff_voxels": scores["hausdorff_mm"] / spacing_mm[0] if cubes else metrics.hausdorff_mm(a, b, (1, 1, 1)),
        "hausdorff_slice_mm": metrics.hausdorff_slices_mm(a, b, spacing_mm),
        "volume_ml": metrics.volume_ml(a, spacing_mm),
        "reference_ml": metrics.volume_ml(b, spacing_mm),
    }


def overlap_and_distances(a: np.ndarray, b: np.ndarray, spacing_mm: tuple[float, ...]) -> dict[str, float]:
    """The measures that masks of two axes have too."""
    distances_mm = metrics.surface_distances_mm(a, b, spacing_mm)
    return {
        "dice": float(metrics.dice(a, b)),
        "jaccard": float(metrics.jaccard(a, b)),
        "sensitivity": float(metrics.sensitivity(a, b)),
        "hausdorff_mm": metrics.hausdorff_of(*distances_mm),
        "assd_mm": metrics.assd_of(*distances_mm),
        "asd_mm": metrics.asd_of(*distances_mm),
    }
