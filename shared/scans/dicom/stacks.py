"""Finds the one stack that is meant among frames, and puts it in order of place and time.

Frames belong to one group if they are parallel, of one size and of one kind. A group is one stack if its slices are evenly spaced
and have equally many frames; otherwise each series in it is tried as a stack of its own.
"""

import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.errors import InputError
from shared.progress import counted
from shared.scans.dicom.headers import INSTANCE, TRIGGER, Frame

LONGEST_MESSAGE = 290


class LeftOut(UserWarning):
    """Some images of a folder are not part of the stack that was read."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Frames that may be one scan, in any order, and the number of their slice positions."""

    frames: list[Frame]
    slices: int

    def __str__(self) -> str:
        first, (frames, odd) = self.frames[0], divmod(len(self.frames), self.slices)
        slices = counted(self.slices, "slice")
        many = f"{len(self.frames)} images of {slices}" if odd else slices + f" x {frames} frames" * (frames > 1)
        return f"{many}, {first.file.columns} x {first.file.rows} pixels, {first.pixel_mm[0]:.3g} mm, {first.label}"


def choose(frames: Sequence[Frame], number: int | None, root: Path) -> list[Frame]:
    """The frames of the stack that is meant.

    If just one stack has several slices, it is taken, and a warning says what else the folder holds.

    Args:
        frames: all `Frame`s below the folder `root`.
        number: of the stack in the message about several, from 1; None where there is only one.

    Raises:
        InputError: no usable frame, or several stacks and none named, or no stack of that number.
    """
    usable = [frame for frame in frames if not frame.trouble]
    if not usable:
        raise InputError(f"{frames[0].file.path}: {frames[0].trouble}")
    stacks = [Stack(part, len(_by_position(part)[0])) for group in _groups(usable) for part in _parts(group, root)]
    stacks.sort(key=lambda stack: (-stack.slices, -len(stack.frames), stack.frames[0].name))
    several = [stack for stack in stacks if stack.slices > 1]
    if number is not None and not 1 <= number <= len(stacks):
        raise InputError(_listed(f"{root}: no stack #{number}; there are {len(stacks)}: ", stacks))
    if number is None and len(stacks) > 1 and len(several) != 1:
        what = f"{len(several)} stacks" if several else f"{len(stacks)} stacks of one slice each"
        raise InputError(_listed(f"{root}: {what}; name one as {root.name}#1 or so: ", stacks))
    chosen = stacks[(number or 1) - 1]
    _check_no_frame_lost(chosen, frames)
    others = [frame for stack in stacks if stack is not chosen for frame in stack.frames[:1]]
    others += [frame for frame in frames if frame.trouble][:1]
    if number is None and others:
        count = len(frames) - len(chosen.frames)
        text = f"{root}: read {chosen}; left out {counted(count, 'other image')}, such as "
        warnings.warn(_shortened(text + ", ".join(frame.name for frame in others)), LeftOut, stacklevel=4)
    return chosen.frames


def arrange(frames: Sequence[Frame], root: Path) -> tuple[list[list[Frame]], float, float]:
    """The frames of one stack in order.

    Returns:
        rows: one list per slice, in the order of the slices' normal, of its frames in order of time; millimetres between two
        slices; seconds between two frames, 0 where unknown.

    Raises:
        InputError: a slice or frame is missing or is there twice, or frames cannot be told apart.
    """
    positions, along, sideways = _by_position(frames)
    _check_straight(frames, sideways, root)
    _check_counts(positions, root)
    slice_mm = _slice_mm(positions, along, root)
    rows, frame_s = _by_time(positions, root)
    return rows, slice_mm, frame_s


