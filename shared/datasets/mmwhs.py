"""MM-WHS 2017 (Zhuang et al., Medical Image Analysis 2019): CT and MR of whole hearts, with seven structures labelled.

    ROOT/ct_train/ct_train_1001_image.nii.gz    and so on to 1020
    ROOT/ct_train/ct_train_1001_label.nii.gz
    ROOT/mr_train/mr_train_1001_image.nii.gz    other patients than those in CT

The folders may also have the names of the archives, such as ct_train1 and ct_train2.

CT and MR are two data sets, `mmwhs_ct` and `mmwhs_mr`, because a network learns from one of them only; so every split, run folder
and table holds one modality. The labels of the test scans are secret, so the folders ct_test and mr_test are not read here; give
them to a prediction command.
"""

import re
import warnings
from pathlib import Path

from shared.datasets.acdc import existing
from shared.datasets.case import Case
from shared.errors import InputError
from shared.files import visible

HOMEPAGE = "https://zmiclab.github.io/zxh/0/mmwhs/"
# in the order of the tables; a label map is known that has 421 in the place of 420
STRUCTURES = {500: "LV", 205: "Myo", 600: "RV", 420: "LA", 421: "LA", 550: "RA", 820: "AA", 850: "PA"}
CLOSED = False  # other values are background, with a warning
IMAGE, LABEL = "_image", "_label"  # how the names of scans and references end


def find_ct(root: Path | str) -> list[Case]:
    """The CT cases below `root`; see `find`."""
    return find(Path(root), "ct")


def find_mr(root: Path | str) -> list[Case]:
    """The MR cases below `root`; see `find`."""
    return find(Path(root), "mr")


def find(root: Path, modality: str) -> list[Case]:
    """The training cases of a modality ("ct" or "mr") below `root`, sorted. Their group is "CT" or "MR".

    A warning counts label maps without an image.

    Raises:
        InputError: there are no scans, or two of one patient.
    """
    name = re.compile(rf"({modality}_train_[0-9]+)({IMAGE}|{LABEL})\.nii(\.gz)?")
    images: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for path in visible(root, f"{modality}_train*/*"):
        match = name.fullmatch(path.name)
        if not match or not path.is_file():
            continue
        if match[2] == LABEL:
            labels[match[1]] = path
            continue
        other = images.setdefault(match[1], path)
        if other != path:
            raise InputError(f"{path}: {other} is a scan of {match[1]} too; remove one of them")
    if not images:
        example = f"{modality}_train/{modality}_train_1001{IMAGE}.nii.gz"
        raise InputError(f"{root}: no {modality.upper()} scans of MM-WHS; expected {root}/{example} and so on")
    strange = [patient for patient in labels if patient not in images]
    if strange:
        what = f"label maps without an image are left out: {len(strange)}, such as {labels[strange[0]].name}"
        warnings.warn(f"{root}: {what}, which needs {strange[0]}{IMAGE}.nii.gz beside it", stacklevel=3)
    return [one_case(patient, images[patient], modality.upper()) for patient in sorted(images)]


def one_case(patient: str, image: Path, group: str) -> Case:
    label = existing(image.parent, f"{patient}{LABEL}")
    return Case(patient=patient, phase="", image=image, label=label, group=group, structures=STRUCTURES, closed=CLOSED)
