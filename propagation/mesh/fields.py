"""A smooth function that is positive inside a mask (ours: the paper says neither sizes nor smoothing).

    mask -> outline and cavities of every slice -> signed distances in mm -> interpolated between slices -> smoothed

Distances are interpolated rather than voxels, so that there are no stairs where slices are thick.
"""

import numpy as np
from scipy import interpolate, ndimage

from propagation.masks import holes_of
from propagation.mesh.solid import components
from shared.errors import InputError
from shared.scans import orientation, preprocess
from shared.scans.volume import Volume

MOST_SAMPLES = 1e8  # of a field


def field(mask: Volume, step_mm: float | None = None, smoothing_mm: float | None = None) -> Volume:
    """A smooth function that is positive inside a mask, on an isotropic grid that ends well outside the mask.

    The depth inside the mask, cut off at half a voxel, is smoothed by a Gaussian. The mask ends half a slice beyond its first and
    its last slice, where its voxels end. Slices lie across the longest voxel side.

    Args:
        mask: (x, y, z) bool.
        step_mm: of the grid; by default the shortest voxel side, kept within 0.5 and 1.25 mm.
        smoothing_mm: standard deviation; by default the shortest voxel side.

    Returns:
        float64, from -1 far outside to 1 deep inside.

    Raises:
        InputError: a step or a smoothing longer than the mask, or so fine a grid that no memory would hold it.
    """
    finest_mm = min(mask.spacing_mm)
    step_mm = step_mm or min(max(finest_mm, 0.5), 1.25)
    smoothing_mm = smoothing_mm or finest_mm
    last = max(range(3), key=lambda axis: (mask.spacing_mm[axis], axis))
    mask = orientation.transpose(mask, (*(axis for axis in range(3) if axis != last), last))
    spacing_mm = np.array(mask.spacing_mm)
    half_mm = max(*(spacing_mm[:2] / 2), step_mm / 2)
    margin_mm = 5 * smoothing_mm + 2 * max(half_mm, step_mm)
    mask = cut_out(mask, step_mm, smoothing_mm, margin_mm)

    size = np.array(mask.array.shape)
    low = np.array([0, 0, -spacing_mm[2] / 2 - margin_mm])
    axes_mm = [np.arange(start, stop, step_mm) for start, stop in zip(low, (size - 1) * spacing_mm - low, strict=True)]
    ends = (size[2] / 2) * spacing_mm[2] - np.abs(axes_mm[2] - (size[2] - 1) / 2 * spacing_mm[2])
    inside = np.minimum(depth_mm(mask, axes_mm, step_mm, 2 * smoothing_mm), ends)
    values = ndimage.gaussian_filter(np.clip(inside / half_mm, -1, 1), smoothing_mm / step_mm)

    scale = mask.spacing_mm / np.linalg.norm(mask.affine[:3, :3], axis=0)  # the header's voxel size wins
    affine = mask.affine.copy()
    affine[:3, :3] *= scale / spacing_mm
    affine[:3, 3] += affine[:3, :3] @ low
    affine[:3, :3] *= step_mm
    return Volume(values, (step_mm,) * 3, affine)


def cut_out(mask: Volume, step_mm: float, smoothing_mm: float, margin_mm: float) -> Volume:
    """The box around a mask (x, y, z), with a margin in its slices that `field` needs.

    Raises:
        InputError: sizes that do not suit the mask, see `field`.
    """
    spacing_mm = np.array(mask.spacing_mm)
    (box,) = ndimage.find_objects(mask.array.astype(np.uint8))
    extent_mm = [(part.stop - part.start) * mm for part, mm in zip(box, spacing_mm, strict=True)]
    for name, size_mm in (("step", step_mm), ("smoothing", smoothing_mm)):
        if not 0 < size_mm <= max(extent_mm):
            raise InputError(f"{name} of {size_mm:g} mm: expected more than 0 and at most the solid's {max(extent_mm):.0f} mm")
    samples = float(np.prod((np.array(extent_mm) + 2 * margin_mm) / step_mm))
    if samples > MOST_SAMPLES:
        raise InputError(
            f"a step of {step_mm:g} mm and a smoothing of {smoothing_mm:g} mm would take {samples:.0e} samples, more than "
            f"{MOST_SAMPLES:.0e}; expected a longer step or less smoothing"
        )
    pad = np.array([*np.ceil(margin_mm / spacing_mm[:2] + 1), 0]).astype(int)
    size = [part.stop - part.start for part in box] + 2 * pad
    return preprocess.window(mask, [part.start for part in box] - pad, size)


