"""`Case`: one scan of one patient with its reference label map, where there is one; and how their voxels are read."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.errors import InputError
from shared.scans import orientation, volume
from shared.scans.volume import Volume

IGNORED = 255  # the class of voxels that nobody annotated
KNOWN = {name.casefold(): name for name in ("RV", "Myo", "LV", "LA", "RA", "AA", "PA", "BV")}
MOST_VALUES = 150  # different ones of a label map; scans have more


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scan.

    Attributes:
        patient: identifier; all scans of a patient share it, and splits keep them together.
        phase: "ED", "ES" or "" where a scan has no phase.
        image: file (or DICOM folder) of the scan.
        label: file of the reference label map, None where there is none.
        group: diagnosis or another stratum, "" where unknown.
        structures: label value on disk -> structure name, without the background; several values may have one name.
        frame: index of the frame in a cine, from 0; None where the file holds a single frame.
        cine_label: whether the reference is a cine too, of which `frame` counts; else it is 3D.
        ignore: label value of voxels that nobody annotated, which count neither in training nor in scores; None where there is
            no such value.
        vendor: of the scanner, "" where the data set does not say it.
        closed: whether a label map with any other value than these and 0 is refused; if not, such voxels are background, with a
            warning.
    """

    patient: str
    phase: str
    image: Path
    label: Path | None
    group: str
    structures: Mapping[int, str]
    frame: int | None = None
    ignore: int | None = None
    vendor: str = ""
    cine_label: bool = False
    closed: bool = True

    @property
    def name(self) -> str:
        return f"{self.patient}_{self.phase}" if self.phase else self.patient


def labelled(cases: Sequence[Case]) -> list[Case]:
    """The cases that have a reference label map; a warning counts those that have none.

    Raises:
        InputError: no case has a reference.
    """
    lacking = [case for case in cases if case.label is None]
    if len(lacking) == len(cases):
        first = f", beginning with {lacking[0].image}" if lacking else ""
        raise InputError(
            f"none of the {len(cases)} scans has a reference label map{first}; see how the data set's layout names them"
        )
    if lacking:
        text = f"{len(lacking)} of {len(cases)} scans have no reference label map, beginning with {lacking[0].image}"
        warnings.warn(f"{text}; they are left out", stacklevel=2)
    return [case for case in cases if case.label is not None]


def load_image(case: Case) -> Volume:
    """The scan of `case`.

    Raises:
        InputError: see `volume.read_grey`; or the file is a cine but the case names no frame, or a frame that the cine lacks.
    """
    image = volume.read_grey(case.image)
    if case.frame is not None:
        return frame_of(image, case.frame, case.image)
    if image.array.ndim != 3:
        raise InputError(f"{case.image}: expected one 3D frame, found a cine of {image.frames} frames")
    return image


def frame_of(cine: Volume, index: int, path: Path) -> Volume:
    """A frame, counted from 0, of what was read from `path`."""
    if index >= cine.frames:
        raise InputError(f"{path}: expected frame {index} (from 0), found {cine.frames} frames")
    return cine.frame(index)


def labelled_frame(cine: Volume, index: int, path: Path) -> Volume:
    """A frame, counted from 0, of a reference that holds all frames of a cine, of which only some are labelled."""
    if cine.array.ndim != 4:
        raise InputError(f"{path}: expected a label map with all frames of the cine, found one frame")
    found = frame_of(cine, index, path)
    if not found.array.any():
        raise InputError(f"{path}: frame {index} (from 0) has no labels; correct the frame in the data set's table")
    return found


def load_reference(case: Case, scan: Volume) -> Volume:
    """The reference of `case` on the voxels of its `scan`, which `load_image` gives.

    Values are those on disk; where a structure has several values, all its voxels get the first.

    Raises:
        InputError: no reference, not 3D, a label value that the data set does not define, or a reference that does not share the
            voxels of the scan (see `orientation.matched`).
    """
    labels = orientation.matched(scan, read_reference(case), (case.image, case.label))
    first = {name: value for value, name in reversed(list(case.structures.items()))}
    table = np.arange(2**16, dtype=np.uint16)
    for value, name in case.structures.items():
        table[value] = first[name]
    return labels.with_array(table[labels.array])


def load_pair(case: Case, structures: Sequence[str]) -> tuple[Volume, Volume]:
    """The scan of `case` and its classes as networks learn them; see `pair_of`.

    Raises:
        InputError: see `load_image`, `load_reference` and `values_of`.
    """
    scan = load_image(case)
    return pair_of(case, scan, load_reference(case, scan), structures)


def pair_of(case: Case, scan: Volume, reference: Volume, structures: Sequence[str]) -> tuple[Volume, Volume]:
    """A scan and its classes (see `classes_of`), both with their slices last, from what was read before.

    Args:
        case: the one that both belong to.
        scan: (x, y, z), from `load_image`.
        reference: label map on the voxels of `scan`, from `load_reference`.
        structures: names of the wanted structures, in the order of their classes.

    Raises:
        InputError: see `values_of`.
    """
    image, labels = orientation.all_slices_last(scan, classes_of(case, reference, structures))
    return image, labels


