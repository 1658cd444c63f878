"""Numbers of a comparison from its rows of scores: summaries, agreement, paired tests, ranks, and parts of the cases.

Patients are what is independent: the scores of a patient's volumes (ED and ES) are averaged before methods are tested or ranked.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from shared.scoring import metrics, statistics, tables
from shared.scoring.published import MEAN, PHASES
from shared.scoring.scores import Scores

COMPARED = {"dice": True, "hausdorff_mm": False, "assd_mm": False}  # measure -> whether higher is better
ALPHA = 0.05
NO_DIFFERENCE = "no difference shown"

Row = dict[str, Any]


def structures_of(rows: Iterable[Scores]) -> list[str]:
    """The structures; before them their mean, where there are several."""
    names = list(dict.fromkeys(row["structure"] for row in rows))
    return [MEAN, *names] if len(names) > 1 else names


def methods_of(rows: Iterable[Scores]) -> list[str]:
    return list(dict.fromkeys(row["method"] for row in rows))


def phases_of(rows: Iterable[Scores]) -> list[str]:
    """The phases in their order; one empty name where scans have none."""
    return sorted({row["phase"] for row in rows})


def selected(rows: Iterable[Scores], structure: str, **columns: str) -> list[Scores]:
    """The rows of a structure (`MEAN`: of all) whose `columns` have these values."""
    return [row for row in rows if structure in (MEAN, row["structure"]) and all(row[c] == value for c, value in columns.items())]


def summaries(rows: Sequence[Scores]) -> list[Row]:
    """Mean, population std and number of defined cases of every measure, per structure, phase and method."""
    phases = phases_of(rows)
    found = []
    for structure in structures_of(rows):
        for phase in ["all", *phases] if len(phases) > 1 else ["all"]:
            for method in methods_of(rows):
                own = selected(rows, structure, method=method, **({} if phase == "all" else {"phase": phase}))
                row: Row = {"structure": structure, "phase": phase, "method": method}
                for measure in COMPARED:
                    each = statistics.summary(tables.by_case(own, measure).values())
                    row |= {measure: each.mean, f"{measure}_std": each.std, f"{measure}_n": each.n}
                found.append(row)
    return found


def agreements(rows: Sequence[Scores]) -> list[Row]:
    """Bias and 95 % limits of agreement of every method: EF of the cavities where there are ED and ES, and volumes."""
    found = []
    for structure, measure, unit in functions_of(rows):
        for method in methods_of(rows):
            (bias, low, high), n = statistics.agreement(*function_of(rows, structure, measure, method))
            row = {"structure": structure, "measure": measure, "unit": unit, "method": method}
            found.append({**row, "bias": bias, "low": low, "high": high, "n": n})
    return found


def functions_of(rows: Sequence[Scores]) -> list[tuple[str, str, str]]:
    """(structure, measure, unit) of all that clinicians read off the label maps: "EF", "ED volume", "ES volume" or "volume"."""
    phases, found = phases_of(rows), []
    for structure in dict.fromkeys(row["structure"] for row in rows):
        if structure in metrics.CAVITIES and set(PHASES) <= set(phases):
            found.append((structure, "EF", "%"))
        found += [(structure, f"{phase} volume".strip(), "ml") for phase in phases]
    return found


def function_of(rows: Sequence[Scores], structure: str, measure: str, method: str) -> tuple[list[float], list[float]]:
    """Predicted and reference numbers of a `functions_of` entry by one method."""
    own = selected(rows, structure, method=method)
    return tables.ejection_fractions(own) if measure == "EF" else tables.volumes(own, measure.removesuffix("volume").strip())


def per_patient(rows: Sequence[Scores], measure: str, structure: str) -> dict[str, list[float]]:
    """Method -> the mean over each patient's volumes (and structures, for `MEAN`), in the order of the patients' names.

    It is undefined where the measure is undefined in one of the volumes.
    """
    found = {}
    for method in methods_of(rows):
        values: dict[str, list[float]] = {}
        for row in selected(rows, structure, method=method):
            values.setdefault(row["patient"], []).append(row[measure])
        found[method] = [float(np.mean(values[patient])) for patient in sorted(values)]
    return found


def tests(rows: Sequence[Scores]) -> list[Row]:
    """Every pair of methods: difference first - second with its 95 % interval, p of Wilcoxon's test, and the verdict.

    p values are corrected by Holm over all pairs of methods, for each measure and structure by itself. A difference is shown
    where p is small and the mean has the sign of the ranks: one patient can turn the mean against what most of them show.
    """
    found = []
    for measure, higher in COMPARED.items():
        for structure in structures_of(rows):
            values = per_patient(rows, measure, structure)
            pairs = list(itertools.combinations(values, 2))
            p_values = [statistics.wilcoxon(values[first], values[second]) for first, second in pairs]
            for (first, second), p, p_holm in zip(pairs, p_values, statistics.holm(p_values), strict=True):
                each = statistics.difference(values[first], values[second])
                better = first if (each.mean > 0) == higher else second
                shown = p_holm < ALPHA and each.mean * statistics.signed_ranks(values[first], values[second]) > 0
                found.append({
                    "measure": measure, "structure": structure, "first": first, "second": second, "n": each.n,
                    "difference": each.mean, "low": each.low, "high": each.high, "p": p, "p_holm": p_holm,
                    "verdict": f"{better} is better" if shown else NO_DIFFERENCE,
                })  # fmt: skip
    return found


def ranks(rows: Sequence[Scores]) -> list[Row]:
    """Mean rank of every method over the patients, per measure and structure; see `statistics.mean_ranks`."""
    found = []
    for measure, higher in COMPARED.items():
        for structure in structures_of(rows):
            values = per_patient(rows, measure, structure)
            mean = statistics.mean_ranks(list(values.values()), higher)
            found += [
                {"measure": measure, "structure": structure, "method": method, "rank": rank, "n": len(values[method])}
                for method, rank in zip(values, mean, strict=True)
            ]
    return found


def breakdown(cases: Sequence[Scores], slices: Sequence[Scores]) -> list[Row]:
    """Dice by diagnosis and phase, of whole volumes, and by position along the axis, of slices averaged in each volume.

    Returns:
        Rows with the columns by, part, structure, method, dice, std and n (volumes); no rows for what has only one part.
    """
    found = []
    for by, column, rows in (("diagnosis", "group", cases), ("phase", "phase", cases), ("position", "third", slices)):
        parts = in_order(rows, column)
        for structure in structures_of(rows) if len(parts) > 1 else []:
            for method, part in itertools.product(methods_of(rows), parts):
                own = selected(rows, structure, method=method, **{column: part})
                each = statistics.summary(tables.by_case(own, "dice").values())
                row = {"by": by, "part": part, "structure": structure, "method": method}
                found.append({**row, "dice": each.mean, "std": each.std, "n": each.n})
    return found


def in_order(rows: Sequence[Scores], column: str) -> list[str]:
    """The values of a column: thirds in their order along the axis, others by name."""
    if column != "third":
        return sorted({row[column] for row in rows})
    return list(dict.fromkeys(row["third"] for row in sorted(rows, key=lambda row: row["position"])))


def profile(slices: Sequence[Scores], structure: str, bins: int = 9) -> dict[str, list[tuple[float, float, float, float]]]:
    """Method -> (position, mean, lower and upper end of its 95 % interval) of the Dice of slices along the axis.

    The interval draws patients, each of which has the mean of its slices in a part of the axis.
    """
    found = {}
    for method in methods_of(slices):
        points = []
        for part in range(bins):
            values: dict[str, list[float]] = {}
            for row in selected(slices, structure, method=method):
                if min(int(row["position"] * bins), bins - 1) == part:
                    values.setdefault(row["patient"], []).append(row["dice"])
            if values:
                each = statistics.summary(float(np.mean(own)) for own in values.values())
                points.append(((part + 0.5) / bins, each.mean, each.low, each.high))
        found[method] = points
    return found
