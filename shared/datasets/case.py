"""`Case`: one labelled (or to be labelled) scan of one patient, and how its voxels are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared import orientation, volume
from shared.errors import InputError
from shared.volume import Volume


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scan.

    Attributes:
        patient: identifier; all scans of a patient share it, and splits keep them together.
        phase: "ED", "ES" or "" where a scan has no phase.
        image: file (or DICOM folder) of the scan.
        label: file of the reference label map, None where there is none.
        group: diagnosis or another stratum, "" where unknown.
        structures: label value on disk -> structure name, background left out.
        frame: which frame of a cine the scan is, from 0; None where the file holds one frame alone.
    """

    patient: str
    phase: str
    image: Path
    label: Path | None
    group: str
    structures: Mapping[int, str]
    frame: int | None = None

    @property
    def name(self):
        return f"{self.patient}_{self.phase}" if self.phase else self.patient


def load_image(case) -> Volume:
    """The scan of `case`.

    Raises:
        InputError: as `volume.read`, for a cine where the case names no frame, and for one that ends before it.
    """
    image = volume.read(case.image)
    if case.frame is not None:
        if case.frame >= image.frames:
            raise InputError(f"{case.image}: expected frame {case.frame} (from 0), found {image.frames} frames")
        return image.frame(case.frame)
    if image.array.ndim != 3:
        raise InputError(f"{case.image}: expected one 3D frame, found a cine of {image.frames} frames")
    return image


def load_labels(case, structures) -> Volume:
    """The reference of `case` as uint8 classes: i + 1 where `structures[i]` is, 0 elsewhere (other structures included).

    Raises:
        InputError: no reference, not 3D, or a label value that the data set does not define.
    """
    if case.label is None:
        raise InputError(f"{case.image}: case {case.name} has no reference label map")
    labels = volume.read_labels(case.label)
    if labels.array.ndim != 3:
        raise InputError(f"{case.label}: expected one 3D label map, found {labels.frames} frames")
    unknown = sorted(set(np.unique(labels.array).tolist()) - {0, *case.structures})
    if unknown:
        known = ", ".join(f"{value} {name}" for value, name in case.structures.items())
        raise InputError(f"{case.label}: unknown label values {unknown}; expected 0 background, {known}")
    table = np.zeros(max(case.structures) + 1, np.uint8)
    for value, class_index in values_of(case.structures, structures).items():
        table[value] = class_index
    return labels.with_array(table[labels.array])


def load_pair(case, structures) -> tuple[Volume, Volume]:
    """The scan of `case` and its reference as classes on the scan's voxels, both with their slices last, as networks learn.

    Raises:
        InputError: as `load_image` and `load_labels`, and where the two do not share their voxels (see `orientation.matched`).
    """
    image = load_image(case)
    labels = orientation.matched(image, load_labels(case, structures), (case.image, case.label))
    return orientation.all_slices_last(image, labels)


def load_reference(case, scan) -> Volume:
    """The reference of `case` with its values on disk, on the voxels of its `scan` as `load_image` gives it.

    Raises:
        InputError: as `volume.read_labels`, and where the two do not share their voxels.
    """
    return orientation.matched(scan, volume.read_labels(case.label), (case.image, case.label))


def values_of(on_disk, structures):
    """Label value on disk -> class index, for the wanted `structures` (names compare without case).

    Raises:
        InputError: a wanted structure that the data set lacks.
    """
    value_of = {name.casefold(): value for value, name in on_disk.items()}
    missing = [name for name in structures if name.casefold() not in value_of]
    if missing:
        raise InputError(f"no label for {', '.join(missing)}: the data set has {', '.join(on_disk.values())}")
    return {value_of[name.casefold()]: index for index, name in enumerate(structures, start=1)}