def _groups(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Lists of frames that are of one kind, of one size and parallel."""
    alike = defaultdict(list)
    for frame in frames:
        alike[frame.kind, frame.file.columns, frame.file.rows].append(frame)
    groups = []
    for left in alike.values():
        while left:
            keys = np.array([[*frame.pixel_mm, *frame.direction.ravel()] for frame in left])
            same = np.isclose(keys, keys[0], rtol=1e-5, atol=1e-3).all(axis=1)
            groups.append([frame for frame, is_same in zip(left, same, strict=True) if is_same])
            left = [frame for frame, is_same in zip(left, same, strict=True) if not is_same]
    return groups


def _parts(group: list[Frame], root: Path) -> list[list[Frame]]:
    """The group itself; or its series, if the group is not one stack and every series has several slices."""
    try:
        arrange(group, root)
    except InputError:
        series = defaultdict(list)
        for frame in group:
            series[frame.series].append(frame)
        if len(series) > 1 and all(len(_by_position(part)[0]) > 1 for part in series.values()):
            return list(series.values())
    return [group]


def _by_position(frames: Sequence[Frame]) -> tuple[list[list[Frame]], np.ndarray, np.ndarray]:
    """Frames sorted by slice position, in the order of the slices' normal.

    Returns:
        positions: one list of frames each; their places along the normal in mm, measured from the first frame; the distance of
        each of `frames` from the line along the normal through the first one, in mm.
    """
    first = frames[0]
    normal = first.direction[:, 2]
    offsets = np.array([frame.origin_mm - first.origin_mm for frame in frames])
    along = offsets @ normal
    sideways = np.linalg.norm(offsets - np.outer(along, normal), axis=1)
    order = np.argsort(along, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(along[order]) > min(first.pixel_mm) / 100) + 1)
    return [[frames[i] for i in part] for part in parts], np.array([along[part].mean() for part in parts]), sideways


def _check_straight(frames: Sequence[Frame], sideways: np.ndarray, root: Path) -> None:
    if sideways.max() > min(frames[0].pixel_mm) / 2:
        raise InputError(
            f"{root}: {frames[int(sideways.argmax())].name} lies {sideways.max():.3g} mm off the line through "
            f"{frames[0].name} (two stacks, or a tilted gantry); keep one straight stack in the folder"
        )


def _check_counts(positions: Sequence[Sequence[Frame]], root: Path) -> None:
    """Refuse slices with unequal numbers of frames, and a slice that two series show over time."""
    counts = Counter(map(len, positions))
    usual = max(counts, key=lambda count: (counts[count], -count))
    for place, position in enumerate(positions, 1):
        series = {frame.series[0]: frame.name for frame in position}
        sizes = sorted(Counter(frame.series[0] for frame in position).values())
        if len(series) > 1 and (sizes[-2] > 1 or len(position) > usual == 1):
            raise InputError(
                f"{root}: {len(series)} series lie at slice {place} of {len(positions)}, such as "
                f"{' and '.join(list(series.values())[:2])}; was this slice taken again? keep one of them in the folder"
            )
    odd = [(place, position) for place, position in enumerate(positions, 1) if len(position) != usual]
    if odd:
        found = ", ".join(f"{len(position)} at slice {place} (such as {position[0].name})" for place, position in odd[:2])
        raise InputError(
            f"{root}: unequal numbers of frames: {found}{', ...' * (len(odd) > 2)}, but {usual} at {counts[usual]} of "
            f"{len(positions)} slices; add the missing files or remove the others"
        )


def _slice_mm(positions: Sequence[Sequence[Frame]], along: np.ndarray, root: Path) -> float:
    """Millimetres between two slices, after a check that no slice is missing."""
    if len(positions) == 1:
        return positions[0][0].slice_mm
    gaps = np.diff(along)
    usual = np.sort(gaps)[(len(gaps) - 1) // 2]
    odd = np.abs(gaps - usual)
    rounding = min(0.1, 0.2 * usual) + 1e-6  # what positions rounded to 0.1 mm make of thin slices
    if odd.max() > max(0.01 * usual, rounding):
        names = [positions[odd.argmax() + i][0].name for i in (0, 1)]
        raise InputError(
            f"{root}: slices are {usual:.4g} mm apart, but {gaps[odd.argmax()]:.4g} mm between {names[0]} and "
            f"{names[1]}; is a slice missing?"
        )
    return float(gaps.mean())


def _by_time(positions: list[list[Frame]], root: Path) -> tuple[list[list[Frame]], float]:
    """The same lists in order of time, and the seconds between two frames (0 where unknown)."""
    frames = len(positions[0])
    if frames == 1:
        return positions, 0.0
    known = [what for what in positions[0][0].times if all(what in frame.times for row in positions for frame in row)]
    times = {what: np.array([[frame.times[what] for frame in row] for row in positions]) for what in known}  # (slices, frames)
    what = next((what for what in known if np.ptp(times[what], axis=1).any()), INSTANCE)
    if what not in times or not (np.diff(np.sort(times[what], axis=1), axis=1) > 0).all():
        raise InputError(
            f"{root}: {frames} frames at each slice position, not told apart by {what}; "
            "copies, or magnitude and phase together? keep one of each in the folder"
        )
    if what == INSTANCE:
        _check_one_numbering(positions, root)
    elif what != TRIGGER:
        _check_same_numbers(positions, times[what], what, root)
    if what != INSTANCE:
        _check_pace(times[what], what, root)
    order = np.argsort(times[what], axis=1)
    rows = [[row[i] for i in numbers] for row, numbers in zip(positions, order, strict=True)]
    trigger_ms = np.take_along_axis(times.get(TRIGGER, np.zeros(order.shape)), order, axis=1)
    timed = (np.diff(trigger_ms, axis=1) > 0).all()
    return rows, float(np.median(np.ptp(trigger_ms, axis=1)) / (frames - 1) / 1000) if timed else 0.0


def _check_one_numbering(positions: Sequence[Sequence[Frame]], root: Path) -> None:
    """Refuse two series that show the same slices: instance numbers order the frames of one series only."""
    slices = Counter(series for row in positions for series in {frame.series[0] for frame in row})
    first = {frame.series[0]: frame.name for frame in positions[0]}
    if len(first) > 1 and max(slices[series] for series in first) > 1:
        raise InputError(
            f"{root}: {len(first)} series show the same slices, such as {' and '.join(list(first.values())[:2])}, and no header "
            "tells when each was taken; keep one series in the folder"
        )


def _check_pace(numbers: np.ndarray, what: str, root: Path) -> None:
    """Warn if one step in time is much longer than the others: a frame may be missing at every slice."""
    steps = np.median(np.diff(np.sort(numbers, axis=1), axis=1), axis=0)
    longest, usual = int(steps.argmax()), np.median(steps)
    if steps[longest] > 1.5 * usual:
        warnings.warn(
            f"{root}: by {what}, frames {longest + 1} and {longest + 2} of {numbers.shape[1]} are {steps[longest]:.4g} apart, "
            f"others {usual:.4g}; is a frame missing?",
            stacklevel=5,
        )


def _check_same_numbers(positions: Sequence[Sequence[Frame]], numbers: np.ndarray, what: str, root: Path) -> None:
    """Refuse slices whose times differ, unless the numbers run on from slice to slice."""
    numbers = np.sort(numbers, axis=1)
    odd = np.flatnonzero((numbers != numbers[0]).any(axis=1))
    if odd.size and len(np.unique(numbers)) < numbers.size:
        raise InputError(
            f"{root}: the frames of slices 1 and {odd[0] + 1} (such as {positions[0][0].name} and {positions[odd[0]][0].name}) "
            f"differ by {what}; is a frame missing?"
        )


def _check_no_frame_lost(chosen: Stack, frames: Sequence[Frame]) -> None:
    """Refuse an unusable frame that looks like part of the chosen stack, which would lack it."""
    file = chosen.frames[0].file
    for frame in frames:
        if frame.trouble and (frame.file.columns, frame.file.rows, frame.file.samples) == (file.columns, file.rows, 1):
            raise InputError(f"{frame.file.path}: {frame.trouble}")


def _listed(head: str, stacks: Sequence[Stack]) -> str:
    return _shortened(head + "; ".join(f"#{number} {stack}" for number, stack in enumerate(stacks, 1)))


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 4] + " ..."
