"""M&Ms 2020 (Campello et al., IEEE TMI 2021): short-axis cine MR from several sites and vendors, ED and ES labelled.

    ROOT/211230_M&Ms_Dataset_information_diagnosis_opendataset.csv
    ROOT/{Training/Labeled,Training/Unlabeled,Validation,Testing}/CODE/{CODE_sa.nii.gz,CODE_sa_gt.nii.gz}

A file holds all frames of a cine. Of a reference, only the frames ED and ES are labelled; the table counts them from 0.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.datasets.acdc import existing
from shared.datasets.case import Case
from shared.errors import InputError
from shared.files import read_csv, visible

HOMEPAGE = "https://www.ub.edu/mnms/"
STRUCTURES = {1: "LV", 2: "Myo", 3: "RV"}  # the reverse of ACDC's
TABLE = "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv"
PLACES = ("Training/Labeled", "Training/Unlabeled", "Validation", "Testing")
CODE, VENDOR, DIAGNOSIS = "External code", "VendorName", "Pathology"
PHASES = ("ED", "ES")
UNKNOWN = "unknown"


def find(root: Path | str) -> list[Case]:
    """The ED and ES cases of every patient below `root`, in the order of their codes.

    Patients of the table whose folder is not there are left out, and so are folders that the table lacks; a warning counts both.

    Raises:
        InputError: no table, none of its patients, a patient in two places or rows, a frame that is none, no scan.
    """
    root = Path(root)
    table = table_of(root)
    rows: dict[str, Mapping[str, Any]] = {}
    for row in read_csv(table, PHASES, texts=[CODE]):
        if rows.setdefault(row[CODE].strip(), row) is not row:
            raise InputError(f"{table}: two rows of patient {row[CODE]}; remove one of them")
    folders: dict[str, Path] = {}
    for folder in [each for place in PLACES for each in visible(root / place, "*") if each.is_dir()]:
        if folder.name in folders:
            raise InputError(f"{folder}: {folders[folder.name]} is the same patient; remove one of them")
        folders[folder.name] = folder
    found = sorted(rows.keys() & folders.keys())
    if not found:
        raise InputError(f"{root}: no patient of {table.name}; expected {root}/{PLACES[0]}/{next(iter(rows))} and so on")
    others = len(rows.keys() ^ folders.keys())
    if others:
        text = f"{others} patients have a row in the table or a folder, but not both; they are left out"
        warnings.warn(f"{root}: {text}", stacklevel=3)
    return [case for code in found for case in patient_cases(folders[code], rows[code], table)]


def table_of(root: Path) -> Path:
    """The table of all patients, whatever its name; of several, the one with the published name.

    Raises:
        InputError: there is none.
    """
    for path in [path for path in (root / TABLE, *visible(root, "*.csv")) if path.is_file()]:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            if CODE in file.readline().strip().split(","):
                return path
    raise InputError(f"{root}: no table of M&Ms; expected {root / TABLE}, with a column {CODE} and commas between its cells")


def patient_cases(folder: Path, row: Mapping[str, Any], table: Path) -> list[Case]:
    """The ED and ES case in the folder of one patient, with the patient's row of the table."""
    image, label = existing(folder, f"{folder.name}_sa"), existing(folder, f"{folder.name}_sa_gt")
    if image is None:
        raise InputError(f"{folder}: no scan; expected {folder.name}_sa.nii.gz in it")
    cases = []
    for phase in PHASES:
        if not (row[phase] >= 0 and row[phase] == int(row[phase])):
            raise InputError(f"{table}: the frame {phase} of {folder.name} is {row[phase]}; expected a whole number from 0")
        cases.append(Case(patient=folder.name, phase=phase, image=image, label=label, group=told(row, DIAGNOSIS),
                          vendor=told(row, VENDOR), structures=STRUCTURES, frame=int(row[phase]), cine_label=True))  # fmt: skip
    return cases


def told(row: Mapping[str, Any], column: str) -> str:
    """What a row says of its patient; "unknown" where it says nothing."""
    value = row.get(column)
    return value.strip() if isinstance(value, str) and value.strip() else UNKNOWN
