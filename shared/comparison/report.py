"""The tables of a comparison as Markdown and LaTeX for readers, and as CSV with all numbers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.comparison import measures
from shared.comparison.cost import Cost
from shared.comparison.entrants import Contest, Entrant
from shared.comparison.measures import ALPHA, COMPARED, NO_DIFFERENCE, Row
from shared.comparison.scored import Scored
from shared.files import write_csv, write_text
from shared.progress import duration
from shared.scoring import tables
from shared.scoring.published import MEAN, MEASURES
from shared.scoring.scores import RULE
from shared.scoring.tables import NOT_RUN

PAGE, FLOATS = "comparison.md", "comparison.tex"
NOTHING = "-"
TESTED = (
    "Tests: the scores of a patient's volumes are averaged first, because ED and ES of one patient are not independent; then "
    "Wilcoxon's signed-rank test, two-sided, for every pair of methods, its p corrected by Holm over all pairs (for each measure "
    "and structure by itself). A difference is shown where the corrected p is below 0.05 and the mean has the sign of the "
    "ranks, with the 95 % interval of the mean (bootstrap: patients are drawn 2000 times, with a fixed seed)."
)
RANKED = "Ranks: 1 is the best method for a patient, equal scores share a rank, an undefined distance is last; shown is the mean."
COSTS = (
    "Parameters: of all networks that predict. Training: without preparing the data, on the hardware of the run. Seconds and "
    "memory: of the whole prediction command for one volume, with the start of the libraries, in a process of its own."
)


@dataclass(frozen=True)
class Grid:
    """A table as it is printed."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def write(contest: Contest, scored: Scored, costs: Mapping[str, Cost], facts: Sequence[str]) -> str:
    """Write comparison.md, comparison.tex and the CSV files into the contest's folder; tables without rows have no file.

    Args:
        contest: what is compared.
        scored: its rows.
        costs: key of a method -> its cost.
        facts: lines about the data and the runs.

    Returns:
        What to print: the first table, and the names of the files.
    """
    numbers = {
        "methods": [method_row(entrant, costs.get(entrant.key, Cost())) for entrant in contest.entrants],
        "cases": scored.cases,
        "slices": scored.slices,
        "summaries": measures.summaries(scored.cases),
        "agreements": measures.agreements(scored.cases),
        "tests": measures.tests(scored.cases),
        "ranks": measures.ranks(scored.cases),
        "breakdown": measures.breakdown(scored.cases, scored.slices),
    }
    for name, rows in numbers.items():
        path = contest.folder / f"{name}.csv"
        if rows:
            write_csv(path, rows)
        else:
            path.unlink(missing_ok=True)  # of an earlier comparison
    grids = [overview(contest, numbers["summaries"], numbers["ranks"], costs)]
    if scored.cases:
        names = [entrant.name for entrant in contest.entrants]
        grids += [
            *score_grids(numbers["summaries"], names),
            *agreement_grids(numbers["agreements"], names),
            *difference_grids(numbers["tests"], names),
            *([rank_grid(numbers["ranks"])] if len(contest.compared) > 1 else []),
            *breakdown_grids(numbers["breakdown"]),
        ]
    caption = [
        *([contest.note] if contest.note else []),
        *without_maps(contest),
        "Cells: mean (population std), or bias [95 % limits of agreement, 1.96 sample std]; n: defined cases.",
        TESTED + in_vain(numbers["tests"]),
        RANKED,
        COSTS + measured_on(costs),
        RULE,
    ]
    write_text(contest.folder / PAGE, markdown(contest.title, grids, [*facts, *caption]))
    write_text(contest.folder / FLOATS, latex(contest.title, grids))
    grid = tables.markdown_lines(grids[0].header, grids[0].rows)
    return "\n".join([contest.title, "", *grid, "", *without_maps(contest), *wrote(contest.folder)])


def in_vain(tests: Sequence[Row]) -> str:
    """At most one sentence: that so few patients can show no difference between so many methods."""
    n, pairs = max((row["n"] for row in tests), default=0), len({(row["first"], row["second"]) for row in tests})
    least = pairs * 2 / 2**n  # p where one method is better for every patient, times the pairs
    if not tests or least < ALPHA:
        return ""
    return f" With {n} patients and {pairs} pairs of methods none can be shown: the corrected p is at least {min(least, 1):.2g}."


