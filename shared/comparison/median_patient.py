"""The patient with the median Dice by several runs: the reference, and the label map of each run below it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from shared import datasets, held_out, runs
from shared.datasets import Case
from shared.errors import InputError
from shared.lazy import lazily
from shared.scans import volume
from shared.scans.orientation import all_slices_last, matched
from shared.scans.volume import Volume
from shared.scoring import tables

with lazily():
    from shared.scoring import plots


def draw(
    path: Path, folders: Mapping[str, Path], dataset: str, root: Path, reference_of: Callable[[Case, Volume, Volume], Volume]
) -> None:
    """Draw all cases of the patient that has the median Dice in the first run.

    Args:
        path: of the picture.
        folders: name -> folder of a finished run; all of them held out the same patients.
        dataset, root: the data that the runs were made from.
        reference_of: see `held_out.Scorer.reference`.

    Raises:
        InputError: the runs were made from other data than those in `root`.
    """
    cases, first = datasets.find(dataset, root), next(iter(folders.values()))
    by_name = {case.name: case for case in cases}
    dice = tables.dice_by_case(held_out.read_scores(first, held_out.CASES, ["dice"]))
    median = sorted(dice, key=lambda name: (dice[name], name))[len(dice) // 2]
    if median not in by_name:
        advice = "give the --data-root that the runs were made from"
        raise InputError(f"{root}: no {median}, which {first / held_out.CASES} names; {advice}")
    rows = []
    for case in (case for case in cases if case.patient == by_name[median].patient):
        scan = datasets.load_image(case)
        found = [folder / held_out.PREDICTIONS / f"{case.name}.nii.gz" for folder in folders.values()]
        maps = [matched(scan, volume.read_labels(each), (case.image, each)) for each in found]
        image, reference, *maps = all_slices_last(scan, reference_of(case, scan, datasets.load_reference(case, scan)), *maps)
        named = zip(("reference", *folders), (reference, *maps), strict=True)
        rows += [(f"{case.name}\n{name}", image, labels, reference) for name, labels in named]
    structures = runs.read_record(first, "structures")["structures"]
    plots.overlay(path, rows, {int(value): name for value, name in structures.items()})
