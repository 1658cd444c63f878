"""Predict, score and picture the held-out cases of a run, and pool folds."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from shared import runs
from shared.datasets import Case, load_image, load_reference
from shared.doubt.judge import Verdict
from shared.doubt.watch import Watch
from shared.errors import InputError
from shared.files import TEXT, fingerprint, read_csv, visible, write_csv, write_text
from shared.lazy import lazily
from shared.overlap import Outcome, overlapped
from shared.progress import Progress, duration
from shared.run_fields import HELD, TABLES
from shared.runs import Experiment, Record
from shared.scans import volume
from shared.scans.orientation import all_slices_last
from shared.scans.volume import Volume
from shared.scoring import metrics, scores, statistics, tables
from shared.scoring.scores import Scores

with lazily():
    from shared.doubt import caught, judge
    from shared.reports import scored as report
    from shared.reports import views
    from shared.scoring import plots

CASES, RESAMPLED, PREDICTIONS = "cases.csv", "cases_resampled.csv", "predictions"
HEADINGS = {RESAMPLED: "On the paper's grid:"}  # of tables in a summary; those of other files have the file's name
COLUMNS = (*tables.SUMMARY_MEASURES, *tables.VOLUMES)  # of numbers, which a summary is made from
SUMMARISED = ("fold", "case", "patient", "phase", "structure", *COLUMNS)

Rows = list[Scores]
Further = Mapping[str, tuple[Volume, Volume]]


def as_on_disk(case: Case, scan: Volume, reference: Volume) -> Volume:
    """The reference itself."""
    return reference


def read_scores(folder: Path, file: str, columns: Iterable[str]) -> Rows:
    """The rows of a table of scores in a finished run's folder, as the run wrote them: of the patients that it held out.

    Raises:
        InputError: see `tables.read_cases`; or the file is not as the run wrote it.
    """
    path, record = folder / file, runs.record_of(folder)
    rows = tables.read_cases(path, columns)
    written, test = record.get(TABLES, {}).get(file), record.get("split", {}).get("test")
    others = set(test) ^ {row["patient"] for row in rows} if test else set()
    if others or written not in (None, of_text(path)):
        what = f"not the scores of the patients that the run held out, such as {min(others)}" if others else "changed since"
        raise InputError(f"{path}: {what}; put the file back as the run wrote it, or remove the run folder to start again")
    return rows


def of_text(path: Path) -> str:
    """Fingerprint of a text file, whatever ends its lines: other systems change that in a copy."""
    return fingerprint(path.read_text(**TEXT))


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """How a finished run is scored. `predict` and `reference` get a case, its scan, and its reference as on disk.

    Attributes:
        predict: gives the label map on the scan's grid, with values as on disk, and any further scorings: file name ->
            (predicted, reference), two label maps of one grid. A pair called cases.csv, on the scan's grid, is scored in the
            place of that label map and `reference`.
        reference: gives what the label map is compared with.
        finish: called when all cases are scored, with cases.csv and predictions/ in place: draws the paper's own pictures, writes
            its own tables, and returns lines for the summary.
    """

    predict: Callable[[Case, Volume, Volume], tuple[Volume, Further]]
    reference: Callable[[Case, Volume, Volume], Volume] = as_on_disk
    finish: Callable[[], Sequence[str]] = field(default=tuple)


class Scored(NamedTuple):
    """What is kept of a case that was predicted.

    Attributes:
        rows: file name -> its rows there; cases.csv is the first.
        drawing: for report.html.
        verdict: how far its label map is doubted; None: nobody was asked.
    """

    rows: Mapping[str, Rows]
    drawing: "views.View"
    verdict: Verdict | None


def about(case: Case) -> dict[str, str]:
    """Columns that say which case a row of scores belongs to."""
    found = {"case": case.name, "patient": case.patient, "phase": case.phase, "group": case.group}
    return found | ({"vendor": case.vendor} if case.vendor else {})


def evaluate(
    experiment: Experiment,
    record: Record,
    cases: Sequence[Case],
    scorer: Scorer,
    changed: Sequence[str] = (),
    learned: Sequence[Case] = (),
) -> None:
    """Predict and score `cases`, and write predictions/, the tables, figures/, report.html and summary.md of the run.

    What training held goes into run.json, so that later predictions can be doubted.

    The summary comes last: it means "done".

    Args:
        experiment: which run this is.
        record: its run.json, to which the seconds are added.
        cases: labelled test cases.
        scorer: of the paper.
        changed: settings that are not those of the preset, as `recipes.changes` gives them.
        learned: labelled cases of the training.
    """
    start, folder, structures = time.monotonic(), experiment.folder, record.structures
    record.content[HELD] = held(learned, structures, scorer.reference)
    scored = predict_and_score(cases, scorer, structures, Watch(record.content[HELD], structures), folder)
    rows = {file: [row for one in scored.values() for row in one.rows[file]] for file in next(iter(scored.values())).rows}
    drawings = {name: one.drawing for name, one in scored.items()}
    verdicts = {name: one.verdict for name, one in scored.items() if one.verdict}
    write_scores(folder, rows)
    draw(folder, cases, rows[CASES], structures, scorer.reference)
    lines = [*scorer.finish(), *caught.write(folder, verdicts, rows[CASES])]
    record.content[TABLES] = {path.name: of_text(path) for path in visible(folder, "*.csv")}
    record.took("evaluate", time.monotonic() - start)
    record.write()
    other = [f"- settings that are not those of the preset: {', '.join(changed)}"] if changed else []
    text = summary([f"# {experiment.title}", "", *lines, "", *other, *facts(record.content)], rows)
    report.write(folder, text, rows[CASES], structures, drawings, visible(folder / "figures", "*.png"), verdicts)
    write_text(folder / runs.SUMMARY, text)
    for picture in sorted((folder / "figures").glob("*.png")):
        print(f"picture: {picture}")


def predict_and_score(
    cases: Sequence[Case], scorer: Scorer, structures: Mapping[int, str], watch: Watch, folder: Path
) -> dict[str, Scored]:
    """Write the label maps of a run's test cases to predictions/, and return what is kept of each case, by its name.

    While the network works on a case, the next is read and the one before is scored.

    Args:
        cases, scorer, structures: see `evaluate`.
        watch: who doubts the label maps.
        folder: of the run.
    """
    scored: dict[str, Scored] = {}
    progress = Progress("predicting and scoring", len(cases))

    def read(case: Case) -> tuple[Volume, Volume]:
        scan = load_image(case)
        return scan, load_reference(case, scan)

    def predict(case: Case, found: tuple[Volume, Volume]) -> tuple[Volume, Volume, Further]:
        scan, on_disk = found
        predicted, further = scorer.predict(case, scan, on_disk)
        own = {} if CASES in further else {CASES: (predicted, scorer.reference(case, scan, on_disk))}
        return scan, predicted, {**own, **further}

    def write(case: Case, found: tuple[Volume, Volume, Further]) -> Scored:
        scan, predicted, pairs = found
        volume.write(predicted, folder / PREDICTIONS / f"{case.name}.nii.gz")
        rows = {file: scores.score(*pair, structures, about(case), case.ignore) for file, pair in pairs.items()}
        verdict = watch.verdict(scan, pairs[CASES][0]) if watch.held else None
        return Scored(rows, report.drawing(scan, *pairs[CASES], structures, len(cases)), verdict)

    def done(case: Case, outcome: Outcome) -> None:
        scored[case.name] = outcome()
        progress.step()

    overlapped(cases, read, predict, write, done)
    return scored


def held(
    cases: Sequence[Case], structures: Mapping[int, str], reference_of: Callable[[Case, Volume, Volume], Volume]
) -> dict[str, list[float]]:
    """What the training cases had, see `judge.held`; `reference_of` as in `Scorer.reference`."""
    found, some = [], judge.some_of(cases)
    for case in Progress("what training held", len(some)).over(some):
        scan = load_image(case)
        found.append(judge.measured(scan, reference_of(case, scan, load_reference(case, scan)), structures))
    return judge.held(found)


def facts(record: Mapping[str, Any]) -> list[str]:
    """What a summary says of how the run was made."""
    took = ", ".join(f"{what} {duration(seconds)}" for what, seconds in record["seconds"].items())
    return [
        f"- command: `{record['command']}`",
        f"- commit {record['commit']}; {record['hardware']}; {took}",
        f"- data {record['dataset']}, fingerprint {record['data'][:12]}",
    ]


def write_scores(folder: Path, rows: Mapping[str, Rows]) -> None:
    """One CSV file per scoring."""
    for file, scored in rows.items():
        write_csv(folder / file, scored)


def summary(headline: Sequence[str], rows: Mapping[str, Rows]) -> str:
    """The text of summary.md, whose tables are printed: the headline, a table per scoring, and the rule of the measures."""
    lines: list[str] = []
    for file, scored in rows.items():
        heading = [] if file == CASES else [HEADINGS.get(file, f"{file}:"), ""]
        lines += [*heading, *tables.summarise(scored), ""]
    print("\n".join(["", *lines]))
    return "\n".join([*headline, "", *lines, scores.RULE, ""])


def pool(folders: Sequence[Path], target: Path) -> None:
    """Concatenate the scores of all folds into `target`, with a first column `fold`: cases.csv, and further scorings that every
    fold has.

    summary.md gives mean and std over all volumes of all folds.

    Args:
        folders: run folders, called fold0, fold1, ...
        target: the folder that receives the files.

    Raises:
        InputError: a fold whose cases.csv is missing or damaged.
    """
    further = [path.name for path in sorted(folders[0].glob("cases_*.csv"))]
    files = [CASES, *(file for file in further if all((folder / file).is_file() for folder in folders))]
    rows: dict[str, Rows] = {file: [] for file in files}
    for file, kept in rows.items():
        write_csv(target / file, noted(concatenated(folders, file), kept))
    names = ", ".join(folder.name for folder in folders)
    headline = [f"# {target.parent.name} on {target.name}, {len(folders)} folds", "",
                f"Pooled from {names}: n counts every volume of every fold."]  # fmt: skip
    write_text(target / runs.SUMMARY, summary(headline, rows))
    print(f"pooled {len(folders)} folds: {target / runs.SUMMARY}")


def concatenated(folders: Sequence[Path], file: str) -> Iterator[Scores]:
    """The rows of a CSV file of all `folders`, each with its fold; one folder is read at a time."""
    for folder in folders:
        for row in read_scores(folder, file, COLUMNS):
            yield {"fold": folder.name.removeprefix("fold"), **row}


def noted(rows: Iterable[Scores], kept: Rows) -> Iterator[Scores]:
    """Hand `rows` on, and keep of each what a summary is made from."""
    for row in rows:
        kept.append({name: sys.intern(value) if isinstance(value, str) else value
                     for name, value in row.items() if name in SUMMARISED})  # fmt: skip
        yield row


def draw(
    folder: Path, cases: Sequence[Case], rows: Rows, structures: Mapping[int, str], reference_of: Callable[..., Volume]
) -> None:
    """figures/: best, median and worst case, the learning curve, and agreement of EF where there are ED and ES."""
    figures, dice = folder / "figures", tables.dice_by_case(rows)
    ranked = sorted(cases, key=lambda case: dice[case.name])
    panels = []
    for name, case in tables.best_median_worst(ranked).items():
        scan = load_image(case)
        reference = reference_of(case, scan, load_reference(case, scan))
        predicted = volume.read_labels(folder / PREDICTIONS / f"{case.name}.nii.gz")
        image, predicted, reference = all_slices_last(scan, predicted, reference)
        panels.append((f"{name}: {case.name}\nreference", image, reference, reference))
        panels.append((f"{name}: {case.name}\npredicted, mean Dice {dice[case.name]:.3f}", image, predicted, reference))
    plots.overlay(figures / "best_median_worst.png", panels, structures)
    history = read_csv(folder / runs.HISTORY)
    losses = [column for column in ("loss", "val_loss") if column in history[0]]
    plots.learning_curve(figures / "learning_curve.png", history, [(losses, "log"), (["val_dice"], "linear")])
    functions = []
    for cavity in metrics.CAVITIES:
        ours, theirs = tables.ejection_fractions([row for row in rows if row["structure"] == cavity])
        if len(ours) > 1:
            functions.append((f"{cavity} ejection fraction", "%", ours, theirs, statistics.agreement(ours, theirs)[0]))
    if functions:
        plots.bland_altman(figures / "ejection_fraction.png", functions)
