"""Tables of runs: the summary of one run, and a paper's table with our numbers in it as Markdown, CSV and LaTeX.

They are computed from `cases.csv` every time. `shared.scoring.published` says what a paper's table is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from shared.errors import InputError
from shared.files import read_csv, write_csv, write_text
from shared.scoring import metrics, statistics
from shared.scoring.published import MEAN, MEASURES, PHASES, STATISTICS, WHOLE, Cell, Column, Row, Table
from shared.scoring.scores import Scores

Item = TypeVar("Item")

SUMMARY_MEASURES = ("dice", "assd_mm", "hausdorff_mm")
SHARES, VOLUMES = ("dice", "jaccard", "sensitivity"), ("volume_ml", "reference_ml")
BAR = r"\|"  # in Markdown
NOT_RUN, QUOTED = "not run", "only quoted"
HEADER = ("row", "measure", "paper", "ours", "difference", "n")  # of a paper's table with ours


@dataclass(frozen=True)
class Comparison:
    """One number of a paper, and ours: a line of our table.

    Attributes:
        row, column: those of the paper's table.
        paper: the paper's number, or what stands in its place.
        ours: the same of our runs; None: there is no run.
        n: cases or patients that ours is computed from.
    """

    row: Row
    column: Column
    paper: Cell | str
    ours: Cell | None
    n: int

    @property
    def texts(self) -> tuple[str, str, str, str, str, str]:
        """Row, column, paper, ours, difference and n, as they are printed. No decimal of the paper is lost."""
        digits, paper, difference = self.column.digits, self.paper, ""
        if isinstance(paper, Cell):
            digits = max(digits, paper.decimals)
            difference = f"{self.ours.value - paper.value:+.{digits}f}" if self.ours else ""
            paper = paper.text(digits)
        names = self.row.title, self.column.title, paper
        if self.ours is None:
            return *names, NOT_RUN if self.row.experiment else QUOTED, "", ""
        return *names, self.ours.text(digits), difference, str(self.n)


def read_cases(path: Path, columns: Iterable[str]) -> list[Scores]:
    """The rows of a cases.csv. It must have the `columns` of numbers, and those that name the case and the structure.

    Raises:
        InputError: see `files.read_csv`; or a score that cannot be, or a case (of a fold) whose structure has two rows.
    """
    columns = tuple(columns)
    rows = read_csv(path, ("case", "patient", "phase", "structure", *columns))
    seen = set()
    for row in rows:
        named = (row.get("fold"), row["case"], row["structure"])
        wrong = [*filter(None, (impossible(column, row[column]) for column in columns)), *(["two rows"] if named in seen else [])]
        if wrong:
            raise InputError(f"{path}: {row['case']}, {row['structure']}: {wrong[0]}; make the file again")
        seen.add(named)
    return rows


def impossible(column: str, value: float) -> str:
    """What is wrong with a number of cases.csv; "" where nothing is. All may be undefined but Dice."""
    share = column in SHARES
    if value < 0 or (share and value > 1) or (column == "dice" and value != value):
        name = MEASURES[column].title if share else column
        return f"{name} {value:g}, expected {'0 to 1' if share else 'no negative number'}"
    return ""


def columns_of(table: Table) -> list[str]:
    """The columns of numbers in cases.csv that a published table is made from."""
    scores = [column.measure for column in table.columns if not MEASURES[column.measure].clinical]
    whole = WHOLE in {*(row.structure for row in table.rows), *(column.structure for column in table.columns)}
    needed = ["dice"] if whole else []
    return [*dict.fromkeys([*scores, *needed]), *(VOLUMES if whole or len(scores) < len(table.columns) else ())]


def compare(table: Table, scores_of: Mapping[Row, list[Scores]]) -> list[Comparison]:
    """Every number of a published table with ours, row by row.

    Args:
        table: the paper's.
        scores_of: row -> the rows of cases.csv that ours is computed from, with a column "fold" where several folds are pooled;
            a row that is missing was not run.
    """
    found = []
    for row in table.rows:
        scores = [each for each in scores_of.get(row, ()) if row.patient in ("", each["patient"])]
        for column, paper in zip(table.columns, row.cells, strict=True):
            if paper:
                ours, n = measured(scores, column, row.structure) if scores else (None, 0)
                found.append(Comparison(row, column, paper, ours, n))
    return found


def measured(scores: Sequence[Scores], column: Column, structure: str = "") -> tuple[Cell, int]:
    """Our cell of a column, and its n. The structure is the column's, or else `structure`."""
    structure = column.structure or structure
    scores = [row for row in scores if structure in (MEAN, WHOLE, row["structure"])]
    if not MEASURES[column.measure].clinical:
        scores = [row for row in scores if column.phase in ("", row["phase"])]
        values = whole_by_case(scores, column.measure) if structure == WHOLE else by_case(scores, column.measure)
        summary = statistics.summary(values.values())
        return (Cell(summary.median) if column.statistic == "median" else Cell(summary.mean, summary.std)), summary.n
    ours, reference = ejection_fractions(scores) if column.measure == "ef" else volumes(scores, column.phase)
    if column.measure == "mass":
        ours, reference = ([metrics.mass_g(ml) for ml in side] for side in (ours, reference))
    sigmas = STATISTICS[column.statistic].sigmas
    if sigmas:
        (bias, low, high), n = statistics.agreement(ours, reference, sigmas)
        return Cell(bias, limits=(low, high)), n
    value, n = (statistics.r_squared if column.statistic == "r_squared" else statistics.correlation)(ours, reference)
    return Cell(value), n


