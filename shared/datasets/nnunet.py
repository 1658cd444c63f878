"""Anybody's own scans, in the folder layout of nnU-Net.

    ROOT/dataset.json                  {"labels": {"background": 0, "RV": 1, ..., "ignore": 4}, "file_ending": ".nii.gz", ...}
    ROOT/imagesTr/<CASE>_0000.nii.gz   one channel
    ROOT/labelsTr/<CASE>.nii.gz

A case named `<PATIENT>_ED`, `<PATIENT>_ES` or `<PATIENT>_frameNN` (upper or lower case) belongs to <PATIENT>; any other name is a
patient of its own. The label "ignore", which may be missing, marks voxels that nobody annotated: they count neither in training
nor in scores.
"""

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.datasets.case import KNOWN, Case, known_name
from shared.errors import InputError
from shared.files import read_json, visible
from shared.scans.volume import SUFFIXES

HOMEPAGE = "https://github.com/MIC-DKFZ/nnUNet (the layout; the scans are your own)"
PHASE = re.compile(r"(?P<patient>.+)_(?P<phase>ED|ES|frame\d+)", re.IGNORECASE)


def find(root: Path | str) -> list[Case]:
    """The training cases below `root`, sorted.

    A warning counts label maps without an image.

    Raises:
        InputError: dataset.json is missing, broken or without integer labels; there are no images, several channels, or two cases
            of one name.
    """
    root = Path(root)
    description = root / "dataset.json"
    if not description.exists():
        raise InputError(f"{description}: missing; expected the nnU-Net layout with dataset.json, imagesTr, labelsTr")
    content = read_json(description)
    try:
        labels = dict(content["labels"].items())
        ending = content.get("file_ending", ".nii.gz")
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{description}: expected a 'labels' table of name: integer ({error})") from error
    if not isinstance(ending, str) or ending not in SUFFIXES:
        raise InputError(f"{description}: expected a 'file_ending' of {', '.join(SUFFIXES)}, found {json.dumps(ending)[:40]}")
    structures, ignore = meaning(labels, description)
    if ignore is not None:
        warnings.warn(f"{description}: voxels labelled ignore ({ignore}) count neither in training nor in scores", stacklevel=2)
    images = visible(root / "imagesTr", f"*_0000{ending}")
    if not images:
        raise InputError(f"{root / 'imagesTr'}: no images named <CASE>_0000{ending}")
    if visible(root / "imagesTr", f"*_0001{ending}"):
        raise InputError(f"{root / 'imagesTr'}: several channels per case (_0001); the networks here take one")
    cases = [one_case(image, root / "labelsTr", ending, structures, ignore) for image in images]
    wanted = {image.name.replace(f"_0000{ending}", ending) for image in images}
    strange = [label.name for label in visible(root / "labelsTr", f"*{ending}") if label.name not in wanted]
    if strange:
        image = f"{strange[0].removesuffix(ending)}_0000{ending}"
        what = f"label maps without an image are left out: {len(strange)}, such as {strange[0]}"
        warnings.warn(f"{root / 'labelsTr'}: {what}, which needs imagesTr/{image}", stacklevel=2)
    image_of: dict[str, Path] = {}
    for case in cases:
        if case.name in image_of:
            raise InputError(f"{case.image}: is the same case {case.name} as {image_of[case.name].name}; rename one of them")
        image_of[case.name] = case.image
    return cases


def meaning(labels: Mapping[str, Any], description: Path) -> tuple[dict[int, str], int | None]:
    """What the labels in a dataset.json mean: label value -> structure name; and the value of "ignore", or None.

    Args:
        labels: name -> value, or value -> name as in the Medical Segmentation Decathlon and nnU-Net 1: {"1": "LV"}.
        description: path of the dataset.json, for messages.

    Raises:
        InputError: a label is a region, or the values are not different whole numbers; a structure has that of the background.
    """
    pairs = list(labels.items())
    if all(re.fullmatch("[0-9]{1,5}", value) and isinstance(name, str) for value, name in pairs):
        pairs = [(name, int(value)) for value, name in pairs]
    regions = [name for name, value in pairs if isinstance(value, list)]
    if regions:
        raise InputError(f"{description}: {regions[0]!r} among the labels is a region of several values, which no network here "
                         "takes; give each structure one whole number")  # fmt: skip
    values = [value for _, value in pairs if value != 0]
    background = [known_name(name) for name, value in pairs if value == 0]
    usable = all(type(value) is int and 0 < value < 2**16 for value in values) and all(name.strip() for name, _ in pairs)
    usable = usable and len(background) < 2 and not set(background) & set(KNOWN.values())
    if usable:
        structures = {value: known_name(name) for name, value in pairs if value != 0 and name.casefold() != "ignore"}
    if not usable or not structures or len(set(values)) < len(values):
        found = json.dumps(labels)[:100]
        raise InputError(f"{description}: expected 'labels' with a different whole number for each structure, and 0 for the "
                         f"background, found {found}")  # fmt: skip
    return structures, next((value for name, value in pairs if name.casefold() == "ignore" and value != 0), None)


def one_case(image: Path, labels: Path, ending: str, structures: Mapping[int, str], ignore: int | None) -> Case:
    name = image.name.removesuffix(f"_0000{ending}")
    label = labels / f"{name}{ending}"
    patient, phase = patient_and_phase(name)
    return Case(patient=patient, phase=phase, image=image, label=label if label.is_file() else None, group="",
                structures=structures, ignore=ignore)  # fmt: skip


def patient_and_phase(name: str) -> tuple[str, str]:
    """("heart_a", "ED") of "heart_a_ED" or "heart_a_ed"; a name without a phase is a patient, with the phase ""."""
    match = PHASE.fullmatch(name)
    if not match:
        return name, ""
    phase = match["phase"]
    return match["patient"], phase.lower() if phase.lower().startswith("frame") else phase.upper()
