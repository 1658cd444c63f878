"""The report of scored label maps, of one method; and what it has in common with that of several."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from shared import runs
from shared.doubt.judge import Verdict
from shared.progress import Progress
from shared.reports import page, views
from shared.reports.page import Column, Entry, Page
from shared.reports.views import View
from shared.scans.volume import Volume
from shared.scoring.published import MEASURES
from shared.scoring.scores import Scores

SHOWN = ("dice", "assd_mm", "hausdorff_mm")
ABOUT = ("phase", "group", "vendor")  # columns of text, where any case has them
LOW = 0.5  # a Dice that is remarked on
UNDEFINED = float("nan")
LAYERS = ("predicted", "reference")
NOBODY: Mapping[str, Verdict] = MappingProxyType({})  # doubts the label maps


def write(
    folder: Path,
    text: str,
    rows: Sequence[Scores],
    structures: Mapping[int, str],
    drawings: Mapping[str, View],
    figures: Sequence[Path] = (),
    verdicts: Mapping[str, Verdict] = NOBODY,
) -> None:
    """Write report.html into a folder: every case with its scores and slices, figures, and a text.

    Args:
        folder: of a run, or of predictions that were scored.
        text: Markdown; its first line is the title.
        rows: of cases.csv.
        structures: label value -> name.
        drawings: name of a case -> its `drawing`.
        figures: files of pictures.
        verdicts: name of a case -> how much its label map is to be doubted.
    """
    columns, entries = of_scores(rows, drawings, verdicts)
    title, _, below = text.partition("\n")
    page.write(
        folder / runs.REPORT,
        Page(
            title=title.removeprefix("# "),
            text=below,
            columns=columns,
            entries=entries,
            structures=list(dict.fromkeys(structures.values())),
            layers=LAYERS,
            figures=figures,
        ),
    )


def drawing(scan: Volume, predicted: Volume, reference: Volume, structures: Mapping[int, str], cases: int) -> View:
    """The view of one of so many cases; the label maps lie on the grid of the scan and have these values."""
    return views.view(scan, dict(zip(LAYERS, (predicted, reference), strict=True)), structures, page.share(cases))


def of_scores(
    rows: Sequence[Scores], drawings: Mapping[str, View], verdicts: Mapping[str, Verdict] = NOBODY
) -> tuple[list[Column], list[Entry]]:
    """Columns and entries of one method: mean Dice, doubt, then each measure of each structure."""
    about, cases = texts_in(rows), by_case(rows)
    structures = list(dict.fromkeys(row["structure"] for row in rows))
    measures = [(measure, structure) for measure in SHOWN for structure in structures]
    several = len(structures) > 1
    columns = [*(Column(name) for name in about), *([Column("mean Dice", 3)] if several else [])]
    columns += [Column("doubt", 2)] if verdicts else []
    columns += [Column(f"{structure} {titled(measure)}", MEASURES[measure].digits) for measure, structure in measures]

    def entry(name: str, own: Sequence[Scores]) -> Entry:
        found = {row["structure"]: row for row in own}
        numbers = [found.get(structure, {}).get(measure, UNDEFINED) for measure, structure in measures]
        mean = float(np.mean([row["dice"] for row in own]))
        doubt = [verdicts[name].doubt] if verdicts else []
        values = [*(own[0].get(each, "") for each in about), *([mean] if several else []), *doubt, *numbers]
        said = [remark(own), verdicts[name].reasons if verdicts and verdicts[name].flagged else ""]
        return Entry(name, values, "; ".join(filter(None, said)), drawings[name])

    return columns, [entry(name, cases[name]) for name in sorted(cases)]


def of_methods(rows: Sequence[Scores], view_of: Callable[[str], View]) -> tuple[list[Column], list[Entry]]:
    """Columns and entries of several methods: the mean Dice over the structures of each.

    Args:
        rows: of cases.csv, with a column method.
        view_of: `view_of(name of a case)`.
    """
    about, cases = texts_in(rows), by_case(rows)
    methods = list(dict.fromkeys(row["method"] for row in rows))
    columns = [Column(name) for name in about] + [Column(f"{method}, mean Dice", 3) for method in methods]

    def entry(name: str, own: Sequence[Scores]) -> Entry:
        means = [float(np.mean([row["dice"] for row in own if row["method"] == method])) for method in methods]
        low = [method for method, mean in zip(methods, means, strict=True) if mean < LOW]
        said = f"below {LOW}: {', '.join(low)}" if low else ""
        return Entry(name, [*(own[0].get(each, "") for each in about), *means], said, view_of(name))

    return columns, [entry(name, cases[name]) for name in Progress("drawing the report", len(cases)).over(sorted(cases))]


def titled(measure: str) -> str:
    """A measure with its unit."""
    return f"{MEASURES[measure].title} {MEASURES[measure].unit}".strip()


def texts_in(rows: Iterable[Scores]) -> list[str]:
    return [name for name in ABOUT if any(row.get(name) for row in rows)]


def by_case(rows: Iterable[Scores]) -> dict[str, list[Scores]]:
    found: dict[str, list[Scores]] = {}
    for row in rows:
        found.setdefault(row["case"], []).append(row)
    return found


def remark(rows: Iterable[Mapping[str, Any]]) -> str:
    """What a reader should look at: structures that were missed, found where there are none, or found badly."""
    missed, extra, low = [], [], []
    for row in rows:
        if not row["volume_ml"] and row["reference_ml"]:
            missed.append(row["structure"])
        elif row["volume_ml"] and not row["reference_ml"]:
            extra.append(row["structure"])
        elif row["dice"] < LOW:
            low.append(row["structure"])
    said = {"not found: {}": missed, "found, but not in the reference: {}": extra, f"Dice below {LOW}: {{}}": low}
    return "; ".join(text.format(", ".join(names)) for text, names in said.items() if names)