def by_case(rows: Iterable[Scores], measure: str) -> dict[tuple[object, str], float]:
    """(fold, case) -> mean of a measure over the rows of that case, undefined where one of them is."""
    values: dict[tuple[object, str], list[float]] = {}
    for row in rows:
        values.setdefault((row.get("fold"), row["case"]), []).append(row[measure])
    return {case: float(np.mean(found)) for case, found in values.items()}


def whole_by_case(rows: Iterable[Scores], measure: str) -> dict[tuple[object, str], float]:
    """(fold, case) -> Dice or Jaccard index of all structures of that case together, from their own Dice and volumes."""
    both: dict[tuple[object, str], list[float]] = {}  # ml in both masks twice, and ml in each of them
    for row in rows:
        sums = both.setdefault((row.get("fold"), row["case"]), [0.0, 0.0])
        either = row["volume_ml"] + row["reference_ml"]
        sums[0], sums[1] = sums[0] + row["dice"] * either, sums[1] + either
    dice = {case: twice / either if either else 1.0 for case, (twice, either) in both.items()}
    return dice if measure == "dice" else {case: value / (2 - value) for case, value in dice.items()}


def volumes(rows: Iterable[Scores], phase: str) -> tuple[list[float], list[float]]:
    """Predicted and reference volumes (ml) of the rows of one structure and phase."""
    rows = [row for row in rows if row["phase"] == phase]
    return [row["volume_ml"] for row in rows], [row["reference_ml"] for row in rows]


def ejection_fractions(rows: Sequence[Scores]) -> tuple[list[float], list[float]]:
    """Predicted and reference EF (%) of every patient (of every fold) that has both phases, from the rows of one structure.

    It is NaN where nothing was found at ED or at ES.
    """
    ours, reference = ([metrics.ejection_fraction(ed[ml], es[ml]) for ed, es in phases_of(rows)] for ml in VOLUMES)
    return ours, reference


def phases_of(rows: Sequence[Scores]) -> list[tuple[Scores, Scores]]:
    """(row at ED, row at ES) of every patient of every fold that has both, from the rows of one structure."""
    ed, es = ({(row.get("fold"), row["patient"]): row for row in rows if row["phase"] == phase} for phase in PHASES)
    return [(ed[patient], es[patient]) for patient in sorted(ed.keys() & es.keys())]


def doubtful_function(rows: Sequence[Scores]) -> list[str]:
    """Lines about ejection fractions that cannot be right: larger at ES than at ED, or nothing found in one of them."""
    lines = []
    for cavity in metrics.CAVITIES:
        pairs = phases_of([row for row in rows if row["structure"] == cavity])
        for volume, which in zip(VOLUMES, ("predicted", "reference"), strict=True):
            larger = [ed["patient"] for ed, es in pairs if es[volume] > ed[volume] > 0]
            empty = [ed["patient"] for ed, es in pairs if 0 in (ed[volume], es[volume])]
            for patients, what in ((larger, "is larger at ES than at ED"), (empty, "is empty at ED or ES: no EF")):
                if patients:
                    named = ", ".join(map(str, patients[:5])) + (", ..." if len(patients) > 5 else "")
                    lines.append(f"The {which} {cavity} {what} in {len(patients)} of {len(pairs)} patients: {named}.")
    return lines


def dice_by_case(rows: Iterable[Scores]) -> dict[str, float]:
    """Case -> mean Dice over its structures."""
    return {case: dice for (_, case), dice in by_case(rows, "dice").items()}


