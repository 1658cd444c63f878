"""What the synthetic motion needs to know of a heart, measured in the mask of its walls (ours).

Lengths are mm, a position is voxel index times spacing, z grows from base to apex. Angles run from x to y.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from propagation.masks import holes_of
from shared.errors import InputError

SMOOTHING_MM = 5.0  # along z, of the measured shape
LEAST_RV_DEPTH_MM2, LEAST_RV_RAD = 50.0, 0.05  # least half-extent of the RV cavity in r^2 / 2 and angle, for a few voxels


@dataclass(frozen=True)
class Heart:
    """What the motion needs to know of an anatomy. Tuples of any length have one value per slice.

    Attributes:
        axis_mm: x and y of the LV axis at z = 0.
        slope: how far x and y move along the axis, per mm of z.
        septum_rad: direction from the LV axis to the RV, the zero of all other angles.
        base_mm, tip_mm, apex_mm: z of the first slice, of the end of the LV cavity and of the end of the wall.
        epicardium_mm: LV outer radius in the middle third.
        reach_mm: distance from the LV axis to the farthest wall.
        slice_mm: distance of slices.
        cavity_mm: radius of the LV cavity.
        rv_mm2: area of the RV cavity.
        rv_depth_mm2, rv_half_depth_mm2: middle and half-extent of the RV cavity in r^2 / 2.
        rv_rad, rv_half_rad: middle and half-extent of the RV cavity in angle.
    """

    axis_mm: tuple[float, float]
    slope: tuple[float, float]
    septum_rad: float
    base_mm: float
    tip_mm: float
    apex_mm: float
    epicardium_mm: float
    reach_mm: float
    slice_mm: float
    cavity_mm: tuple[float, ...]
    rv_mm2: tuple[float, ...]
    rv_depth_mm2: tuple[float, ...]
    rv_half_depth_mm2: tuple[float, ...]
    rv_rad: tuple[float, ...]
    rv_half_rad: tuple[float, ...]


def heart_of(mask: np.ndarray, spacing_mm: Sequence[float], cavity: np.ndarray | None = None) -> Heart:
    """Measure the anatomy in a biventricular wall mask.

    Args:
        mask: (x, y, z) bool, the walls of both ventricles; slice 0 at the base end.
        spacing_mm: voxel size along x, y, z.
        cavity: (x, y, z) bool, the LV cavity where the data set labels it. Without it, the two largest holes of the wall (slice
            by slice) are compared: the LV cavity is rounder and has the thicker wall around it.

    Raises:
        InputError: arrays that do not fit together, or no two cavities in the wall.
    """
    mask, voxel_mm = np.asarray(mask, bool), np.array(spacing_mm, float)
    if mask.ndim != 3 or voxel_mm.shape != (3,):
        raise InputError(f"mask: expected (x, y, z) and 3 spacings, found shape {mask.shape} and {voxel_mm.size} spacings")
    if cavity is not None and np.shape(cavity) != mask.shape:
        raise InputError(f"cavity: shape {np.shape(cavity)} differs from {mask.shape} of the mask")
    left, right = cavities(mask, voxel_mm, cavity)
    slope, axis_mm = axis_of(left, voxel_mm)

    slices = np.arange(mask.shape[2])
    x = np.arange(mask.shape[0])[:, None, None] * voxel_mm[0] - axis_mm[0] - slope[0] * slices * voxel_mm[2]
    y = np.arange(mask.shape[1])[:, None] * voxel_mm[1] - axis_mm[1] - slope[1] * slices * voxel_mm[2]
    depth_mm2 = (x**2 + y**2) / 2
    septum_rad = float(np.arctan2((y * right).sum(), (x * right).sum()))
    angle = turned(np.arctan2(y, x) - septum_rad)

    area_mm2 = areas_mm2(left, voxel_mm)
    inside = np.flatnonzero(area_mm2)
    first, tip, last = inside[0], inside[-1], np.flatnonzero(mask.any(axis=(0, 1)))[-1]
    middle = slice((2 * first + tip) // 3, (first + 2 * tip) // 3 + 1)
    free = (mask | left)[..., middle] & (np.abs(angle[..., middle]) > np.pi / 2)
    epicardium_mm = np.sqrt(2 / np.pi * np.count_nonzero(free) * voxel_mm[0] * voxel_mm[1] / free.shape[2])
    radius_mm = np.where(slices > tip, 0, np.interp(slices, inside, np.sqrt(area_mm2[inside] / np.pi)))

    profiles = [radius_mm, areas_mm2(right, voxel_mm), *rv_extent(right, depth_mm2, angle)]
    sigma = SMOOTHING_MM / voxel_mm[2]
    profiles = [ndimage.gaussian_filter1d(profile, sigma, mode="nearest") for profile in profiles]
    cavity_mm, rv_mm2, rv_depth_mm2, rv_rad, rv_half_depth_mm2, rv_half_rad = profiles
    return Heart(
        axis_mm=tuple(axis_mm.tolist()),
        slope=tuple(slope.tolist()),
        septum_rad=septum_rad,
        base_mm=float(first * voxel_mm[2]),
        tip_mm=float((tip + 0.5) * voxel_mm[2]),
        apex_mm=float((last + 0.5) * voxel_mm[2]),
        epicardium_mm=float(epicardium_mm),
        reach_mm=float(np.sqrt(2 * depth_mm2[mask].max())),
        slice_mm=float(voxel_mm[2]),
        cavity_mm=tuple(cavity_mm.tolist()),
        rv_mm2=tuple(rv_mm2.tolist()),
        rv_depth_mm2=tuple(rv_depth_mm2.tolist()),
        rv_half_depth_mm2=tuple(np.maximum(rv_half_depth_mm2, LEAST_RV_DEPTH_MM2).tolist()),
        rv_rad=tuple(rv_rad.tolist()),
        rv_half_rad=tuple(np.maximum(rv_half_rad, LEAST_RV_RAD).tolist()),
    )


def axis_of(left: np.ndarray, voxel_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The LV axis, fitted to the centres of the LV cavity: its slope (2,) and its place (2,) in mm at z = 0.

    Raises:
        InputError: the cavity is seen in too few slices.
    """
    area_mm2 = areas_mm2(left, voxel_mm)
    inside = np.flatnonzero(area_mm2)
    if len(inside) < 3:
        raise InputError(f"mask: the LV cavity is seen in {len(inside)} slices, 3 are needed to find its axis")
    centres_mm = np.array([np.argwhere(left[..., z]).mean(axis=0) for z in inside]) * voxel_mm[:2]
    slope, axis_mm = np.polyfit(inside * voxel_mm[2], centres_mm, 1, w=np.sqrt(area_mm2[inside]))
    return slope, axis_mm


