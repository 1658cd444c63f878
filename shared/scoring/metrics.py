"""Overlap, surface distance and volume of two masks.

Masks are boolean arrays (x, y, z), distances are in millimetres. A surface voxel has at least one of its 6 neighbours outside the
mask (the outside of the array counts); distances are exact, Euclidean, between voxel centres. Two empty masks agree perfectly
(Dice 1, distances 0). Where exactly one is empty, Dice is 0 and distances are undefined (NaN).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage, spatial

MYOCARDIUM_G_PER_ML = 1.05
CAVITIES = ("LV", "RV")  # the structures that have an ejection fraction


def mask_of(labels: np.ndarray, structures: Mapping[int, str], name: str) -> np.ndarray:
    """Where a label map has a structure; several values may have one name, and a name without a value is nowhere."""
    values = [value for value, each in structures.items() if each == name]
    return labels == values[0] if len(values) == 1 else np.isin(labels, values)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|)."""
    a, b = _masks(a, b)
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 1.0


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """|A and B| / |A or B|."""
    a, b = _masks(a, b)
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def sensitivity(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the reference `b` that `a` covers; NaN where the reference is empty."""
    a, b = _masks(a, b)
    reference = np.count_nonzero(b)
    return np.count_nonzero(a & b) / reference if reference else float("nan")


def hausdorff_mm(a: np.ndarray, b: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Largest distance from a surface voxel of one mask to the surface of the other."""
    return hausdorff_of(*surface_distances_mm(a, b, spacing_mm))


def assd_mm(a: np.ndarray, b: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Average symmetric surface distance: the mean of the two directed mean distances."""
    return assd_of(*surface_distances_mm(a, b, spacing_mm))


def hausdorff_slices_mm(a: np.ndarray, b: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Mean of the slices' own Hausdorff distances. Slices (last axis) count where both masks are present, as 2D masks.

    NaN where no slice holds both masks; 0 where both are empty everywhere.

    Raises:
        ValueError: masks of different shape, or not as many spacings as axes.
    """
    a, b = cropped(a, b, spacing_mm)
    in_slice = np.expand_dims(ndimage.generate_binary_structure(a.ndim - 1, 1), -1)
    surface_a, surface_b = _surface(a, in_slice), _surface(b, in_slice)
    across = tuple(range(a.ndim - 1))
    both = np.flatnonzero(surface_a.any(axis=across) & surface_b.any(axis=across))
    if both.size:
        pairs = (_between(surface_a[..., z], surface_b[..., z], spacing_mm[:-1]) for z in both)
        return float(np.mean([hausdorff_of(*pair) for pair in pairs]))
    return float("nan") if a.any() or b.any() else 0.0


def surface_distances_mm(a: np.ndarray, b: np.ndarray, spacing_mm: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Distance of every surface voxel of `a` to the surface of `b`, and of every one of `b` to that of `a`: two flat arrays.

    Raises:
        ValueError: masks of different shape, or not as many spacings as axes.
    """
    a, b = cropped(a, b, spacing_mm)
    return _between(_surface(a), _surface(b), spacing_mm)


def cropped(a: np.ndarray, b: np.ndarray, spacing_mm: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Both masks in the box that holds them, outside of which nothing matters; nothing of masks that are both empty.

    Raises:
        ValueError: masks of different shape, or not as many spacings as axes.
    """
    a, b = _masks(a, b, spacing_mm)
    for axis in reversed(range(a.ndim)):  # the last one, along which memory jumps least, shortens the way for the others
        others = tuple(other for other in range(a.ndim) if other != axis)
        found = np.flatnonzero(a.any(axis=others) | b.any(axis=others))
        part = slice(found[0], found[-1] + 1) if found.size else slice(0)
        index = (*(slice(None),) * axis, part)
        a, b = a[index], b[index]
    return a, b


def hausdorff_of(to_b: np.ndarray, to_a: np.ndarray) -> float:
    """Hausdorff distance from the two arrays of `surface_distances_mm`."""
    return float(np.max(np.concatenate([to_b, to_a]), initial=0))


def assd_of(to_b: np.ndarray, to_a: np.ndarray) -> float:
    """Average symmetric surface distance from the two arrays of `surface_distances_mm`."""
    if len(to_b) == 0 and len(to_a) == 0:
        return 0.0
    return float(np.mean([np.mean(d) for d in (to_b, to_a) if len(d)]))


def asd_of(to_b: np.ndarray, to_a: np.ndarray) -> float:
    """Average surface distance: the mean over both arrays of `surface_distances_mm` together.

    Every surface voxel has the same weight, whereas in ASSD the two directions have the same weight.
    """
    distances_mm = np.concatenate([to_b, to_a])
    return float(np.mean(distances_mm)) if len(distances_mm) else 0.0


def volume_ml(mask: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Voxels times voxel size, in millilitres."""
    return float(np.count_nonzero(mask) * np.prod(spacing_mm) / 1000)


def ejection_fraction(ed_ml: float, es_ml: float) -> float:
    """(EDV - ESV) / EDV in percent. NaN where one of them is 0, since a ventricle never empties: nothing was found there."""
    return 100 * (ed_ml - es_ml) / ed_ml if ed_ml and es_ml else float("nan")


def mass_g(myocardium_ml: float) -> float:
    """Mass of a volume of myocardium, at 1.05 g/ml."""
    return MYOCARDIUM_G_PER_ML * myocardium_ml


def _masks(a: np.ndarray, b: np.ndarray, spacing_mm: Sequence[float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    if a.shape != b.shape:
        raise ValueError(f"masks of different shape: {a.shape} and {b.shape}")
    if spacing_mm is not None and len(spacing_mm) != a.ndim:
        raise ValueError(f"spacing_mm: expected {a.ndim} numbers, found {spacing_mm}")
    return a, b


def _nearest_mm(places: np.ndarray, others: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """(n,) distance of each of the voxels `places` (n, axes) to the nearest one of `others`.

    A search tree is two to four times as fast as a distance transform, which finds the distance of every voxel.
    """
    size = np.asarray(spacing_mm, float)
    _, nearest = spatial.cKDTree(others * size, balanced_tree=False, compact_nodes=False).query(places * size)
    return np.sqrt((((places - others[nearest]) * size) ** 2).sum(axis=1))


def _between(surface_a: np.ndarray, surface_b: np.ndarray, spacing_mm: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """`surface_distances_mm` of two surfaces."""
    if not surface_a.any() or not surface_b.any():
        return np.full(np.count_nonzero(surface_a), np.nan), np.full(np.count_nonzero(surface_b), np.nan)
    places_a, places_b = np.argwhere(surface_a), np.argwhere(surface_b)
    return _nearest_mm(places_a, places_b, spacing_mm), _nearest_mm(places_b, places_a, spacing_mm)


def _surface(mask: np.ndarray, neighbours: np.ndarray | None = None) -> np.ndarray:
    """The voxels of a mask with a neighbour outside of it; by default those along every axis are neighbours."""
    return mask & ~ndimage.binary_erosion(mask, neighbours)
