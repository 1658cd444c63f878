"""Tables of runs beside the papers' own: Markdown, CSV and LaTeX, recomputed from `cases.csv` every time."""

from dataclasses import dataclass

import numpy as np

from shared import metrics, statistics
from shared.files import write_csv, write_text

MEASURES = {
    "dice": "Dice",
    "assd_mm": "ASSD (mm)",
    "hausdorff_mm": "HD (mm)",
    "ef_correlation": "corr EF",
    "volume_correlation": "corr volume",
    "ef_agreement": "EF bias [LoA] (%)",
    "volume_agreement": "volume bias [LoA] (ml)",
}
SUMMARY_MEASURES = ("dice", "assd_mm", "hausdorff_mm")
NOT_RUN = "not run"


@dataclass(frozen=True)
class Cell:
    """One number of a paper's table, and ours."""

    row: str
    column: str
    measure: str
    paper: tuple | float
    ours: tuple | float | None  # None: not run
    n: int

    @property
    def difference(self):
        return None if self.ours is None else first(self.ours) - first(self.paper)


def compare(table, rows_of):
    """The cells of a published table (see a paper's `PUBLISHED`), row by row.

    Args:
        table: {"title", "columns", "rows"}.
        rows_of: experiment -> the rows of its cases.csv; an experiment that is missing was not run.
    """
    cells = []
    for label, experiment, row_structure, published in table["rows"]:
        for (column_structure, phase, measure), paper in zip(table["columns"], published, strict=True):
            if paper is None:
                continue
            structure = column_structure or row_structure
            ours, n = (None, 0) if experiment not in rows_of else measured(rows_of[experiment], structure, phase, measure)
            row = label if label == row_structure or not row_structure else f"{label}, {row_structure}"
            column = " ".join(filter(None, (column_structure, phase, MEASURES[measure])))
            cells.append(Cell(row, column, measure, paper, ours, n))
    return cells


def measured(rows, structure, phase, measure):
    """Our value of a measure, as (mean, std), correlation or (bias, low, high); and its n."""
    rows = [row for row in rows if row["structure"] == structure]
    if measure in SUMMARY_MEASURES:
        summary = statistics.summary(row[measure] for row in rows if phase in ("", row["phase"]))
        return (summary.mean, summary.std), summary.n
    quantity, _, statistic = measure.partition("_")
    ours, reference = ejection_fractions(rows) if quantity == "ef" else volumes(rows, phase)
    return {"correlation": statistics.correlation, "agreement": statistics.agreement}[statistic](ours, reference)


def volumes(rows, phase):
    """Predicted and reference volumes (ml) of the rows of one structure and phase."""
    rows = [row for row in rows if row["phase"] == phase]
    return [row["volume_ml"] for row in rows], [row["reference_ml"] for row in rows]


def ejection_fractions(rows):
    """Predicted and reference EF (%) of every patient with an ED and an ES row, of the rows of one structure."""
    by_phase = {phase: {row["patient"]: row for row in rows if row["phase"] == phase} for phase in ("ED", "ES")}
    patients = sorted(by_phase["ED"].keys() & by_phase["ES"].keys())
    pairs = [(by_phase["ED"][patient], by_phase["ES"][patient]) for patient in patients]
    return tuple(
        [metrics.ejection_fraction(ed[volume], es[volume]) for ed, es in pairs] for volume in ("volume_ml", "reference_ml")
    )


def dice_by_case(rows):
    """Case -> mean Dice over its structures."""
    cases = dict.fromkeys(row["case"] for row in rows)
    return {case: float(np.mean([row["dice"] for row in rows if row["case"] == case])) for case in cases}


def summarise(rows):
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
    undefined = sum(row["assd_mm"] != row["assd_mm"] for row in rows)
    if undefined:
        lines += ["", f"Distances are undefined in {undefined} of {len(rows)} rows (one mask empty) and left out."]
    return lines


def markdown(title, caption, cells):
    lines = [f"# {title}", "", "| row | measure | paper | ours | difference | n |", "|---|---|---|---|---|---|"]
    lines += [f"| {' | '.join(texts(cell))} |" for cell in cells]
    return "\n".join([*lines, "", caption, ""])


def latex(title, caption, cells):
    escaped = str.maketrans(
        {character: rf"\{character}" for character in "%&_#${}"}
        | {"<": "$<$", ">": "$>$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    )
    lines = [r"\begin{table}", rf"\caption{{{title.translate(escaped)}. {caption.translate(escaped)}}}",
             r"\begin{tabular}{llrrrr}", r"row & measure & paper & ours & difference & $n$ \\ \hline"]  # fmt: skip
    lines += [" & ".join(text.translate(escaped) for text in texts(cell)) + r" \\" for cell in cells]
    return "\n".join([*lines, r"\end{tabular}", r"\end{table}", ""])


def write_tables(folder, name, title, caption, cells, text):
    """Write NAME.md (`text`), NAME.csv and NAME.tex into `folder`."""
    write_text(folder / f"{name}.md", text)
    write_text(folder / f"{name}.tex", latex(title, caption, cells))
    header = ("row", "measure", "paper", "ours", "difference", "n")
    write_csv(folder / f"{name}.csv", [dict(zip(header, texts(cell), strict=True)) for cell in cells])


def texts(cell):
    """The cell as text: row, column, paper, ours, difference, n."""
    digits = 3 if cell.measure == "dice" or cell.measure.endswith("correlation") else 2
    if cell.ours is None:
        return cell.row, cell.column, value_text(cell.paper, digits), NOT_RUN, "", ""
    return (cell.row, cell.column, value_text(cell.paper, digits), value_text(cell.ours, digits),
            f"{cell.difference:+.{digits}f}", str(cell.n))  # fmt: skip


def value_text(value, digits):
    if not isinstance(value, tuple):
        return f"{value:.{digits}f}"
    if len(value) == 2:
        return f"{value[0]:.{digits}f} ({value[1]:.{digits}f})"
    return f"{value[0]:.{digits}f} [{value[1]:.{digits}f}; {value[2]:.{digits}f}]"


def first(value):
    return value[0] if isinstance(value, tuple) else value
