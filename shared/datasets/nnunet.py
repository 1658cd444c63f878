"""Anybody's own scans, in the folder layout of nnU-Net.

    ROOT/dataset.json                  {"labels": {"background": 0, "RV": 1, ...}, "file_ending": ".nii.gz", ...}
    ROOT/imagesTr/<CASE>_0000.nii.gz   one channel
    ROOT/labelsTr/<CASE>.nii.gz

A case named `<PATIENT>_ED`, `<PATIENT>_ES` or `<PATIENT>_frameNN` belongs to <PATIENT>; any other name is a patient of its own.
"""

import json
import re
from pathlib import Path

from shared.datasets.case import Case
from shared.errors import InputError
from shared.files import read_json
from shared.volume import SUFFIXES

HOMEPAGE = "https://github.com/MIC-DKFZ/nnUNet (the layout; the scans are your own)"
PHASE = re.compile(r"(?P<patient>.+)_(?P<phase>ED|ES|frame\d+)", re.IGNORECASE)


def find(root):
    """The training cases below `root`, sorted.

    Raises:
        InputError: a dataset.json that is missing, broken or without integer labels; no images; several channels.
    """
    root = Path(root)
    description = root / "dataset.json"
    if not description.exists():
        raise InputError(f"{description}: missing; expected the nnU-Net layout with dataset.json, imagesTr, labelsTr")
    content = read_json(description)
    try:
        structures = {value: name for name, value in content["labels"].items() if value != 0}
        ending = content.get("file_ending", ".nii.gz")
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{description}: expected a 'labels' table of name: integer ({error})") from error
    usable = all(type(value) is int and 0 < value < 2**16 for value in structures)
    if not structures or not usable or len(structures) != sum(value != 0 for value in content["labels"].values()):
        found = json.dumps(content["labels"])
        raise InputError(f"{description}: expected 'labels' with a different whole number for each structure, found {found}")
    if not isinstance(ending, str) or ending not in SUFFIXES:
        raise InputError(f"{description}: expected a 'file_ending' of {', '.join(SUFFIXES)}, found {json.dumps(ending)}")
    images = sorted((root / "imagesTr").glob(f"*_0000{ending}"))
    if not images:
        raise InputError(f"{root / 'imagesTr'}: no images named <CASE>_0000{ending}")
    if any((root / "imagesTr").glob(f"*_0001{ending}")):
        raise InputError(f"{root / 'imagesTr'}: several channels a case (_0001); the networks here take one")
    return [one_case(image, root / "labelsTr", ending, structures) for image in images]


def one_case(image, labels, ending, structures):
    name = image.name.removesuffix(f"_0000{ending}")
    label = labels / f"{name}{ending}"
    patient, phase = patient_and_phase(name)
    return Case(patient=patient, phase=phase, image=image, label=label if label.is_file() else None, group="",
                structures=structures)  # fmt: skip


def patient_and_phase(name):
    """("heart_a", "ED") of "heart_a_ED"; any name without a phase is a patient's own."""
    match = PHASE.fullmatch(name)
    return (match["patient"], match["phase"]) if match else (name, "")
