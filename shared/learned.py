"""What a run learned from, so that nobody takes a scan that it has seen for a new one."""

import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from shared import datasets, provenance, runs
from shared.datasets import Case
from shared.errors import InputError
from shared.files import fingerprint
from shared.scans import volume

OF_ANYBODY = ("nnunet",)  # layouts of users' own data


def patients(split: Mapping[str, Sequence[str]]) -> set[str]:
    """Those whom a run trained on, and those who chose its weights unless they are its test patients too (Baumgartner 2017).

    Args:
        split: of its run.json.
    """
    return {*split["train"], *split["validation"]} - set(split["test"])


def unseen(cases: Sequence[Case], dataset: str, weights: Path) -> tuple[list[Case], str]:
    """The cases of a data set that a network did not learn from, and a sentence about what it did learn from.

    Only a run folder tells that. The `patients` of the run are left out.

    Args:
        cases: of the data set.
        dataset: its name.
        weights: run folder, or a file of weights.

    Raises:
        InputError: a run without its split, or the network learned from all of them.
    """
    record = runs.record_of(weights, "split")
    if not record:
        return list(cases), "What the network learned from is not known here."
    other = record.get("dataset") != dataset
    if dataset in OF_ANYBODY:  # the layout says nothing about whose scans these are
        other = other or record.get("data") != fingerprint(*provenance.fingerprints(cases).values())
    if other:
        return list(cases), f"The network learned from another data set ({record.get('dataset')})."
    seen = patients(record["split"])
    kept = [case for case in cases if case.patient not in seen]
    if not kept:
        raise InputError(f"{weights}: the network learned from all patients of {dataset}; nobody is left to score it on")
    count = len(seen & {case.patient for case in cases})
    return kept, f"The network learned from the same data set; {count} patients of its training are left out."


def warn(weights: Path, scans: Iterable[Path]) -> None:
    """Warn where a run learned from the phantom alone, whose segmentation of a patient's scan looks better than it is; and of
    every scan whose file, or the folder that it lies in, is called like a patient of its training."""
    record = runs.record_of(weights)
    if record.get("dataset") == datasets.PHANTOM:
        text = f"{weights}: this network learned from phantoms alone; what it finds in a patient's scan means nothing"
        warnings.warn(text, stacklevel=2)
        return
    seen = patients(record["split"]) if "split" in record else set()
    for scan in scans:
        patient = patient_of(scan, seen)
        if patient:
            text = f"{scan}: {weights} learned from a patient called {patient}; on the same scan it looks better than it is"
            warnings.warn(text, stacklevel=2)


def patient_of(scan: Path, known: set[str]) -> str:
    """Which of the `known` patients a scan is called after, by its folder's name or by the beginning of its own, as
    patient001_ED.nii.gz and patient001-2.nii.gz are; "" for none."""
    path = Path(os.path.abspath(scan))
    stem = volume.stem(path)
    beginnings = [stem[: sign.start()] for sign in re.finditer(r"\W|_", stem)]
    return next((name for name in (path.parent.name, stem, *reversed(beginnings)) if name in known), "")