def areas_mm2(mask: np.ndarray, voxel_mm: np.ndarray) -> np.ndarray:
    """Area of a mask (x, y, z) in every slice."""
    return np.count_nonzero(mask, axis=(0, 1)) * voxel_mm[0] * voxel_mm[1]


def rv_extent(right: np.ndarray, depth_mm2: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Where the RV cavity lies in every slice, (4, slices): its middle in r^2 / 2 and in angle, its half-extent in both."""
    occupied = np.flatnonzero(right.any(axis=(0, 1)))
    moments = [
        (f(depth_mm2[..., z][right[..., z]]), f(angle[..., z][right[..., z]])) for z in occupied for f in (np.mean, np.std)
    ]
    extent = np.array(moments).reshape(-1, 4) * (1, 1, np.sqrt(3), np.sqrt(3))  # the half-width of a box from its deviation
    return np.array([np.interp(np.arange(right.shape[2]), occupied, column) for column in extent.T])


def cavities(mask: np.ndarray, spacing_mm: np.ndarray, cavity: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The LV and the RV cavity as two boolean arrays; for the arguments see `heart_of`.

    Raises:
        InputError: no two cavities in the wall.
    """
    if cavity is not None:
        cavity = np.asarray(cavity, bool)
        labels, count = ndimage.label(holes_of(mask | cavity))
        if not cavity.any() or count == 0:
            raise InputError(
                "cavity: expected the LV cavity, and next to it an RV cavity enclosed by the mask; one of them is empty"
            )
        return cavity, labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    first, second = two_holes(mask)
    owner = first + 2 * second
    _, nearest = ndimage.distance_transform_edt(owner == 0, sampling=spacing_mm, return_indices=True)
    owner = np.where(mask, owner[tuple(nearest)], 0)
    first_score = roundness(first, spacing_mm) * thickness(owner == 1, first)
    second_score = roundness(second, spacing_mm) * thickness(owner == 2, second)
    return (first, second) if first_score >= second_score else (second, first)


def two_holes(mask: np.ndarray) -> np.ndarray:
    """The two cavities, not yet told apart, (2, x, y, z) bool.

    They are followed from the slice where both are large, by their overlap with the slice before. A search in 3D would not do:
    where slices are thick, the septum in one slice touches a cavity in the next, and so cavities may touch.

    Raises:
        InputError: no slice with two holes.
    """
    labels = np.stack([ndimage.label(part)[0] for part in np.moveaxis(holes_of(mask), 2, 0)], axis=2)
    sizes = [np.bincount(labels[..., z].ravel(), minlength=3)[1:] for z in range(labels.shape[2])]
    start = int(np.argmax([np.sort(size)[-2] for size in sizes]))
    pair = np.array([labels[..., start] == 1 + index for index in np.argsort(-sizes[start])[:2]])
    if not pair[1].any():
        raise InputError(
            f"mask: no slice along the last axis has a wall around two cavities (shape {mask.shape}); "
            "give the walls of both ventricles, slice 0 at the base end"
        )
    result = np.zeros((2, *mask.shape), bool)
    for order in (range(start, labels.shape[2]), range(start, -1, -1)):
        before = pair
        for z in order:
            here = np.zeros_like(pair)
            for index in range(1, labels[..., z].max() + 1):
                hole = labels[..., z] == index
                overlap = (before & hole).sum(axis=(1, 2))
                if overlap.any():
                    here[overlap.argmax()] |= hole
            result[..., z] |= here
            before = np.where(here.any(axis=(1, 2), keepdims=True), here, before)
    return result


def roundness(hole: np.ndarray, spacing_mm: np.ndarray) -> float:
    """Area divided by that of a disc with the same mean squared distance from the centre; mean over slices, weighted by area."""
    total = 0.0
    for part in np.moveaxis(hole, 2, 0):
        if part.any():
            points_mm = np.argwhere(part) * spacing_mm[:2]
            area = len(points_mm) * spacing_mm[0] * spacing_mm[1]
            spread = ((points_mm - points_mm.mean(axis=0)) ** 2).sum(axis=1).mean() + (spacing_mm[:2] ** 2).sum() / 12
            total += len(points_mm) * area / (2 * np.pi * spread)
    return float(total / np.count_nonzero(hole))


def thickness(wall: np.ndarray, hole: np.ndarray) -> float:
    """Mean thickness, in voxels, of the part of the wall that is nearest to a hole."""
    return np.count_nonzero(wall) / np.count_nonzero(hole & ~ndimage.binary_erosion(hole))


def turned(angle: np.ndarray) -> np.ndarray:
    """The same angle in -pi to pi."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
