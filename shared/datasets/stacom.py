"""STACOM 2011, the cardiac motion analysis benchmark (Tobon-Gomez et al., Medical Image Analysis 2013): healthy volunteers.

    ROOT/vN/cSAX/time_1/       DICOM of the short-axis SSFP cine, one folder per instant, the first of them end-diastole
    ROOT/vN/cine_sax.nii.gz    the same as a file (any format of `volume.read`) or as a DICOM folder `cine_sax`; it is used
                               instead of cSAX; the first frame of a cine is taken
    ROOT/vN/mask_ed.nii.gz     on the grid of that frame: 1 = walls of both ventricles (BV), 0 = the rest

The benchmark has the volunteers v1, v2 and v4 to v16, with 30 instants each. It publishes DICOM and meshes of the left ventricle,
but no masks: if you train or score on it, you have to draw them. The names of the two files are ours.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from shared.datasets.case import Case
from shared.errors import InputError
from shared.scans.volume import SUFFIXES

HOMEPAGE = "https://www.cardiacatlas.org/"
STRUCTURES = {1: "BV"}
VOLUNTEER = re.compile(r"v[1-9]\d*")
SCANS = (*(f"cine_sax{suffix}" for suffix in SUFFIXES), "cine_sax", "cSAX/time_1")
MASKS = tuple(f"mask_ed{suffix}" for suffix in SUFFIXES)


def find(root: Path | str) -> list[Case]:
    """The ED case of every volunteer below `root`, in the order of their numbers.

    Raises:
        InputError: there are no volunteers, or one has no scan.
    """
    root = Path(root)
    folders = [folder for folder in root.glob("v*") if VOLUNTEER.fullmatch(folder.name) and folder.is_dir()]
    if not folders:
        raise InputError(f"{root}: no STACOM volunteers; expected {root}/v1/cine_sax.nii.gz or {root}/v1/cSAX/time_1 and so on")
    return [one_case(folder) for folder in sorted(folders, key=lambda folder: int(folder.name[1:]))]


def one_case(folder: Path) -> Case:
    image, label = existing(folder, SCANS), existing(folder, MASKS)
    if image is None:
        raise InputError(f"{folder}: no short-axis scan; expected the file cine_sax.nii.gz or the DICOM folder cSAX/time_1 in it")
    return Case(patient=folder.name, phase="ED", image=image, label=label, group="", structures=STRUCTURES, frame=0)


def existing(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)
