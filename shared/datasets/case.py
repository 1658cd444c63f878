"""`Case`: one labelled (or to be labelled) scan of one patient, and how its voxels are read."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.errors import InputError
from shared.scans import orientation, volume
from shared.scans.volume import Volume

IGNORED = 255  # the class of voxels that nobody annotated
KNOWN = {name.casefold(): name for name in ("RV", "Myo", "LV", "LA", "RA", "BV")}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scan.

    Attributes:
        patient: identifier; all scans of a patient share it, and splits keep them together.
        phase: "ED", "ES" or "" where a scan has no phase.
        image: file (or DICOM folder) of the scan.
        label: file of the reference label map, None where there is none.
        group: diagnosis or another stratum, "" where unknown.
        structures: label value on disk -> structure name, background left out; several values may have one name.
        frame: which frame of a cine the scan is, from 0; None where the file holds one frame alone.
        ignore: label value of voxels that nobody annotated, which count neither in training nor in scores; None: no such value.
    """

    patient: str
    phase: str
    image: Path
    label: Path | None
    group: str
    structures: Mapping[int, str]
    frame: int | None = None
    ignore: int | None = None

    @property
    def name(self):
        return f"{self.patient}_{self.phase}" if self.phase else self.patient


def labelled(cases):
    """The cases that have a reference label map; a warning counts those that have none.

    Raises:
        InputError: none has one.
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


def load_image(case) -> Volume:
    """The scan of `case`.

    Raises:
        InputError: as `volume.read_grey`, for a cine where the case names no frame, and for one that ends before it.
    """
    image = volume.read_grey(case.image)
    if case.frame is not None:
        if case.frame >= image.frames:
            raise InputError(f"{case.image}: expected frame {case.frame} (from 0), found {image.frames} frames")
        return image.frame(case.frame)
    if image.array.ndim != 3:
        raise InputError(f"{case.image}: expected one 3D frame, found a cine of {image.frames} frames")
    return image


def load_labels(case, structures) -> Volume:
    """The reference of `case` as uint8 classes: i + 1 where `structures[i]` is, IGNORED where nobody annotated, 0 elsewhere.

    Structures that are not asked for are 0 too.

    Raises:
        InputError: no reference, not 3D, or a label value that the data set does not define.
    """
    labels = read_reference(case)
    table = np.zeros(2**16, np.uint8)
    for value, class_index in values_of(case.structures, structures).items():
        table[value] = class_index
    if case.ignore is not None:
        table[case.ignore] = IGNORED
    return labels.with_array(table[labels.array])


def read_reference(case):
    """The label map of `case` as it is on disk, checked."""
    if case.label is None:
        raise InputError(f"{case.image}: case {case.name} has no reference label map")
    labels = volume.read_labels(case.label)
    if labels.array.ndim != 3:
        raise InputError(f"{case.label}: expected one 3D label map, found {labels.frames} frames")
    known = {0: "background", **case.structures} | ({} if case.ignore is None else {case.ignore: "ignore"})
    check_values(case.label, values_in(labels), known)
    return labels


def values_in(labels):
    """The set of the values of a label map."""
    return set(np.unique(labels.array).tolist())


def check_values(path, values, known, advice="correct the labels, or what the data set says that they mean"):
    """Raise InputError, with an `advice`, unless all values of a label map are in `known` (value -> name).

    Args:
        path: of the label map.
        values: set of those that occur in it.
        known, advice: see above.
    """
    unknown = sorted(values - set(known))
    if unknown:
        shown = str(unknown[:5]) if len(unknown) <= 5 else f"{str(unknown[:5])[:-1]}, ...] ({len(unknown)} of them)"
        expected = ", ".join(f"{value} {name}" for value, name in known.items())
        raise InputError(f"{path}: unknown label values {shown}; expected {expected}; {advice}")


def load_pair(case, structures) -> tuple[Volume, Volume]:
    """The scan of `case` and its reference as classes on the scan's voxels, both with their slices last, as networks learn.

    Raises:
        InputError: as `load_image` and `load_labels`, and where the two do not share their voxels (see `orientation.matched`).
    """
    image = load_image(case)
    labels = orientation.matched(image, load_labels(case, structures), (case.image, case.label))
    return orientation.all_slices_last(image, labels)


def load_reference(case, scan) -> Volume:
    """The reference of `case` on the voxels of its `scan`, as `load_image` gives it.

    Values are those on disk, but the first one wherever a structure has several.

    Raises:
        InputError: as `load_labels`, and where the two do not share their voxels.
    """
    labels = orientation.matched(scan, read_reference(case), (case.image, case.label))
    first = {name: value for value, name in reversed(case.structures.items())}
    table = np.arange(2**16, dtype=np.uint16)
    for value, name in case.structures.items():
        table[value] = first[name]
    return labels.with_array(table[labels.array])


def values_of(on_disk, structures):
    """Label value on disk -> class index, for the wanted `structures` (names compare without case), in their order.

    A structure may have several values; all of them become its class.

    Raises:
        InputError: a wanted structure that the data set lacks.
    """
    values = {}
    for value, name in on_disk.items():
        values.setdefault(name.casefold(), []).append(value)
    missing = [name for name in structures if name.casefold() not in values]
    if missing:
        found = list(dict.fromkeys(on_disk.values()))
        advice = f"train on some of them with --set structures={','.join(found)}"
        raise InputError(f"no label for {', '.join(missing)}: the data set has {', '.join(found)}; {advice}")
    return {value: index for index, name in enumerate(structures, start=1) for value in values[name.casefold()]}


def values_to_write(on_disk, structures):
    """Label value -> name that predictions of the wanted `structures` get, in their order: the first value of each on disk.

    Raises:
        InputError: as `values_of`.
    """
    first = {index: value for value, index in reversed(values_of(on_disk, structures).items())}
    return {first[index]: on_disk[first[index]] for index in range(1, len(structures) + 1)}


def known_name(name):
    """The name by which the package knows a structure ("lv" -> "LV"), or the name itself, without blanks around it."""
    return KNOWN.get(name.strip().casefold(), name.strip())
