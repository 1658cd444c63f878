"""The slices of held-out cases that a criterion keeps: scores without the others, scores slice by slice, and at the base.

A run writes three tables of its test cases: slices.csv, what surrounds the LV in every slice of the references (the columns of
`python -m dense_unet.basal`); scores_slices.csv, the scores of every slice that counts; and scores_basal.csv, those of the most
basal one.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dense_unet import basal
from dense_unet.basal import Surroundings
from dense_unet.recipe import BASAL, SLICES
from shared.datasets import Case
from shared.files import write_csv
from shared.held_out import about
from shared.scans import orientation
from shared.scans.volume import Volume
from shared.scoring import scores, statistics
from shared.scoring.scores import Scores

SURROUNDINGS = "slices.csv"


def surroundings(case: Case, scan: Volume, reference: Volume) -> Surroundings:
    """What surrounds the LV in each slice of a case, from what `datasets.load_image` and `datasets.load_reference` give."""
    lacking = [name for name in ("LV", "Myo") if name not in case.structures.values()]
    if lacking:
        names = ", ".join(case.structures.values())
        warnings.warn(f"no structure is called {' or '.join(lacking)} ({names}): no criterion removes a slice", stacklevel=2)
    return basal.surroundings(orientation.all_slices_last(scan, reference)[1], case.structures)


def without_removed(labels: Volume, kept: np.ndarray) -> Volume:
    """A label map in which the slices that are not `kept` (z,) are empty, in its own order of axes."""
    axis = orientation.slices_last(labels)[2]
    shape = [-1 if each == axis else 1 for each in range(3)]
    return labels.with_array(np.where(kept.reshape(shape), labels.array, 0).astype(labels.array.dtype))


@dataclass(frozen=True)
class Compared:
    """A held-out case whose slices were scored one by one.

    Attributes:
        case: of the data set.
        found: what surrounds its LV.
        rows: of scores_slices.csv.
        basal: of scores_basal.csv.
    """

    case: Case
    found: Surroundings
    rows: list[Scores]
    basal: list[Scores]


def compare(
    case: Case, found: Surroundings, predicted: Volume, reference: Volume, structures: Mapping[int, str], least: float
) -> Compared:
    """Score the slices of a case.

    Args:
        case: of the data set.
        found: what surrounds its LV.
        predicted, reference: label maps, in which slices that the criterion removes are empty.
        structures: label value -> name of those that are scored.
        least: the criterion, see `Surroundings.kept`.
    """
    rows = scores.score_slices(predicted, reference, structures, about(case), case.ignore)
    return Compared(case, found, rows, [row for row in rows if row["slice"] == found.most_basal(least)])


def write(folder: Path, compared: Sequence[Compared], least: float) -> list[str]:
    """Write the three tables of a run, and return lines of its summary."""
    at_base = [row for each in compared for row in each.basal]
    write_csv(folder / SLICES, [row for each in compared for row in each.rows])
    write_csv(folder / BASAL, at_base)
    write_csv(folder / SURROUNDINGS, [{**about(each.case), **row} for each in compared for row in basal.rows_of(each.found)])
    return [removed_line(compared, least), "", *basal_lines(at_base)]


def removed_line(compared: Sequence[Compared], least: float) -> str:
    """One sentence: how many slices the criterion leaves out."""
    phases = sorted({each.case.phase for each in compared})
    removed = {
        phase: sum(np.count_nonzero(~each.found.kept(least)) for each in compared if each.case.phase == phase) for phase in phases
    }
    slices = sum(len(each.found.has_lv) for each in compared)
    by_phase = f" ({', '.join(f'{phase} {count}' for phase, count in removed.items())})" if all(phases) else ""
    rule = "closed around the LV" if least == basal.CLOSED else f"around at least {100 * least:g} % of the LV"
    return f"Only slices whose myocardium is {rule} count: {sum(removed.values())} of {slices} are left out{by_phase}."


def basal_lines(rows: Sequence[Scores]) -> list[str]:
    """Markdown table of the basal slices."""
    lines = ["| basal slice, 2D | n | Dice mean | HD median, mm |", "|---|---|---|---|"]
    for structure in dict.fromkeys(row["structure"] for row in rows):
        dice, hausdorff = (
            statistics.summary(row[measure] for row in rows if row["structure"] == structure)
            for measure in ("dice", "hausdorff_mm")
        )
        lines.append(f"| {structure} | {dice.n} | {dice.mean:.3f} | {hausdorff.median:.1f} |")
    return lines
