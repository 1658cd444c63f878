"""The phantom heart as a data set: written once, in ACDC's layout, then read as ACDC is."""

from pathlib import Path

from shared import phantom
from shared.datasets import acdc
from shared.datasets.case import Case

PATIENTS = 20


def find(root: Path | str) -> list[Case]:
    """The cases of the phantom at `root`, which is written first if it is missing."""
    root = Path(root)
    if not root.exists():
        print(f"writing the phantom of {PATIENTS} patients to {root}", flush=True)
        phantom.write_acdc(root, patients=PATIENTS, faults=False)
    return acdc.find(root)
