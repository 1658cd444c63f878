"""The smooth closed surface of a label map, in millimetres of the scanner (ours: the paper says neither sizes nor smoothing).

mask -> field -> surface
        distances in the slices, interpolated between them, smoothed: no stairs where slices are thick
                 contour at the level that encloses the mask's own volume
"""

import numpy as np
from scipy import interpolate, ndimage, optimize

from propagation.masks import holes_of
from propagation.mesh.solid import Surface, components, enclosed_ml, pieces, signed_ml
from shared.errors import InputError
from shared.lazy import library
from shared.scans import orientation, postprocess, preprocess
from shared.scans.volume import Volume

TOLERANCE = 0.01  # of the volume
MOST_SAMPLES = 1e8  # of a field


def structures(labels, values=None, largest=True):
    """The label map with the wanted structures only.

    Args:
        labels: Volume (x, y, z), whole numbers, 0 = background.
        values: label values to keep; None for all but 0.
        largest: keep only the largest connected component of each.

    Raises:
        InputError: a cine, numbers that are not whole, nothing to mesh, a label that is absent or one voxel thin.
    """
    array = labels.array
    if array.ndim != 3:
        raise InputError(f"expected a 3D label map, found shape {array.shape}; mesh one frame of a cine at a time")
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"expected a label map of whole numbers, found {array.dtype}")
    present = [int(value) for value in np.unique(array) if value]
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


def field(mask, step_mm=None, smoothing_mm=None):
    """A smooth function that is positive inside a mask, on an isotropic grid that it ends well within.

    In every slice the mask is an outline with holes. The signed distances to the outline and to every cavity are interpolated
    between slices (monotone cubic), each for itself, so that a leaning wall stays a wall where those of neighbouring slices do
    not overlap; a wall to the outside, and one between cavities, stays as thick everywhere as the thinnest of any slice, and at
    least two standard deviations of the smoothing, which it would not survive otherwise. The depth inside the outline and outside
    the cavities, cut off at half a voxel, is smoothed by a Gaussian. The mask ends half a slice beyond its first and its last
    slice, where its voxels end. Slices lie across the longest voxel side.

    Args:
        mask: Volume (x, y, z) bool.
        step_mm: of the grid; by default the shortest voxel side, kept within 0.5 and 1.25 mm.
        smoothing_mm: standard deviation; by default the shortest voxel side.

    Returns:
        Volume float64, -1 far outside to 1 deep inside.

    Raises:
        InputError: a step or a smoothing longer than the mask, or so fine a grid that no memory would hold it.
    """
    finest_mm = min(mask.spacing_mm)
    step_mm = step_mm or min(max(finest_mm, 0.5), 1.25)
    smoothing_mm = smoothing_mm or finest_mm
    last = max(range(3), key=lambda axis: (mask.spacing_mm[axis], axis))
    mask = orientation.transpose(mask, (*(axis for axis in range(3) if axis != last), last))
    spacing_mm = np.array(mask.spacing_mm)
    half_voxel_mm = min(spacing_mm[:2]) / 2
    half_mm = max(*(spacing_mm[:2] / 2), step_mm / 2)
    margin_mm = 5 * smoothing_mm + 2 * max(half_mm, step_mm)

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
    mask = preprocess.window(mask, [part.start for part in box] - pad, size)
    hollow = holes_of(mask.array)
    outline = signed_distances_mm(mask.array | hollow, spacing_mm)
    each = [signed_distances_mm(cavity, spacing_mm) for cavity in cavities(hollow)]
    outer_mm = outline[hollow].min(initial=np.inf) - half_voxel_mm  # the thinnest wall to the outside, and between cavities
    inner_mm = min([outer_mm, *(-one[hollow & (one < 0)].max(initial=-np.inf) - half_voxel_mm for one in each)])
    outer_mm, inner_mm = (max(thinnest_mm, 2 * smoothing_mm) for thinnest_mm in (outer_mm, inner_mm))

    low = np.array([0, 0, -spacing_mm[2] / 2 - margin_mm])
    axes_mm = [np.arange(start, stop, step_mm) for start, stop in zip(low, (size - 1) * spacing_mm - low, strict=True)]
    outline = resampled(outline, spacing_mm, axes_mm)
    depth_mm = (ndimage.distance_transform_edt(outline > 0) - 0.5) * step_mm
    holes, second = np.full((2, *outline.shape), -np.inf)  # the largest two of the distances to all cavities
    for one in each:
        one = resampled(one, spacing_mm, axes_mm)
        holes, second = np.maximum(holes, one), np.maximum(second, np.minimum(holes, one))
    if each:
        holes = np.minimum(holes, (holes - second - inner_mm) / 2)
        holes = np.minimum(holes, depth_mm - outer_mm)
    ends = (size[2] / 2) * spacing_mm[2] - np.abs(axes_mm[2] - (size[2] - 1) / 2 * spacing_mm[2])
    inside = np.minimum(np.minimum(outline, -holes), ends)
    values = ndimage.gaussian_filter(np.clip(inside / half_mm, -1, 1), smoothing_mm / step_mm)

    scale = mask.spacing_mm / np.linalg.norm(mask.affine[:3, :3], axis=0)  # the header's voxel size wins
    affine = mask.affine.copy()
    affine[:3, :3] *= scale / spacing_mm
    affine[:3, 3] += affine[:3, :3] @ low
    affine[:3, :3] *= step_mm
    return Volume(values, (step_mm,) * 3, affine)


