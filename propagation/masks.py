"""Binary biventricular masks from labels that name the cavities, and the slices between base and apex.

Labels are (x, y, z) classes as `datasets.load_labels` gives them for ("RV", "Myo", "LV"); slice 0 is the base end.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from shared import datasets
from shared.errors import InputError
from shared.scans import orientation
from shared.scans.volume import Volume

RV, MYOCARDIUM, LV = 1, 2, 3  # cavity of the right ventricle, wall and cavity of the left
WALL, CAVITY = 1, 2  # of a `LabelledScan`
BASE_COLUMNS = {"ED": "ed_base", "ES": "es_base"}


def biventricular(labels: Volume, rv_wall_mm: float) -> Volume:
    """The walls of both ventricles, as in the paper's binary masks: LV myocardium and a ring outside the RV cavity.

    The ring is ours, because ACDC does not label the RV's wall. It consists of the voxels outside both cavities whose centre
    lies, within its slice, at most `rv_wall_mm` from the area that the RV's voxels cover. Along an axis the ring is therefore
    round(rv_wall_mm / voxel) voxels thick.

    Args:
        labels: (x, y, z) classes.
        rv_wall_mm: thickness of the RV's wall.

    Returns:
        The same grid, uint8: 1 = wall.

    Raises:
        InputError: a thickness that is not positive.
    """
    if not rv_wall_mm > 0:
        raise InputError(f"rv_wall_mm: expected a thickness above 0 mm, found {rv_wall_mm}")
    mask = labels.array == MYOCARDIUM
    for z in np.flatnonzero((labels.array == RV).any(axis=(0, 1))):
        plane = labels.array[:, :, z]
        near = distance_mm(plane == RV, labels.spacing_mm[:2]) <= rv_wall_mm
        mask[:, :, z] |= near & (plane != RV) & (plane != LV)
    return labels.with_array(mask.astype(np.uint8))


def distance_mm(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Distance (x, y) of every voxel centre from the area that the voxels of `mask` (x, y) cover, 0 inside."""
    points = np.zeros([2 * n + 1 for n in mask.shape], bool)  # half a voxel apart: centres have odd indices, corners even ones
    points[1::2, 1::2] = mask
    points = ndimage.binary_dilation(points, np.ones((3, 3)))
    return ndimage.distance_transform_edt(~points, sampling=np.array(spacing_mm) / 2)[1::2, 1::2]


def base_and_apex(labels: Volume) -> tuple[int, int]:
    """First and last slice to segment, by the rule behind the authors' lists for ACDC.

    The base is the first slice with RV cavity, or with LV cavity where no slice has RV; the apex is the last with LV cavity.

    Args:
        labels: (x, y, z) classes, slice 0 at the base end.

    Returns:
        (base, apex), both included, from 0.

    Raises:
        InputError: no LV cavity.
    """
    rv, lv = (np.flatnonzero((labels.array == value).any(axis=(0, 1))) for value in (RV, LV))
    if lv.size == 0:
        raise InputError(f"no LV cavity (class {LV}) in any slice, hence neither base nor apex; label it, or leave the scan out")
    return int(rv[0] if rv.size else lv[0]), int(lv[-1])


