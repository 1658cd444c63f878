"""ACDC 2017 (Bernard et al., IEEE TMI 2018): short-axis cine MR, end-diastole and end-systole labelled.

ROOT[/training]/patientNNN/{Info.cfg, patientNNN_frameFF.nii.gz, patientNNN_frameFF_gt.nii.gz}
"""

import re
from pathlib import Path

from shared.datasets.case import Case
from shared.errors import InputError

HOMEPAGE = "https://www.creatis.insa-lyon.fr/Challenge/acdc/"
STRUCTURES = {1: "RV", 2: "Myo", 3: "LV"}
UNREADABLE = "missing or unreadable; every ACDC patient has one"


def find(root: Path | str) -> list[Case]:
    """The ED and ES cases of every patient below `root`, sorted.

    Raises:
        InputError: there are no patients, an Info.cfg lacks a field, or a frame lacks its file.
    """
    root = Path(root)
    folders = sorted(folder for base in (root, root / "training") for folder in base.glob("patient*") if folder.is_dir())
    if not folders:
        raise InputError(f"{root}: no ACDC patients; expected {root}/training/patient001/Info.cfg and so on")
    return [case for folder in folders for case in patient_cases(folder)]


def patient_cases(folder: Path) -> list[Case]:
    """The ED and ES case in the folder of one patient."""
    info = read_info(folder / "Info.cfg")
    cases = []
    for phase in ("ED", "ES"):
        number = info.get(phase)
        if not number or not re.fullmatch("[0-9]{1,5}", number):
            raise InputError(f"{folder / 'Info.cfg'}: expected a line '{phase}: FRAME', found {(number and number[:40])!r}")
        frame = f"{folder.name}_frame{int(number):02d}"
        image, label = existing(folder, frame), existing(folder, f"{frame}_gt")
        if image is None:
            raise InputError(f"{folder / frame}.nii.gz: missing, though Info.cfg names it as {phase}")
        cases.append(Case(patient=folder.name, phase=phase, image=image, label=label,
                          group=info.get("Group", ""), structures=STRUCTURES))  # fmt: skip
    return cases


def read_info(path: Path) -> dict[str, str]:
    """The fields of an Info.cfg as text."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        raise InputError(f"{path}: {UNREADABLE}") from None
    lines = (line.partition(":") for line in text.splitlines())
    fields = {key.strip(): value.strip() for key, _, value in lines if value.strip()}
    if "\ufffd" in text and not fields:
        raise InputError(f"{path}: {UNREADABLE}")
    return fields


def existing(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / f"{name}.nii.gz", folder / f"{name}.nii") if path.is_file()), None)