def cavities(hollow):
    """The cavities that the holes of all slices belong to: list of bool (x, y, z).

    Holes of neighbouring slices are of one cavity where each overlaps the other more than any other, or where more than half of
    the smaller one overlaps; not wherever they touch, as a septum may lean by more than its thickness from slice to slice.

    Args:
        hollow: (x, y, z) bool.
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


def signed_distances_mm(mask, spacing_mm):
    """Distance of each voxel to the edge of the mask within its slice, positive inside, cut off at two slice distances.

    Args:
        mask: (x, y, z) bool.
    """
    half_mm, limit_mm = min(spacing_mm[:2]) / 2, 2 * spacing_mm[2]  # half: from the centre of a voxel to its edge
    result = np.full(mask.shape, -limit_mm)
    for z in np.flatnonzero(mask.any(axis=(0, 1))):
        plane = mask[:, :, z]
        inside, outside = (ndimage.distance_transform_edt(part, sampling=spacing_mm[:2]) for part in (plane, ~plane))
        result[:, :, z] = np.where(plane, inside - half_mm, half_mm - outside)
    return np.clip(result, -limit_mm, limit_mm)


def resampled(values, spacing_mm, axes_mm):
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


def surface(mask, step_mm=None, smoothing_mm=None):
    """The smoothed surface of a mask; it encloses the volume of the mask's voxels, and crumbs smaller than a voxel are left out.

    Args:
        mask: Volume (x, y, z) bool, at least two voxels thick along every axis.
        step_mm, smoothing_mm: as in `field`.

    Raises:
        InputError: scikit-image is missing, or the mask is too thin to survive the smoothing.
    """
    smooth = field(mask, step_mm, smoothing_mm)
    wanted_ml = mask_ml(mask)
    level = optimize.brentq(lambda level: enclosed_ml(contour(smooth, level)) - wanted_ml, -0.95, 0.95, xtol=1e-4)
    found = without_crumbs(contour(smooth, level), mask.voxel_ml)
    ratio = enclosed_ml(found) / wanted_ml
    if abs(ratio - 1) > TOLERANCE:
        raise InputError(f"smoothing leaves {100 * ratio:.0f} % of the mask's volume: it is too thin or in crumbs; smooth less")
    return found


def contour(smooth, level):
    """The surface on which a field has this value.

    Raises:
        InputError: scikit-image is missing.
    """
    if smooth.array.max() <= level:
        return Surface(np.zeros((0, 3)), np.zeros((0, 3), int))
    clearance = 0.02  # samples at the level itself would give triangles of no area
    above = smooth.array - level
    above = np.where(np.abs(above) < clearance, np.where(above < 0, -clearance, clearance), above)
    voxels, faces, *_ = library("skimage.measure", "mesh").marching_cubes(above, 0.0, gradient_direction="ascent")
    points_mm = voxels.astype(float) @ smooth.affine[:3, :3].T + smooth.affine[:3, 3]
    mirrored = np.linalg.det(smooth.affine[:3, :3]) < 0
    return Surface(points_mm, faces[:, ::-1] if mirrored else faces)


def without_crumbs(solid, smallest_ml):
    """The surface less its pieces (parts and bubbles) that enclose less than `smallest_ml`."""
    _, piece = pieces(solid)
    volumes_ml = np.bincount(piece[solid.faces[:, 0]], signed_ml(solid))
    faces = solid.faces[np.abs(volumes_ml[piece[solid.faces[:, 0]]]) >= smallest_ml]
    kept, faces = np.unique(faces, return_inverse=True)
    return Surface(solid.points_mm[kept], faces.reshape(-1, 3))


def mask_ml(mask):
    return np.count_nonzero(mask.array) * mask.voxel_ml
