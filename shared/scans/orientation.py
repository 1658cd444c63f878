"""The order and direction of axes: slices last for every network, and one voxel order wherever two images meet."""

import itertools
import warnings
from collections.abc import Callable, Sequence

import nibabel
import numpy as np

from shared.errors import InputError
from shared.scans.volume import Volume, check, millimetres

THICKER = 1.5  # slices are stacked along an axis whose voxels are at least this many times as long as the others'
UNPLACED = (
    "an image states no position (both form codes 0, or a unit affine): only its shape and voxel size are compared with another's"
)


def slices_last(volume: Volume) -> tuple[int, ...]:
    """The order of a volume's axes x, y, z that puts the one along which its slices are stacked last.

    That is the axis whose voxels are at least 1.5 times as long as the others', or else the only one that is a single voxel long.
    Where there is none, the order is right-left, front-back, foot-head as far as the affine allows.

    Returns:
        permutation for `transpose`; (0, 1, 2) where the slices are last already.
    """
    spacing_mm = np.array(volume.spacing_mm)
    longest = int(spacing_mm.argmax())
    single = [axis for axis in range(3) if volume.array.shape[axis] == 1]
    if spacing_mm[longest] >= THICKER * np.delete(spacing_mm, longest).max():
        last = longest
    elif len(single) == 1:
        last = single[0]
    else:
        nearest = nibabel.io_orientation(volume.affine)[:, 0]
        return tuple(int(axis) for axis in np.argsort(nearest))
    return (*(axis for axis in range(3) if axis != last), last)


def transpose(volume: Volume, axes: Sequence[int]) -> Volume:
    """Axes in another order, each voxel where it was; time or channels stay last."""
    array = volume.array.transpose(*axes, *range(3, volume.array.ndim))
    first, second, third = (volume.spacing_mm[axis] for axis in axes)
    return Volume(array, (first, second, third), volume.affine[:, [*axes, 3]], volume.frame_s)


def transpose_back(volume: Volume, axes: Sequence[int]) -> Volume:
    """Undo `transpose` by the same `axes`."""
    return transpose(volume, [axes.index(axis) for axis in range(3)])


def flip(volume: Volume, axis: int) -> Volume:
    """One axis in reverse order, each voxel where it was."""
    turn = np.eye(4)
    turn[axis, axis], turn[axis, 3] = -1, volume.array.shape[axis] - 1
    return Volume(np.flip(volume.array, axis), volume.spacing_mm, volume.affine @ turn, volume.frame_s)


def all_slices_last(scan: Volume, *others: Volume) -> tuple[Volume, ...]:
    """`scan` and other volumes on its voxels, all with the slices of `scan` last."""
    axes = slices_last(scan)
    return tuple(transpose(each, axes) for each in (scan, *others))


def facing_ras(volume: Volume) -> tuple[Volume, tuple[int, ...], tuple[int, ...]]:
    """A volume whose slices are last, its axes running to the right, to the front or to the head, with x and y in this order.

    An axis runs along the direction that it is nearest to. A scan that states no position stays as it is.

    Returns:
        The volume; the order of axes, for `transpose`, that it got first; and the axes that were reversed then. Another array
        `a` of the same voxels is turned by `np.flip(a.transpose(order), reversed)`, and back by `np.flip(a, reversed)
        .transpose(order)`, since the order exchanges x and y or nothing.
    """
    if not volume.placed:
        return volume, (0, 1, 2), ()
    nearest, towards = nibabel.io_orientation(volume.affine).T
    order = (1, 0, 2) if nearest[0] > nearest[1] else (0, 1, 2)
    axes = tuple(axis for axis in range(3) if towards[order[axis]] < 0)
    volume = transpose(volume, order)
    for axis in axes:
        volume = flip(volume, axis)
    return volume, order, axes


