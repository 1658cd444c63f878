"""Where each data set's scans lie and what their labels mean: `find(name, root) -> list[Case]`."""

from pathlib import Path

from shared.datasets import acdc, lasc, mmwhs, mnms, nnunet, phantom, stacom
from shared.datasets.case import (
    IGNORED,
    Case,
    labelled,
    load_image,
    load_labels,
    load_pair,
    load_reference,
    pair_of,
    values_of,
    values_to_write,
)
from shared.errors import InputError
from shared.scans.volume import stem

PHANTOM = "phantom"  # hearts drawn from formulas: no network that learned from them is for patients
DATASETS = {
    "acdc": acdc.find,
    "lasc": lasc.find,
    "mmwhs_ct": mmwhs.find_ct,
    "mmwhs_mr": mmwhs.find_mr,
    "mnms": mnms.find,
    "nnunet": nnunet.find,
    PHANTOM: phantom.find,
    "stacom": stacom.find,
}
FOLDERS = {"mmwhs_ct": "mmwhs", "mmwhs_mr": "mmwhs"}  # of data sets that are unpacked together; another's folder has its own name
MODALITIES = {  # of all scans of a data set; nnU-Net's may be any
    "acdc": "MR",
    "lasc": "MR",
    "mmwhs_ct": "CT",
    "mmwhs_mr": "MR",
    "mnms": "MR",
    PHANTOM: "MR",
    "stacom": "MR",
}
HOMEPAGES = {  # where to get the data
    "acdc": acdc.HOMEPAGE,
    "lasc": lasc.HOMEPAGE,
    "mmwhs_ct": mmwhs.HOMEPAGE,
    "mmwhs_mr": mmwhs.HOMEPAGE,
    "mnms": mnms.HOMEPAGE,
    "nnunet": nnunet.HOMEPAGE,
    "stacom": stacom.HOMEPAGE,
}

__all__ = [
    "DATASETS",
    "FOLDERS",
    "HOMEPAGES",
    "IGNORED",
    "MODALITIES",
    "Case",
    "find",
    "is_reference",
    "labelled",
    "load_image",
    "load_labels",
    "load_pair",
    "load_reference",
    "pair_of",
    "values_of",
    "values_to_write",
]


def find(name: str, root: Path | str) -> list[Case]:
    """The cases of data set `name` below the folder `root`.

    Raises:
        InputError: an unknown data set, a missing folder, patients whose names differ in case only, or anything that the data
            set's own `find` refuses.
    """
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}: expected one of {', '.join(DATASETS)}")
    if name != PHANTOM and not Path(root).is_dir():
        raise InputError(f"{root}: no such folder; --data-root is where the data set {name!r} was unpacked")
    cases = DATASETS[name](root)
    patients: dict[str, Case] = {}
    for case in cases:
        other = patients.setdefault(case.patient.casefold(), case)
        if other.patient != case.patient:
            raise InputError(f"{other.image} and {case.image}: is this one patient, under two names? rename one")
    return cases


def is_reference(path: Path | str) -> bool:
    """Whether a file is called as references are in ACDC, M&Ms, LASC and MM-WHS, where scans and references share a folder."""
    return stem(path).endswith(("_gt", mmwhs.LABEL)) or stem(path) == lasc.LABEL
