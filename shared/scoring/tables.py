"""Tables of runs beside the papers' own: Markdown, CSV and LaTeX, recomputed from `cases.csv` every time."""

from dataclasses import dataclass

import numpy as np

from shared.files import read_csv, write_csv, write_text
from shared.scoring import metrics, statistics

MEASURES = {
    "dice": "Dice",
    "assd_mm": "ASSD (mm)",
    "asd_mm": "ASD (mm)",
    "hausdorff_mm": "HD (mm)",
    "hausdorff_voxels": "HD (voxels)",
    "hausdorff_slice_mm": "HD slice-wise (mm)",
    "ef_correlation": "corr EF",
    "volume_correlation": "corr volume",
    "ef_agreement": "EF bias [LoA] (%)",
    "volume_agreement": "volume bias [LoA] (ml)",
}
SUMMARY_MEASURES = ("dice", "assd_mm", "hausdorff_mm")
VOLUMES = ("volume_ml", "reference_ml")
STATISTICS = {"correlation": statistics.correlation, "agreement": statistics.agreement}
NOT_RUN, QUOTED = "not run", "only quoted"


@dataclass(frozen=True)
class Cell:
    """One number of a paper's table, and ours."""

    row: str
    column: str
    measure: str
    paper: tuple | float
    ours: tuple | float | None  # None: no run
    n: int
    without_run: str = NOT_RUN  # what stands in its place then

    @property
    def difference(self):
        return None if self.ours is None else first(self.ours) - first(self.paper)


def read_cases(path, columns):
    """The rows of a cases.csv that has, beside what says which case and structure a row is of, the `columns` of numbers.

    Raises:
        InputError: as `files.read_csv`.
    """
    return read_csv(path, ("case", "patient", "phase", "structure", *columns))


def columns_of(table):
    """The columns of numbers in cases.csv that a published table is made from."""
    measures = [measure for _, _, measure in table["columns"]]
    derived = [measure for measure in measures if measure.partition("_")[2] in STATISTICS]
    return [*dict.fromkeys(measure for measure in measures if measure not in derived), *(VOLUMES if derived else ())]


def compare(table, rows_of):
    """The cells of a published table (see a paper's `PUBLISHED`), row by row.

    Args:
        table: its "columns" (structure, phase, measure) and "rows" (label, experiment, structure, values). Phase "" pools all; a
            structure that the column leaves open is the row's, and "mean" is every case's mean over its structures. A row whose
            experiment is None is only quoted from the paper. "patients", where it is there, maps labels of rows to the only
            patient that they are of.
        rows_of: experiment -> the rows of its cases.csv, those of several folds told apart by a column "fold"; an experiment
            that is missing was not run.
    """
    cells = []
    for label, experiment, row_structure, published in table["rows"]:
        rows = rows_of.get(experiment)
        if rows and label in table.get("patients", {}):
            rows = [row for row in rows if row["patient"] == table["patients"][label]]
        for (column_structure, phase, measure), paper in zip(table["columns"], published, strict=True):
            if paper is None:
                continue
            structure = column_structure or row_structure
            ours, n = measured(rows, structure, phase, measure) if rows else (None, 0)
            row = label if label == row_structure or not row_structure else f"{label}, {row_structure}"
            column = " ".join(filter(None, (column_structure, phase, MEASURES[measure])))
            cells.append(Cell(row, column, measure, paper, ours, n, NOT_RUN if experiment else QUOTED))
    return cells


def measured(rows, structure, phase, measure):
    """Our value of a measure, as (mean, std), correlation or (bias, low, high); and its n."""
    rows = [row for row in rows if structure in ("mean", row["structure"])]
    quantity, _, statistic = measure.partition("_")
    if statistic not in STATISTICS:
        summary = statistics.summary(by_case([row for row in rows if phase in ("", row["phase"])], measure).values())
        return (summary.mean, summary.std), summary.n
    ours, reference = ejection_fractions(rows) if quantity == "ef" else volumes(rows, phase)
    return STATISTICS[statistic](ours, reference)


def by_case(rows, measure):
    """(fold, case) -> mean of a measure over the rows of that case, undefined where one of them is."""
    values = {}
    for row in rows:
        values.setdefault((row.get("fold"), row["case"]), []).append(row[measure])
    return {case: float(np.mean(found)) for case, found in values.items()}


def volumes(rows, phase):
    """Predicted and reference volumes (ml) of the rows of one structure and phase."""
    rows = [row for row in rows if row["phase"] == phase]
    return [row["volume_ml"] for row in rows], [row["reference_ml"] for row in rows]


def ejection_fractions(rows):
    """Predicted and reference EF (%) of every patient (of every fold) with an ED and an ES row, of the rows of one structure; NaN
    where nothing was found at ED or at ES."""
    pairs = phases_of(rows)
    return tuple([metrics.ejection_fraction(ed[volume], es[volume]) for ed, es in pairs] for volume in VOLUMES)


def phases_of(rows):
    """The pairs (row at ED, row at ES) of every patient of every fold that has both, of the rows of one structure."""
    by_phase = {
        phase: {(row.get("fold"), row["patient"]): row for row in rows if row["phase"] == phase} for phase in ("ED", "ES")
    }
    patients = [patient for patient in by_phase["ED"] if patient in by_phase["ES"]]
    return [(by_phase["ED"][patient], by_phase["ES"][patient]) for patient in sorted(patients)]


def doubtful_function(rows):
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


def dice_by_case(rows):
    """Case -> mean Dice over its structures."""
    return {case: dice for (_, case), dice in by_case(rows, "dice").items()}


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
    doubtful = doubtful_function(rows)
    lines += ["", *doubtful] if doubtful else []
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
    usual = 3 if cell.measure == "dice" or cell.measure.endswith("correlation") else 2
    digits = max(usual, decimals(cell.paper))
    if cell.ours is None:
        return cell.row, cell.column, value_text(cell.paper, digits), cell.without_run, "", ""
    return (cell.row, cell.column, value_text(cell.paper, digits), value_text(cell.ours, digits),
            f"{cell.difference:+.{digits}f}", str(cell.n))  # fmt: skip


def value_text(value, digits):
    if not isinstance(value, tuple):
        return f"{value:.{digits}f}"
    if len(value) == 2:
        return f"{value[0]:.{digits}f} ({value[1]:.{digits}f})"
    return f"{value[0]:.{digits}f} [{value[1]:.{digits}f}; {value[2]:.{digits}f}]"


def decimals(value):
    """How many decimals a paper's number has, so that none is lost."""
    return max(len(str(part).partition(".")[2]) for part in (value if isinstance(value, tuple) else (value,)))


def first(value):
    return value[0] if isinstance(value, tuple) else value