def with_slices_last(scan: Volume, segment: Callable[[Volume], np.ndarray]) -> Volume:
    """The label map of `scan`, where `segment(scan with its slices last)` gives the array on that grid.

    Raises:
        InputError: a scan that cannot be used, see `volume.check`; it may have been made in Python.
    """
    check(scan, "the scan")
    axes = slices_last(scan)
    ordered = transpose(scan, axes)
    return scan.with_array(transpose_back(ordered.with_array(segment(ordered)), axes).array)


def matched(reference: Volume, other: Volume, names: tuple[object, object]) -> Volume:
    """`other` in the voxel order of `reference`, whose voxels it must share.

    Mirrored and permuted axes are brought onto those of `reference`. Where either image states no position, only shape and voxel
    size are compared, and voxels are taken in the order in which they are stored.

    Args:
        reference: `Volume` (x, y, z) or (x, y, z, t).
        other: `Volume` of the same voxels, possibly with channels or time as its own fourth axis.
        names: what messages call the two, say their paths.

    Returns:
        `Volume` with the array of `other` and the geometry of `reference`.

    Raises:
        InputError: shapes differ, a voxel size differs by more than 1 %, or a corner by more than half a voxel.
    """
    stated = reference.placed and other.placed
    if stated:
        other = in_directions_of(reference, other)
    first, second = names
    if reference.array.shape[:3] != other.array.shape[:3]:
        raise InputError(f"{second}: shape {other.array.shape[:3]} differs from {reference.array.shape[:3]} of {first}")
    if not np.allclose(reference.spacing_mm, other.spacing_mm, rtol=0.01):
        sizes = millimetres(other.spacing_mm), millimetres(reference.spacing_mm)
        raise InputError(f"{second}: voxel size {sizes[0]} differs from {sizes[1]} of {first}")
    if stated:
        check_place(reference, other, names)
    elif not np.allclose(reference.affine, other.affine):
        warnings.warn(UNPLACED, stacklevel=2)
    return reference.with_array(other.array)


def in_directions_of(reference: Volume, other: Volume) -> Volume:
    """`other` with its axes ordered and flipped so that their directions are as near as possible to those of `reference`."""
    along = np.linalg.inv(directions(reference)) @ directions(other)  # column: an axis of `other` along those of `reference`
    axes = max(itertools.permutations(range(3)), key=lambda axes: float(np.abs(along[range(3), axes]).sum()))
    ordered = transpose(other, axes)
    for axis in range(3):
        if along[axis, axes[axis]] < 0:
            ordered = flip(ordered, axis)
    return ordered


def check_place(reference: Volume, other: Volume, names: tuple[object, object]) -> None:
    """Raise InputError where a corner of `other` lies more than half a voxel from the same corner of `reference`.

    Both have one shape. Their voxel sizes may differ by rounding, so corners are measured from the middle, in voxels of
    `reference`.
    """
    corners = np.array(list(itertools.product(*((0, n - 1) for n in reference.array.shape[:3]))))
    middle = (np.array(reference.array.shape[:3]) - 1) / 2
    step = directions(reference) * reference.spacing_mm
    places = []
    for each in (reference, other):
        centre = each.affine[:3, 3] + directions(each) * each.spacing_mm @ middle
        places.append(centre + (corners - middle) @ (directions(each) * reference.spacing_mm).T)
    off = np.abs(np.linalg.solve(step, (places[1] - places[0]).T)).max(axis=0)
    worst = int(off.round(6).argmax())  # the first of equals
    if off[worst] > 0.5:
        first, second = names
        here, there = (", ".join(f"{mm:.1f}" for mm in each[worst]) for each in places)
        raise InputError(
            f"{second}: lies elsewhere than {first}: voxel {tuple(corners[worst].tolist())} at ({there}) mm, expected ({here}) mm"
        )


def directions(volume: Volume) -> np.ndarray:
    """(3, 3), unit vectors (columns) along the axes of a volume, in RAS; the affine's scale, which may be wrong, is taken out."""
    return volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