def load_labels(case: Case, structures: Sequence[str]) -> Volume:
    """The reference of `case` as classes (see `classes_of`) on its own voxels, without the scan.

    Raises:
        InputError: see `load_reference` and `values_of`.
    """
    return classes_of(case, read_reference(case), structures)


def classes_of(case: Case, labels: Volume, structures: Sequence[str]) -> Volume:
    """Label values on disk as uint8 classes: i + 1 where `structures[i]` is, IGNORED where nobody annotated, 0 elsewhere.

    Structures that are not wanted become 0 too.

    Raises:
        InputError: see `values_of`.
    """
    return as_classes(labels, case.structures, structures, case.ignore)


def as_classes(labels: Volume, on_disk: Mapping[int, str], structures: Sequence[str], ignore: int | None = None) -> Volume:
    """The same as `classes_of` for a label map of no case, such as a prediction, where `on_disk` is label value -> name."""
    table = np.zeros(2**16, np.uint8)
    for value, class_index in values_of(on_disk, structures).items():
        table[value] = class_index
    if ignore is not None:
        table[ignore] = IGNORED
    return labels.with_array(table[labels.array])


def read_reference(case: Case) -> Volume:
    """The label map of `case` with the voxels and values that it has on disk, after checks; see `Case.closed`."""
    if case.label is None:
        raise InputError(f"{case.image}: case {case.name} has no reference label map")
    labels = volume.read_labels(case.label)
    if case.cine_label and case.frame is not None:
        labels = labelled_frame(labels, case.frame, case.label)
    if labels.array.ndim != 3:
        raise InputError(f"{case.label}: expected one 3D label map, found {labels.frames} frames")
    known = {0: "background", **case.structures} | ({} if case.ignore is None else {case.ignore: "ignore"})
    values = values_in(labels)
    if case.closed:
        check_values(case.label, values, known)
    elif values - set(known):
        return without_unknown(labels, values, known, case.label)
    return labels


def without_unknown(labels: Volume, values: set[int], known: Mapping[int, str], path: Path) -> Volume:
    """A label map that has these values, where those that are not in `known` become 0; a warning names them."""
    unknown = sorted(values - set(known))
    strange = np.isin(labels.array, unknown)
    shown = f"{', '.join(map(str, unknown[:5]))}{', ...' if len(unknown) > 5 else ''}"
    warnings.warn(
        f"{path}: {np.count_nonzero(strange)} voxels of unknown label values ({shown}) count as background", stacklevel=4
    )
    return labels.with_array(np.where(strange, 0, labels.array).astype(labels.array.dtype))


def values_in(labels: Volume) -> set[int]:
    """The values that occur in a label map."""
    if labels.array.dtype not in (np.uint8, np.uint16):
        return set(np.unique(labels.array).tolist())
    occurs = np.zeros(np.iinfo(labels.array.dtype).max + 1, bool)  # many times as fast as sorting or hashing them
    occurs[labels.array] = True
    return set(np.flatnonzero(occurs).tolist())


def check_values(
    path: Path,
    values: set[int],
    known: Mapping[int, str],
    advice: str = "correct the labels, or what the data set says that they mean",
) -> None:
    """Raise InputError, with an `advice`, unless all values of a label map are in `known` (value -> name).

    Args:
        path: of the label map.
        values: those that occur in it.
        known, advice: see above.
    """
    unknown = sorted(values - set(known))
    if unknown:
        if len(unknown) > MOST_VALUES:
            raise InputError(f"{path}: {len(values)} different values: this is a scan; expected its label map")
        shown = str(unknown[:5]) if len(unknown) <= 5 else f"{str(unknown[:5])[:-1]}, ...] ({len(unknown)} of them)"
        expected = ", ".join(f"{value} {name}" for value, name in known.items())
        raise InputError(f"{path}: unknown label values {shown}; expected {expected}; {advice}")


def values_of(on_disk: Mapping[int, str], structures: Sequence[str]) -> dict[int, int]:
    """Label value on disk -> class index, in the order of the wanted `structures`, whose names match without regard to case.

    A structure may have several values; all of them become its class.

    Raises:
        InputError: the data set lacks a wanted structure.
    """
    values: dict[str, list[int]] = {}
    for value, name in on_disk.items():
        values.setdefault(name.casefold(), []).append(value)
    missing = [name for name in structures if name.casefold() not in values]
    if missing:
        found = list(dict.fromkeys(on_disk.values()))
        advice = f"train on some of them with --set structures={','.join(found)}"
        raise InputError(f"no label for {', '.join(missing)}: the data set has {', '.join(found)}; {advice}")
    return {value: index for index, name in enumerate(structures, start=1) for value in values[name.casefold()]}


def values_to_write(on_disk: Mapping[int, str], structures: Sequence[str]) -> dict[int, str]:
    """Label value -> name for predictions, in the order of the wanted `structures`: each gets its first value on disk.

    Raises:
        InputError: see `values_of`.
    """
    first = {index: value for value, index in reversed(values_of(on_disk, structures).items())}
    return {first[index]: on_disk[first[index]] for index in range(1, len(structures) + 1)}


def known_name(name: str) -> str:
    """The name by which the package knows a structure ("lv" -> "LV"); any other name stays, without blanks around it."""
    return KNOWN.get(name.strip().casefold(), name.strip())
