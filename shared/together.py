"""The networks of all folds of an experiment as one, where all folds hold out the same patients.

    python -m dr_unet.train --dataset lasc --fold all

scores them so once the folds are trained, in the folder `together` beside theirs: label maps, cases.csv, summary.md and
report.html, as `predict --dataset` writes them. Where each fold holds out other patients, each network learned from those of the
others, and there is nobody to score them on.
"""

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from shared import ensembles, runs, transfer
from shared.datasets import Case
from shared.scoring.published import NOT_IN_PAPER, Row, Table

FOLDER = "together"


def folder_of(folders: Sequence[Path]) -> Path:
    """Where the scores of these run folders together lie."""
    return folders[0].parent / FOLDER


def are_possible(folders: Sequence[Path]) -> bool:
    """Whether several run folders hold out the same patients, and their paper gives probabilities that can be averaged."""
    package, tests = ensembles.package_of(folders[0]), {tuple(sorted(test_of(folder))) for folder in folders}
    if len(folders) < 2 or len(tests) > 1 or not package:
        return False
    return hasattr(importlib.import_module(f"{package}.predict"), "chances")


def test_of(folder: Path) -> list[str]:
    """The patients that a run holds out."""
    return runs.read_record(folder, "split")["split"]["test"]


def score_missing(folders: Sequence[Path], find: Callable[[], Sequence[Case]]) -> None:
    """Predict and score the held-out cases by all networks together, if they can be and no run is newer than such scores.

    Args:
        folders: finished runs that differ in their fold.
        find: gives the labelled cases of the data set; it is called only if there is something to score.
    """
    target = folder_of(folders)
    if not are_possible(folders) or (runs.is_done(target) and all(made(target) >= made(folder) for folder in folders)):
        return
    ensemble = ensembles.load(folders, ensembles.package_of(folders[0]))
    fact = f"{len(folders)} folds together: the mean of their networks' probabilities on the scan's voxels."
    test = test_of(folders[0])
    held_out = [case for case in find() if case.patient in test]
    print(f"\n{len(folders)} folds together")
    transfer.score(held_out, ensemble.structures, functools.partial(ensembles.predict, ensemble), target, fact)


def made(folder: Path) -> float:
    """When a run, or scores together, were finished."""
    return (folder / runs.SUMMARY).stat().st_mtime


def with_rows(table: Table, folders: Mapping[Row, Sequence[Path]]) -> tuple[Table, dict[Row, Path]]:
    """A paper's table with a further row below each whose folds have scores together, and the cases.csv of these rows.

    Args:
        table: of a paper.
        folders: row -> the finished runs of its experiment.
    """
    rows: list[Row] = []
    added: dict[Row, Path] = {}
    for row in table.rows:
        rows.append(row)
        mine = folders.get(row, ())
        if mine and not row.file and runs.is_done(folder_of(mine)):
            cells = tuple(NOT_IN_PAPER if cell else None for cell in row.cells)
            rows.append(replace(row, label=f"{row.label}, {len(mine)} folds together", cells=cells))
            added[rows[-1]] = folder_of(mine) / transfer.CASES
    return replace(table, rows=tuple(rows)), added
