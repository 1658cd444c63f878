"""Overlap, surface distance and volume of two masks.

Masks are boolean arrays (x, y, z), distances millimetres. A surface voxel has at least one of its 6 neighbours outside the mask
(outside the array counts as outside); distances are exact Euclidean between voxel centres. Two empty masks agree perfectly
(Dice 1, distances 0); where exactly one is empty Dice is 0 and distances are undefined (NaN).
"""

import numpy as np
from scipy import ndimage

MYOCARDIUM_G_PER_ML = 1.05
CAVITIES = ("LV", "RV")  # the structures that have an ejection fraction


def dice(a, b):
    """2 |A and B| / (|A| + |B|)."""
    a, b = _masks(a, b)
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 1.0


def jaccard(a, b):
    """|A and B| / |A or B|."""
    a, b = _masks(a, b)
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def sensitivity(a, b):
    """Share of the reference `b` that `a` finds; NaN where the reference is empty."""
    a, b = _masks(a, b)
    reference = np.count_nonzero(b)
    return np.count_nonzero(a & b) / reference if reference else float("nan")


def hausdorff_mm(a, b, spacing_mm):
    """Largest distance from a surface voxel of one mask to the surface of the other."""
    return hausdorff_of(*surface_distances_mm(a, b, spacing_mm))


def assd_mm(a, b, spacing_mm):
    """Average symmetric surface distance: the mean of the two directed mean distances."""
    return assd_of(*surface_distances_mm(a, b, spacing_mm))


def hausdorff_slices_mm(a, b, spacing_mm):
    """Mean of the Hausdorff distances within the slices (last axis) that both masks reach, each slice a 2D mask of its own.

    NaN where no slice holds both masks, 0 where both are empty everywhere. Slices that one mask alone reaches do not count.

    Raises:
        ValueError: masks of different shape, or not as many spacings as axes.
    """
    a, b = _masks(a, b, spacing_mm)
    slices = list(zip(np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0), strict=True))
    distances_mm = [hausdorff_mm(x, y, spacing_mm[:-1]) for x, y in slices if x.any() and y.any()]
    if distances_mm:
        return float(np.mean(distances_mm))
    return float("nan") if a.any() or b.any() else 0.0


def surface_distances_mm(a, b, spacing_mm):
    """Distance of every surface voxel of `a` to the surface of `b`, and the other way round: two flat arrays.

    Raises:
        ValueError: masks of different shape, or not as many spacings as axes.
    """
    a, b = _masks(a, b, spacing_mm)
    box = ndimage.find_objects((a | b).astype(np.uint8))  # nothing outside both masks can matter
    if not box:
        return np.zeros(0), np.zeros(0)
    a, b = a[box[0]], b[box[0]]
    surface_a, surface_b = _surface(a), _surface(b)
    if not surface_a.any() or not surface_b.any():
        return np.full(np.count_nonzero(surface_a), np.nan), np.full(np.count_nonzero(surface_b), np.nan)
    to_b = ndimage.distance_transform_edt(~surface_b, sampling=spacing_mm)[surface_a]
    to_a = ndimage.distance_transform_edt(~surface_a, sampling=spacing_mm)[surface_b]
    return to_b, to_a


def hausdorff_of(to_b, to_a):
    """Hausdorff distance from the two arrays of `surface_distances_mm`."""
    return float(np.max(np.concatenate([to_b, to_a]), initial=0))


def assd_of(to_b, to_a):
    """Average symmetric surface distance from the two arrays of `surface_distances_mm`."""
    if len(to_b) == 0 and len(to_a) == 0:
        return 0.0
    return float(np.mean([np.mean(d) for d in (to_b, to_a) if len(d)]))


def asd_of(to_b, to_a):
    """Average surface distance: the sum of both arrays of `surface_distances_mm` over the number of surface voxels of both masks.

    Every surface voxel weighs alike, where ASSD weighs the two directions alike.
    """
    distances_mm = np.concatenate([to_b, to_a])
    return float(np.mean(distances_mm)) if len(distances_mm) else 0.0


def volume_ml(mask, spacing_mm):
    """Voxels times voxel size, in millilitres."""
    return float(np.count_nonzero(mask) * np.prod(spacing_mm) / 1000)


def ejection_fraction(ed_ml, es_ml):
    """(EDV - ESV) / EDV in percent; NaN where one of them is 0: a ventricle never empties, so that nothing was found there."""
    return 100 * (ed_ml - es_ml) / ed_ml if ed_ml and es_ml else float("nan")


def mass_g(myocardium_ml):
    """Mass of that much myocardium, at 1.05 g/ml."""
    return MYOCARDIUM_G_PER_ML * myocardium_ml


def _masks(a, b, spacing_mm=None):
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    if a.shape != b.shape:
        raise ValueError(f"masks of different shape: {a.shape} and {b.shape}")
    if spacing_mm is not None and len(spacing_mm) != a.ndim:
        raise ValueError(f"spacing_mm: expected {a.ndim} numbers, found {spacing_mm}")
    return a, b


def _surface(mask):
    return mask & ~ndimage.binary_erosion(mask)