def without_maps(contest: Contest) -> list[str]:
    """At most one sentence: whose label maps are gone."""
    names = [entrant.name for entrant in contest.compared if not entrant.maps]
    what = "label maps are gone; the scores are those in cases.csv of the run, without slices and pictures."
    return [f"{', '.join(names)}: {what}"] if names else []


def measured_on(costs: Mapping[str, Cost]) -> str:
    """At most one sentence: the hardware of the predictions."""
    hardware = dict.fromkeys(cost.prediction.hardware for cost in costs.values() if cost.prediction)
    return f" Measured on: {'; '.join(hardware)}." if hardware else ""


def method_row(entrant: Entrant, cost: Cost) -> Row:
    """Whether a method was run, and what it costs; empty where that is not known."""
    each = cost.prediction
    return {
        "method": entrant.name,
        "state": "run" if entrant.was_run else NOT_RUN,
        "parameters": each.parameters if each else "",
        "training_s": "" if cost.training_s is None else cost.training_s,
        "prediction_s": each.seconds if each else "",
        "memory_gib": each.memory_gib if each else "",
        "hardware": each.hardware if each else "",
    }


def overview(contest: Contest, summaries: Sequence[Row], ranks: Sequence[Row], costs: Mapping[str, Cost]) -> Grid:
    """One line per method: Dice of each structure, mean rank, and what the method costs."""
    structures = list(dict.fromkeys(row["structure"] for row in summaries))
    dice = {(row["method"], row["structure"]): row for row in summaries if row["phase"] == "all"}
    first = {row["method"]: row["rank"] for row in ranks if row["measure"] == "dice" and row["structure"] == structures[0]}
    rows = []
    for entrant in contest.entrants:
        cost = costs.get(entrant.key, Cost())
        scores = [mean_and_std(dice[entrant.name, structure], "dice") for structure in structures] if entrant.was_run else []
        rank = f"{first[entrant.name]:.2f}" if entrant.was_run else NOTHING
        rows.append([entrant.name, *(scores or [NOT_RUN] * max(len(structures), 1)), rank, *cost_texts(cost)])
    header = [f"Dice {structure}" for structure in structures] or ["Dice"]
    costly = ["parameters", "training", "s per volume", "memory (GiB)"]
    return Grid("All methods", ["method", *header, "mean rank (Dice)", *costly], rows)


def cost_texts(cost: Cost) -> list[str]:
    """Parameters, training time, seconds and memory."""
    training = NOTHING if cost.training_s is None else duration(cost.training_s)
    if cost.prediction is None:
        return [NOTHING, training, NOTHING, NOTHING]
    each = cost.prediction
    return [f"{each.parameters:,}", training, f"{each.seconds:.1f}", f"{each.memory_gib:.2f}"]


def score_grids(summaries: Sequence[Row], names: Sequence[str]) -> list[Grid]:
    """One table per structure and phase."""
    header = ["method", "Dice", "HD (mm)", "ASSD (mm)", "n", "n of distances"]
    grids = []
    for structure, phase in dict.fromkeys((row["structure"], row["phase"]) for row in summaries):
        own = {row["method"]: row for row in summaries if (row["structure"], row["phase"]) == (structure, phase)}
        rows = [
            [name, *(mean_and_std(own[name], measure) for measure in COMPARED), str(own[name]["dice_n"]),
             str(own[name]["assd_mm_n"])] if name in own else [name, NOT_RUN, *[NOTHING] * 4]
            for name in names
        ]  # fmt: skip
        grids.append(Grid(f"{called(structure)}, {phase if phase != 'all' else 'all volumes'}", header, rows))
    return grids


def agreement_grids(agreements: Sequence[Row], names: Sequence[str]) -> list[Grid]:
    """Bias and limits, one table per structure: a line per method, a column per measure."""
    grids = []
    for structure in dict.fromkeys(row["structure"] for row in agreements):
        own = {(row["method"], row["measure"]): row for row in agreements if row["structure"] == structure}
        units = dict.fromkeys((measure, row["unit"]) for (_, measure), row in own.items())
        rows = [
            [name, *(bias_and_limits(own[name, measure]) for measure, _ in units)]
            if any((name, measure) in own for measure, _ in units)
            else [name, NOT_RUN, *[NOTHING] * (len(units) - 1)]
            for name in names
        ]
        header = ["method", *(f"{measure}, bias ({unit})" for measure, unit in units)]
        grids.append(Grid(f"{called(structure)}: agreement with the reference", header, rows))
    return grids