def depth_mm(mask: Volume, axes_mm: list[np.ndarray], step_mm: float, least_mm: float) -> np.ndarray:
    """How deep the points of an isotropic grid lie inside the outline of a mask and outside its cavities.

    In every slice the mask is an outline with holes. The signed distances to the outline and to every cavity are interpolated
    between slices (monotone cubic), each one separately, so that a leaning wall stays a wall where its parts in neighbouring
    slices do not overlap. Everywhere, a wall to the outside stays as thick as the thinnest one of any slice, and so does a wall
    between cavities; both are at least `least_mm` thick.

    Args:
        mask: (x, y, z) bool, with room around it.
        axes_mm: positions of the grid along x, y and z, with the first voxel of the mask at 0.
        step_mm: between these positions.
        least_mm: thickness that a wall needs to survive the smoothing.
    """
    spacing_mm = np.array(mask.spacing_mm)
    half_voxel_mm = min(spacing_mm[:2]) / 2
    hollow = holes_of(mask.array)
    outline = signed_distances_mm(mask.array | hollow, spacing_mm)
    each = [signed_distances_mm(cavity, spacing_mm) for cavity in cavities(hollow)]
    outer_mm = outline[hollow].min(initial=np.inf) - half_voxel_mm  # the thinnest wall to the outside, and between cavities
    inner_mm = min([outer_mm, *(-one[hollow & (one < 0)].max(initial=-np.inf) - half_voxel_mm for one in each)])
    outer_mm, inner_mm = (max(thinnest_mm, least_mm) for thinnest_mm in (outer_mm, inner_mm))

    outline = resampled(outline, spacing_mm, axes_mm)
    if not each:
        return outline
    holes, second = np.full((2, *outline.shape), -np.inf)  # the largest two of the distances to all cavities
    for one in each:
        one = resampled(one, spacing_mm, axes_mm)
        holes, second = np.maximum(holes, one), np.maximum(second, np.minimum(holes, one))
    holes = np.minimum(holes, (holes - second - inner_mm) / 2)
    depth_in_outline_mm = (ndimage.distance_transform_edt(outline > 0) - 0.5) * step_mm
    holes = np.minimum(holes, depth_in_outline_mm - outer_mm)
    return np.minimum(outline, -holes)


def cavities(hollow: np.ndarray) -> list[np.ndarray]:
    """The cavities that the holes of all slices belong to.

    Holes of neighbouring slices belong to one cavity where each overlaps the other more than any third one, or where more than
    half of the smaller one overlaps. Touching is not enough: a septum may lean by more than its thickness from slice to slice.

    Args:
        hollow: (x, y, z) bool, the holes of all slices.

    Returns:
        A (x, y, z) bool for each cavity.
    """
    flat = ndimage.generate_binary_structure(3, 1) & np.array([False, True, False])  # connected within slices
    labels, count = ndimage.label(hollow, flat)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    pairs = np.stack([labels[..., :-1], labels[..., 1:]], axis=-1)
    pairs, overlap = np.unique(pairs[np.all(pairs > 0, axis=-1)], axis=0, return_counts=True)
    most = np.zeros((2, count + 1), int)  # largest overlap of every hole with one of the slice after and of the slice before
    for side in (0, 1):
        np.maximum.at(most[side], pairs[:, side], overlap)
    mutual = (overlap == most[0, pairs[:, 0]]) & (overlap == most[1, pairs[:, 1]])
    _, cavity = components(pairs[mutual | (overlap > sizes[pairs].min(axis=1) / 2)] - 1, count)
    return [hollow & np.isin(labels, 1 + np.flatnonzero(cavity == index)) for index in range(cavity.max(initial=-1) + 1)]


def signed_distances_mm(mask: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Distance of each voxel to the edge of the mask within its slice, positive inside, cut off at two slice distances.

    Args:
        mask: (x, y, z) bool.
        spacing_mm: voxel size along x, y, z.
    """
    half_mm, limit_mm = min(spacing_mm[:2]) / 2, 2 * spacing_mm[2]  # half: from the centre of a voxel to its edge
    result = np.full(mask.shape, -limit_mm)
    for z in np.flatnonzero(mask.any(axis=(0, 1))):
        plane = mask[:, :, z]
        inside, outside = (ndimage.distance_transform_edt(part, sampling=spacing_mm[:2]) for part in (plane, ~plane))
        result[:, :, z] = np.where(plane, inside - half_mm, half_mm - outside)
    return np.clip(result, -limit_mm, limit_mm)


def resampled(values: np.ndarray, spacing_mm: np.ndarray, axes_mm: list[np.ndarray]) -> np.ndarray:
    """Values on a grid at the positions `axes_mm` of another: linear within slices, monotone cubic between, constant beyond."""
    for axis, kind in (
        (2, interpolate.PchipInterpolator),
        (0, interpolate.make_interp_spline),
        (1, interpolate.make_interp_spline),
    ):
        options = {"k": 1} if kind is interpolate.make_interp_spline else {}
        known_mm = np.arange(values.shape[axis]) * spacing_mm[axis]
        values = kind(known_mm, values, axis=axis, **options)(np.clip(axes_mm[axis], 0, known_mm[-1]))
    return values
