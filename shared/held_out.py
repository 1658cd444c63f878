"""Predict, score and picture the held-out cases of a run, and pool folds."""

import time

from shared import runs
from shared.datasets import load_image, load_reference
from shared.files import read_csv, write_csv, write_text
from shared.lazy import lazily
from shared.progress import Progress, duration
from shared.scans import volume
from shared.scans.orientation import all_slices_last
from shared.scoring import metrics, scores, statistics, tables

with lazily():
    from shared.scoring import plots

CASES, RESAMPLED = "cases.csv", "cases_resampled.csv"
COLUMNS = (*tables.SUMMARY_MEASURES, *tables.VOLUMES)  # what a summary is made from


def about(case):
    """Columns that say which case a row of scores is of."""
    return {"case": case.name, "patient": case.patient, "phase": case.phase, "group": case.group}


def evaluate(folder, cases, predict, record, headline, reference=load_reference, draw_own=lambda: None):
    """Predict and score `cases`, and write predictions/, cases.csv, summary.md and figures/ of the run.

    Args:
        folder: the run's.
        cases: labelled test cases.
        predict: `predict(scan Volume, case) -> (label map on the scan's grid, None)`, values as on disk; where the paper scores
            on another grid, (predicted, reference) there instead of None, scored into cases_resampled.csv and a second table.
        record: of `runs.opened`; its durations receive "evaluate".
        headline: first lines of summary.md.
        reference: `reference(case, scan Volume) -> label map on the scan's voxels`, by default what lies on disk.
        draw_own: draws the paper's own pictures, from cases.csv and predictions/. The summary comes last: it means "done".
    """
    start = time.monotonic()
    structures = {int(value): name for value, name in record["structures"].items()}
    rows, rows_resampled = [], []
    for case in Progress("predicting and scoring", len(cases)).over(cases):
        scan = load_image(case)
        predicted, on_papers_grid = predict(scan, case)
        volume.write(predicted, folder / "predictions" / f"{case.name}.nii.gz")
        rows += scores.score(predicted, reference(case, scan), structures, about(case), case.ignore)
        if on_papers_grid:
            rows_resampled += scores.score(*on_papers_grid, structures, about(case), case.ignore)
    write_scores(folder, rows, rows_resampled)
    draw(folder, cases, rows, structures, reference)
    draw_own()
    record["seconds"]["evaluate"] = round(time.monotonic() - start, 1)
    runs.write_record(folder, record)
    took = ", ".join(f"{what} {duration(seconds)}" for what, seconds in record["seconds"].items())
    facts = [
        f"- command: `{record['command']}`",
        f"- commit {record['commit']}; {record['hardware']}; {took}",
        f"- data {record['dataset']}, fingerprint {record['data'][:12]}",
    ]
    write_summary(folder, [*headline, "", *facts], rows, rows_resampled)
    for picture in sorted((folder / "figures").glob("*.png")):
        print(f"picture: {picture}")


def write_scores(folder, rows, rows_resampled):
    """cases.csv and, where there are such rows, cases_resampled.csv."""
    write_csv(folder / CASES, rows)
    if rows_resampled:
        write_csv(folder / RESAMPLED, rows_resampled)


def write_summary(folder, headline, rows, rows_resampled):
    """Write summary.md: the headline, the table of `rows`, where there are such rows that on the paper's grid, and the rule."""
    table = tables.summarise(rows)
    second = ["On the paper's grid:", "", *tables.summarise(rows_resampled), ""] if rows_resampled else []
    write_text(folder / runs.SUMMARY, "\n".join([*headline, "", *table, "", *second, scores.RULE, ""]))
    print("\n".join(["", *table, "", *second]))


def pool(folders, target):
    """Put the scores of every fold under each other: `target`/cases.csv (and cases_resampled.csv, where all folds have it) with
    a first column `fold`, and summary.md, where mean and std are over all volumes of all folds.

    Args:
        folders: run folders, called fold0, fold1, ...
        target: the folder that receives the files.
    """
    rows = stacked(folders, CASES)
    rows_resampled = stacked(folders, RESAMPLED) if all((folder / RESAMPLED).is_file() for folder in folders) else []
    write_scores(target, rows, rows_resampled)
    names = ", ".join(folder.name for folder in folders)
    headline = [f"# {target.parent.name} on {target.name}, {len(folders)} folds", "",
                f"Pooled from {names}: n counts every volume of every fold."]  # fmt: skip
    write_summary(target, headline, rows, rows_resampled)
    print(f"pooled {len(folders)} folds: {target / 'summary.md'}")


def stacked(folders, name):
    """The rows of the CSV file `name` of all `folders`, each with its fold."""
    return [
        {"fold": folder.name.removeprefix("fold"), **row}
        for folder in folders
        for row in tables.read_cases(folder / name, COLUMNS)
    ]


def draw(folder, cases, rows, structures, reference):
    """figures/: best, median and worst case, the learning curve, and agreement of EF where there are ED and ES."""
    dice = tables.dice_by_case(rows)
    ranked = sorted(cases, key=lambda case: dice[case.name])
    panels = []
    for name, case in (("best", ranked[-1]), ("median", ranked[len(ranked) // 2]), ("worst", ranked[0])):
        scan = load_image(case)
        predicted = volume.read_labels(folder / "predictions" / f"{case.name}.nii.gz")
        image, predicted, labels = all_slices_last(scan, predicted, reference(case, scan))
        panels.append((f"{name}: {case.name}\nreference", image, labels, labels))
        panels.append((f"{name}: {case.name}\npredicted, Dice {dice[case.name]:.3f}", image, predicted, labels))
    plots.overlay(folder / "figures" / "best_median_worst.png", panels, structures)
    history = read_csv(folder / runs.HISTORY)
    losses = [column for column in ("loss", "val_loss") if column in history[0]]
    plots.learning_curve(folder / "figures" / "learning_curve.png", history, [(losses, "log"), (["val_dice"], "linear")])
    functions = []
    for cavity in metrics.CAVITIES:
        ours, reference = tables.ejection_fractions([row for row in rows if row["structure"] == cavity])
        if len(ours) > 1:
            functions.append((f"{cavity} ejection fraction", "%", ours, reference, statistics.agreement(ours, reference)[0]))
    if functions:
        plots.bland_altman(folder / "figures" / "ejection_fraction.png", functions)