def difference_grids(tests: Sequence[Row], names: Sequence[str]) -> list[Grid]:
    """Dice of the method of a line minus that of a column, one table per structure."""
    grids = []
    for structure in dict.fromkeys(row["structure"] for row in tests):
        own = [row for row in tests if (row["measure"], row["structure"]) == ("dice", structure)]
        cells = {(row["first"], row["second"]): difference(row, 1) for row in own}
        cells |= {(row["second"], row["first"]): difference(row, -1) for row in own}
        tested = [name for name in names if any(name in pair for pair in cells)]
        rows = [[line, *(cells.get((line, column), "") for column in tested)] for line in tested]
        grids.append(Grid(f"{called(structure)}: difference in Dice, line - column", ["", *tested], rows))
    return grids


def difference(row: Row, sign: int) -> str:
    """A difference with its interval where one is shown."""
    if row["verdict"] == NO_DIFFERENCE:
        return NO_DIFFERENCE
    mean, *ends = (sign * row[column] for column in ("difference", "low", "high"))
    return f"{mean:+.3f} [{min(ends):.3f}; {max(ends):.3f}]"


def rank_grid(ranks: Sequence[Row]) -> Grid:
    """Mean ranks: a line per method, a column per measure and structure."""
    own = {(row["method"], row["measure"], row["structure"]): row["rank"] for row in ranks}
    columns = list(dict.fromkeys((measure, structure) for _, measure, structure in own))
    rows = [[name, *(f"{own[name, *column]:.2f}" for column in columns)] for name in dict.fromkeys(name for name, *_ in own)]
    return Grid("Mean ranks", ["method", *(f"{MEASURES[measure].title} {structure}" for measure, structure in columns)], rows)


def breakdown_grids(breakdown: Sequence[Row]) -> list[Grid]:
    """Dice by diagnosis, by phase and by position: a line per structure and method, a column per part."""
    grids = []
    for by in dict.fromkeys(row["by"] for row in breakdown):
        chosen = [row for row in breakdown if row["by"] == by]
        parts = {
            part: max(row["n"] for row in chosen if row["part"] == part) for part in dict.fromkeys(r["part"] for r in chosen)
        }
        own = {(row["structure"], row["method"], row["part"]): row for row in chosen}
        rows = [
            [called(structure), method, *(mean_and_std(own[structure, method, part], "dice", "std") for part in parts)]
            for structure, method in dict.fromkeys((structure, method) for structure, method, _ in own)
        ]
        header = ["structure", "method", *(f"{part or 'other'} (n = {n})" for part, n in parts.items())]
        grids.append(Grid(f"Dice by {by}" + (", slice by slice" if by == "position" else ""), header, rows))
    return grids


def called(structure: str) -> str:
    return "Mean over structures" if structure == MEAN else structure


def mean_and_std(row: Row, measure: str, std: str = "") -> str:
    digits = MEASURES[measure].digits
    return text(f"{row[measure]:.{digits}f} ({row[std or f'{measure}_std']:.{digits}f})")


def bias_and_limits(row: Row) -> str:
    return text(f"{row['bias']:.1f} [{row['low']:.1f}; {row['high']:.1f}]")


def text(numbers: str) -> str:
    """A cell; nothing where its numbers are undefined."""
    return NOTHING if "nan" in numbers else numbers


def markdown(title: str, grids: Iterable[Grid], caption: Iterable[str]) -> str:
    """The page in Markdown."""
    lines = [f"# {title}", ""]
    for grid in grids:
        lines += [f"## {grid.title}", "", *tables.markdown_lines(grid.header, grid.rows), ""]
    lines += [line for each in caption for line in (each, "")]
    return "\n".join(lines)


def latex(title: str, grids: Iterable[Grid]) -> str:
    """All tables as LaTeX floats."""
    return "\n".join(
        tables.latex_float(f"{title}. {grid.title}.", [tables.escaped(name) for name in grid.header], grid.rows, left=1)
        for grid in grids
    )


def wrote(folder: Path) -> list[str]:
    """Lines that say what was written."""
    tables, pictures = len(list(folder.glob("*.csv"))), len(list((folder / "figures").glob("*.png")))
    return [f"wrote {folder / PAGE}; beside it are {FLOATS}, {tables} tables as CSV, and {pictures} pictures in figures"]
