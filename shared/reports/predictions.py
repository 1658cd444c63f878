"""The report of a folder of label maps: volumes and function of every scan, and all its slices and frames."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared import provenance, runs
from shared.doubt.judge import FLAGGED
from shared.doubt.watch import doubted_ends
from shared.errors import InputError
from shared.files import read_csv
from shared.prediction_jobs import name_of
from shared.progress import Progress
from shared.reports import page, views
from shared.reports.page import Column, Entry, Page
from shared.reports.views import View
from shared.scans import orientation, volume
from shared.scoring import function, metrics

LAYER = "label map"
TEXT = f"""Volumes are those of the label maps. An ejection fraction (EF) is 100 (EDV - ESV) / EDV; of a cine, end-diastole
(ED) is the frame with the largest LV, and end-systole (ES) the one with the smallest. Mass is that of the myocardium at ED, with
{metrics.MYOCARDIUM_G_PER_ML} g/ml. Doubt, from 0 to 1, says how much label map and scan differ from those of the training; of a
cine it is that of the worst frame. A network can be wrong without a remark: look at the slices.
"""
DIGITS = {"frames": 0, "doubt": 2}  # after the point; volumes, EF and mass have one
Row = Mapping[str, Any]


def write(folder: Path, tables: tuple[Path, Path], structures: Mapping[int, str], weights: Sequence[Path]) -> None:
    """Write report.html into a folder of label maps.

    Args:
        folder: of the label maps.
        tables: its volumes.csv and function.csv; the second exists where there are ED and ES.
        structures: label value -> name.
        weights: of the command that wrote the last of them.
    """
    volumes, functions = tables
    frames: dict[str, list[Row]] = {}
    for row in read_csv(volumes, ("scan", "doubt", "reasons")):
        frames.setdefault(row["scan"], []).append(row)
    of_scan = {row["ed_scan"]: row for row in read_csv(functions, ("ed_scan",))} if functions.exists() else {}
    numbers = {scan: measured(rows, of_scan.get(scan), structures) for scan, rows in frames.items()}
    titles = list(dict.fromkeys(title for own in numbers.values() for title in own))
    entries = []
    for scan in Progress("drawing the report", len(frames)).over(list(frames)):
        values = [numbers[scan].get(title, float("nan")) for title in titles]
        drawing, missing = view_of(Path(scan), folder, structures, page.share(len(frames)))
        remarks = [missing, *remarks_on(frames[scan], of_scan.get(scan), structures)]
        entries.append(Entry(name_of(Path(scan)), values, "; ".join(filter(None, remarks)), drawing))
    page.write(
        folder / runs.REPORT,
        Page(
            title=f"Label maps in {folder.resolve().name}",
            text="\n".join([TEXT, *map(trained, weights), made_by()]),
            columns=[Column(title, DIGITS.get(title, 1)) for title in titles],
            entries=entries,
            structures=list(dict.fromkeys(structures.values())),
            layers=(LAYER,),
        ),
    )


def made_by() -> str:
    """A line about the command that writes this report, and the versions that it runs with."""
    origin = provenance.origin()
    versions = ", ".join(f"{name} {number}" for name, number in provenance.versions().items())
    typed = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return f"- this command: `{typed}`; commit {origin['commit']}; {versions}"


def trained(weights: Path) -> str:
    """A line about weights, and about the run that they are of."""
    record = runs.record_of(weights)
    if not record:
        return f"- weights: `{weights}`"
    known = {name: record.get(name, "unknown") for name in ("package", "experiment", "preset", "dataset", "commit")}
    return "- weights: `{}`, {package}, {experiment}, {preset} preset, trained on {dataset}, commit {commit}".format(
        weights, **known
    )


def measured(rows: Sequence[Row], both: Row | None, structures: Mapping[int, str]) -> dict[str, float]:
    """Title -> number of one scan: its doubt, of a cine that of the worst frame; the volumes of its one frame, or of a cine how
    many frames it has; then function.

    Args:
        rows: of volumes.csv, one per frame.
        both: the row of function.csv whose ED is in this scan.
        structures: label value -> name.
    """
    names = dict.fromkeys(structures.values())
    volumes: dict[str, float] = {f"{name} ml": rows[0][f"{name}_ml"] for name in names}
    doubts = [row["doubt"] for row in rows if row["doubt"] == row["doubt"]]
    found = {"doubt": max(doubts)} if doubts else {}
    found |= volumes if len(rows) == 1 else {"frames": float(len(rows))}
    for column, value in (both or {}).items():
        if not column.startswith(("ed_", "es_")):
            name, what, unit = column.split("_")
            found[f"{name} {what.upper() if what != 'mass' else what} {'%' if unit == 'percent' else unit}"] = value
    return found


def remarks_on(rows: Sequence[Row], both: Row | None, structures: Mapping[int, str]) -> list[str]:
    """What a reader should look at: nothing found, an ejection fraction that cannot be right, why the worst frame is doubted."""
    names = dict.fromkeys(structures.values())
    empty = [f"{row['frame']:.0f}" for row in rows if not any(row[f"{name}_ml"] for name in names)]
    where = "" if len(rows) == 1 else f" in frame {', '.join(empty)}"
    doubts = []
    if both:
        ed, es = ({"scan": both[f"{end}_scan"], "frame": round(both[f"{end}_frame"])} for end in ("ed", "es"))
        for cavity in (cavity for cavity in metrics.CAVITIES if cavity in names):
            volumes = ({**at, f"{cavity}_ml": both[f"{cavity}_{end}_ml"]} for at, end in ((ed, "edv"), (es, "esv")))
            doubts.append(function.doubt_of(cavity, *volumes))
        doubts.append(doubted_ends(both, rows))
    worst = max(rows, key=lambda row: -1.0 if row["doubt"] != row["doubt"] else row["doubt"])
    reasons = worst["reasons"].split("; ") if worst["doubt"] > FLAGGED else []
    return list(dict.fromkeys([f"nothing was found{where}" if empty else "", *doubts, *reasons]))


def view_of(scan: Path, folder: Path, structures: Mapping[int, str], most_bytes: int) -> tuple[View | None, str]:
    """The view of a scan and its label map, and what is wrong with it; None where one of them cannot be read any more, or they do
    not fit any more."""
    path = folder / f"{name_of(scan)}.nii.gz"
    try:
        labels, grey = volume.read_labels(path), volume.read_grey(scan)
        if labels.frames != grey.frames:
            raise InputError(f"{path}: {labels.frames} frames, but {scan} has {grey.frames}")
        labels = orientation.matched(grey, labels, (scan, path))
    except InputError as error:
        return None, str(error)
    unknown = [str(value) for value in np.unique(labels.array) if value not in (0, *structures)]
    problem = f"the label map has values of other structures, which are not drawn: {', '.join(unknown)}" if unknown else ""
    return views.view(grey, {LAYER: labels}, structures, most_bytes), problem