def read_bases(path: str | Path) -> dict[tuple[str, str], int]:
    """Base slices from a CSV file with the columns patient, ed_base and es_base; other columns are ignored.

    Returns:
        (patient, "ED" or "ES") -> slice, from 0 at the base end; an empty cell has no entry.

    Raises:
        InputError: no readable CSV file, a missing column, a cell that is no slice, or a patient without name or listed twice.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets put a byte order mark in front
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or [], [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a CSV file of base slices ({error})") from error
    missing = [name for name in ("patient", *BASE_COLUMNS.values()) if name not in columns]
    if missing:
        raise InputError(f"{path}: no column {', '.join(missing)}; found {', '.join(columns)[:100] or 'an empty file'}")
    patients, bases = set(), {}
    for line, cells in rows:
        row = {name: (cells[name] or "").strip() for name in ("patient", *BASE_COLUMNS.values())}  # None where it is too short
        if not row["patient"] or row["patient"] in patients:
            raise InputError(
                f"{path}: row {line}, column patient: expected another name in every row, found {row['patient'][:40]!r}"
            )
        patients.add(row["patient"])
        for phase, column in BASE_COLUMNS.items():
            if not row[column]:
                continue
            if not re.fullmatch("[0-9]{1,5}", row[column]):
                expected = "a slice number from 0, or nothing"
                raise InputError(f"{path}: row {line}, column {column}: expected {expected}, found {row[column][:40]!r}")
            bases[row["patient"], phase] = int(row[column])
    return bases


@dataclass(frozen=True)
class LabelledScan:
    """A scan with its reference, basal slice first: the networks learn from it and are scored on it.

    Attributes:
        scan: (x, y, z).
        classes: 1 wall of both ventricles, 2 LV cavity where the data set labels it; 0 above the base.
        base: first slice that counts; the paper leaves out the slices above.
    """

    scan: Volume
    classes: Volume
    base: int

    @property
    def wall(self) -> Volume:
        return self.classes.with_array((self.classes.array == WALL).astype(np.uint8))


def load(case: datasets.Case, rv_wall_mm: float) -> LabelledScan:
    """The `LabelledScan` of a case; see `of`.

    Raises:
        InputError: see `datasets.load_image`, `datasets.load_reference` and `of`.
    """
    scan = datasets.load_image(case)
    return of(case, scan, datasets.load_reference(case, scan), rv_wall_mm)


def of(case: datasets.Case, scan: Volume, reference: Volume, rv_wall_mm: float) -> LabelledScan:
    """The `LabelledScan` of a case whose data set labels the biventricular wall ("BV"), or RV, Myo and LV.

    Args:
        case: says what the labels mean.
        scan, reference: of the case, as `datasets.load_image` and `datasets.load_reference` give them.
        rv_wall_mm: thickness of the RV's wall where only its cavity is labelled.

    Raises:
        InputError: no heart in the reference, or a part of it that nobody annotated.
    """
    whole = "BV" in case.structures.values()
    scan, labels = datasets.pair_of(case, scan, reference, ("BV",) if whole else ("RV", "Myo", "LV"))
    if (labels.array == datasets.IGNORED).any():
        raise InputError(f"{case.label}: has voxels labelled ignore; expected a heart annotated in full, since a mask is carried "
                         "through all of it; leave the scan out")  # fmt: skip
    try:
        base = first_slice(labels.array > 0) if whole else base_and_apex(labels)[0]
    except InputError as error:
        raise InputError(f"{case.label}: {error}") from error
    wall = labels.array if whole else biventricular(labels, rv_wall_mm).array
    classes = np.where(wall, WALL, np.where((labels.array == LV) & (not whole), CAVITY, 0)).astype(np.uint8)
    classes[..., :base] = 0
    return LabelledScan(scan, labels.with_array(classes), base)


def wall_on(case: datasets.Case, scan: Volume, reference: Volume, rv_wall_mm: float) -> Volume:
    """The wall of a case on the voxels of its scan; arguments and errors: see `of`."""
    wall = of(case, scan, reference, rv_wall_mm).wall
    return orientation.with_slices_last(scan, lambda ordered: wall.array)


def wall_of(case: datasets.Case, labels: Volume, reference: Volume, rv_wall_mm: float) -> Volume:
    """The wall that a label map of RV, Myo and LV means, by the rule of `wall_on`, from the base of the reference on.

    Runs of this package are scored from there on too.

    Args:
        case: says what the labels mean.
        labels, reference: label maps of the same voxels.
        rv_wall_mm: thickness of the RV's wall.

    Raises:
        InputError: see `of`.
    """
    base = of(case, reference, reference, rv_wall_mm).base
    _, classes = datasets.pair_of(case, reference, labels, ("RV", "Myo", "LV"))
    wall = biventricular(classes, rv_wall_mm).array
    wall[..., :base] = 0
    return orientation.with_slices_last(reference, lambda ordered: wall)


def first_slice(mask: np.ndarray) -> int:
    """The first slice of a mask (x, y, z) that is not empty.

    Raises:
        InputError: all slices are empty.
    """
    slices = np.flatnonzero(mask.any(axis=(0, 1)))
    if not slices.size:
        raise InputError("no wall in any slice; label it, or leave the scan out")
    return int(slices[0])


def holes_of(mask: np.ndarray) -> np.ndarray:
    """The holes (x, y, z) bool that a mask (x, y, z) encloses within its slices."""
    return np.stack([ndimage.binary_fill_holes(part) & ~part for part in np.moveaxis(mask, 2, 0)], axis=2)