def best_median_worst(ranked: Sequence[Item]) -> dict[str, Item]:
    """What to show of items that are ranked from the worst on, under these names; none twice."""
    places = {len(ranked) // 2: "median", 0: "worst", len(ranked) - 1: "best"}
    return {places[index]: ranked[index] for index in sorted(places, reverse=True)}


def summarise(rows: Sequence[Scores]) -> list[str]:
    """Lines of a Markdown table: every structure and phase of one run."""
    phases = [""] + sorted({row["phase"] for row in rows} - {""})
    structures = list(dict.fromkeys(row["structure"] for row in rows))
    lines = [
        "| structure | phase | n | Dice mean (std) | median | 95 % CI of the mean | ASSD mm | HD mm |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for structure in structures:
        for phase in phases:
            chosen = [row for row in rows if row["structure"] == structure and phase in ("", row["phase"])]
            dice, assd, hd = (statistics.summary(row[measure] for row in chosen) for measure in SUMMARY_MEASURES)
            lines.append(
                f"| {structure} | {phase or 'all'} | {dice.n} | {dice.mean:.3f} ({dice.std:.3f}) | {dice.median:.3f} "
                f"| {dice.low:.3f} to {dice.high:.3f} | {assd.mean:.2f} ({assd.std:.2f}) | {hd.mean:.2f} ({hd.std:.2f}) |"
            )
    doubtful = doubtful_function(rows)
    lines += ["", *doubtful] if doubtful else []
    undefined = sum(row["assd_mm"] != row["assd_mm"] for row in rows)
    if undefined:
        lines += ["", f"Distances are undefined in {undefined} of {len(rows)} rows (one mask empty) and left out."]
    return lines


def summarise_by(rows: Sequence[Scores], column: str, word: str) -> list[str]:
    """Lines of a Markdown table: every structure of each part of the cases, which the values of a `column` are the names of."""
    lines = []
    for part in sorted({row[column] for row in rows}):
        for structure in dict.fromkeys(row["structure"] for row in rows):
            chosen = [row for row in rows if (row[column], row["structure"]) == (part, structure)]
            dice, assd, hd = (statistics.summary(row[measure] for row in chosen) for measure in SUMMARY_MEASURES)
            numbers = f"{dice.mean:.3f} ({dice.std:.3f})", f"{assd.mean:.2f} ({assd.std:.2f})", f"{hd.mean:.2f} ({hd.std:.2f})"
            lines.append((part, structure, str(dice.n), *numbers))
    return markdown_lines((word, "structure", "n", "Dice mean (std)", "ASSD mm", "HD mm"), lines)


def markdown(title: str, caption: str, comparisons: Iterable[Comparison]) -> str:
    """The table as a page in Markdown, in the paper's layout."""
    lines = markdown_lines(*as_printed(comparisons))
    return "\n".join([f"# {title}", "", *lines, "", caption, ""])


def as_printed(comparisons: Iterable[Comparison]) -> tuple[list[str], list[list[str]]]:
    """Header and lines of texts in the layout of the paper's table: its rows and columns, and below each of its rows ours and the
    difference. A row that was not run, or is only quoted, says so once."""
    of_row: dict[Row, dict[str, Comparison]] = {}
    for each in comparisons:
        of_row.setdefault(each.row, {})[each.column.title] = each
    columns = list(dict.fromkeys(title for cells in of_row.values() for title in cells))
    lines = []
    for row, cells in of_row.items():
        shown = [cells[title].texts if title in cells else ("",) * len(HEADER) for title in columns]
        _, _, paper, ours, difference, n = zip(*shown, strict=True)
        said = {text for text in ours if text}
        lines.append([row.title, "paper", *paper, ""])
        if said <= {NOT_RUN, QUOTED}:
            lines.append(["", *said, *("" for _ in columns), ""])
        else:
            lines.append(["", "ours", *ours, ", ".join(dict.fromkeys(filter(None, n)))])
            lines.append(["", "ours - paper", *difference, ""])
    return ["row", "", *columns, "n"], lines


def markdown_lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table of texts as lines of Markdown; a bar in a text ends no cell."""
    first, *others = (f"| {' | '.join(text.replace('|', BAR) for text in row)} |" for row in (header, *rows))
    return [first, "|---" * len(header) + "|", *others]


def latex(title: str, caption: str, comparisons: Iterable[Comparison]) -> str:
    """The table as a LaTeX float, in the paper's layout."""
    header, lines = as_printed(comparisons)
    return latex_float(f"{title}. {caption}", [*map(escaped, header[:-1]), "$n$"], lines, left=2)


def latex_float(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> str:
    """A table of texts as a LaTeX float.

    Args:
        caption: text.
        header: in LaTeX.
        rows: texts.
        left: how many columns are aligned on their left; the others are on their right.
    """
    columns = "l" * left + "r" * (len(header) - left)
    lines = [r"\begin{table}", rf"\caption{{{escaped(caption)}}}", rf"\begin{{tabular}}{{{columns}}}",
             " & ".join(header) + r" \\ \hline"]  # fmt: skip
    lines += [" & ".join(map(escaped, row)) + r" \\" for row in rows]
    return "\n".join([*lines, r"\end{tabular}", r"\end{table}", ""])


def escaped(text: str) -> str:
    """Text in LaTeX."""
    special: dict[str, str | int | None] = {character: rf"\{character}" for character in "%&_#${}"}
    special |= {"<": "$<$", ">": "$>$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    return text.translate(str.maketrans(special))


def write_tables(folder: Path, name: str, title: str, caption: str, comparisons: Sequence[Comparison], text: str) -> None:
    """Write NAME.md (`text`) and NAME.tex, in the paper's layout, and NAME.csv, a line per number, into `folder`."""
    write_text(folder / f"{name}.md", text)
    write_text(folder / f"{name}.tex", latex(title, caption, comparisons))
    write_csv(folder / f"{name}.csv", [dict(zip(HEADER, each.texts, strict=True)) for each in comparisons])
