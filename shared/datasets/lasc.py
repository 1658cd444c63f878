"""LASC 2018, the Atrial Segmentation Challenge (Xiong et al., Medical Image Analysis 2021): LGE-MR of the left atrium.

ROOT[/Training Set]/<CASE>/{lgemri.nrrd, laendo.nrrd}
"""

from pathlib import Path

from shared.datasets.case import Case
from shared.errors import InputError
from shared.files import visible

HOMEPAGE = "https://www.cardiacatlas.org/atriaseg2018-challenge/"
STRUCTURES = {255: "LA"}
IMAGE, LABEL = "lgemri", "laendo"  # the names of every scan and of every reference


def find(root: Path | str) -> list[Case]:
    """The cases below `root`, sorted.

    Raises:
        InputError: there are no scans.
    """
    root = Path(root)
    scans = sorted(scan for base in (root, root / "Training Set") for scan in visible(base, f"*/{IMAGE}.nrrd"))
    if not scans:
        raise InputError(f"{root}: no LASC scans; expected '{root}/Training Set/<CASE>/{IMAGE}.nrrd'")
    return [one_case(scan, scan.with_name(f"{LABEL}.nrrd")) for scan in scans]


def one_case(scan: Path, label: Path) -> Case:
    return Case(patient=scan.parent.name, phase="", image=scan, label=label if label.is_file() else None, group="",
                structures=STRUCTURES)  # fmt: skip
