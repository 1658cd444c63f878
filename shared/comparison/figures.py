"""The pictures of a comparison."""

from pathlib import Path

import numpy as np

from shared.comparison import measures, scored
from shared.comparison.entrants import Contest
from shared.comparison.scored import Scored
from shared.datasets import Case, load_image
from shared.lazy import lazily
from shared.scans.orientation import all_slices_last
from shared.scans.volume import Volume
from shared.scoring import statistics, tables
from shared.scoring.scores import Scores

with lazily():
    from shared.scoring import plots


def draw(contest: Contest, found: Scored) -> None:
    """Write figures/ of a contest, without the pictures of an earlier one; none where no method was run."""
    folder, structures = contest.folder / "figures", measures.structures_of(found.cases)
    for path in folder.glob("*.png"):
        path.unlink()
    if not contest.compared:
        return
    plots.paired(folder / "dice.png", [(structure, dice_of(found.cases, structure)) for structure in structures], "Dice")
    for structure, measure, unit in measures.functions_of(found.cases):
        panels = []
        for method in measures.methods_of(found.cases):
            sides = measures.function_of(found.cases, structure, measure, method)
            limits, n = statistics.agreement(*sides)
            if n > 1:
                panels.append((f"{structure} {measure}, {method}", unit, *sides, limits))
        if panels:
            plots.bland_altman(folder / f"agreement_{structure}_{measure}.png".replace(" ", "_"), panels, one_scale=True)
    ends = "base 0, apex 1" if contest.on_short_axis else "first slice 0, last slice 1"
    if not contest.pictured:
        return
    for structure in structures:
        curves = measures.profile(found.slices, structure)
        label = f"Dice of a slice, {structure}, 95 % interval"
        plots.curves(folder / f"along_axis_{structure}.png", curves, f"position: {ends}", label)
    for name, case in chosen(contest, found.cases).items():
        same_case(folder / f"{name}.png", contest, case, found.cases)


def dice_of(rows: list[Scores], structure: str) -> dict[str, list[float]]:
    """Method -> Dice of every case, in the order of the cases' names."""
    found = {}
    for method in measures.methods_of(rows):
        values = tables.dice_by_case(measures.selected(rows, structure, method=method))
        found[method] = [values[case] for case in sorted(values)]
    return found


def chosen(contest: Contest, rows: list[Scores]) -> dict[str, Case]:
    """The best, the median and the worst case, by the mean Dice over methods and structures."""
    dice = {case.name: float(np.mean([row["dice"] for row in rows if row["case"] == case.name])) for case in contest.cases}
    ranked = sorted(contest.cases, key=lambda case: (dice[case.name], case.name))
    return tables.best_median_worst(ranked)


def same_case(path: Path, contest: Contest, case: Case, rows: list[Scores]) -> None:
    """One case by all methods: a line of slices for the reference, and one for each method with its mean Dice."""
    scan = load_image(case)
    lines: list[tuple[str, Volume, Volume, Volume]] = []
    for entrant in contest.pictured:
        image, predicted, reference = all_slices_last(scan, *scored.on_scan(contest, entrant, case, scan))
        own = [row["dice"] for row in rows if (row["case"], row["method"]) == (case.name, entrant.name)]
        lines = lines or [(f"{case.name}\nreference", image, reference, reference)]
        lines.append((f"{entrant.name}\nDice {np.mean(own):.3f}", image, predicted, reference))
    plots.overlay(path, lines, contest.structures)
