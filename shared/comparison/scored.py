"""One evaluation for all methods: every label map scored in one way against the reference as on disk, whole and by slices.

A method's scores are kept in the folder `scores` of the contest, until its label maps, a reference or the code changes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared import held_out, provenance
from shared.comparison.entrants import Contest, Entrant
from shared.datasets import Case
from shared.datasets.case import check_values, read_reference, values_in
from shared.errors import InputError
from shared.files import as_written, fingerprint, read_json, write_json
from shared.progress import Progress
from shared.scans import volume
from shared.scans.orientation import matched
from shared.scans.volume import Volume
from shared.scoring import metrics, scores
from shared.scoring.scores import Scores

SHORT_AXIS_THIRDS = ("base", "middle", "apex")
OTHER_THIRDS = ("first third", "middle third", "last third")


@dataclass(frozen=True)
class Scored:
    """Rows of all methods; the column "method" has the method's name.

    Attributes:
        cases: one row per method, case and structure, as in cases.csv.
        slices: one row per method, case, slice and structure: see `along_axis`.
    """

    cases: list[Scores]
    slices: list[Scores]


def evaluate(contest: Contest) -> Scored:
    """Score the label maps of all methods, or take the scores that are kept; without label maps there are none of slices.

    Raises:
        InputError: a label map that does not lie on its reference, or has values that mean nothing.
    """
    found = Scored([], [])
    for entrant in contest.compared:
        own = scores_of(contest, entrant) if entrant.maps else {"cases": of_structures(entrant.rows, contest), "slices": []}
        for rows, each in ((found.cases, own["cases"]), (found.slices, own["slices"])):
            rows.extend({"method": entrant.name, **as_written(row)} for row in each)  # equal, whatever they come from
    return found


def of_structures(rows: Sequence[Scores], contest: Contest) -> list[Scores]:
    """The rows of the contest's structures, in the order in which label maps are scored."""
    found = {(row["case"], row["structure"]): row for row in rows}
    return [found[case.name, name] for case in contest.cases for name in dict.fromkeys(contest.structures.values())]


def scores_of(contest: Contest, entrant: Entrant) -> dict[str, list[Scores]]:
    """`score`, or what was kept of it."""
    path, key = contest.folder / "scores" / f"{entrant.key}.json", key_of(contest, entrant)
    kept = kept_in(path, key)
    if kept is None:
        kept = score(contest, entrant)
        write_json(path, {"key": of_content(key, kept), **kept})
    return kept


def key_of(contest: Contest, entrant: Entrant) -> str:
    """Fingerprint of all that the scores of a method depend on."""
    files = [path for case in contest.cases for path in (entrant.maps[case.name], *provenance.contents(case.label))]
    about = [(case.name, held_out.about(case), dict(case.structures), case.ignore) for case in contest.cases]
    return fingerprint(about, dict(contest.structures), dict(entrant.structures), contest.code, *files)


def kept_in(path: Path, key: str) -> dict[str, Any] | None:
    """The scores in a file, if they were made with this key; a damaged file counts as none."""
    try:
        content = read_json(path)
        written = content.pop("key")
    except (InputError, AttributeError, KeyError, TypeError):
        return None
    return content if written == of_content(key, content) else None


def of_content(key: str, scores: Mapping[str, Any]) -> str:
    """Fingerprint of scores and of what they depend on."""
    return fingerprint(key, json.dumps(scores))


def score(contest: Contest, entrant: Entrant) -> dict[str, list[Scores]]:
    """The rows of one method: those of `scores.score`, and those of `along_axis`."""
    cases: list[Scores] = []
    slices: list[Scores] = []
    for case in Progress(f"scoring {entrant.name}", len(contest.cases)).over(contest.cases):
        predicted, reference = pair_of(contest, entrant, case)
        arguments = predicted, reference, contest.structures, held_out.about(case), case.ignore
        try:
            cases += scores.score(*arguments)
        except InputError as error:
            raise InputError(f"{entrant.maps[case.name]}: {error}") from error
        slices += along_axis(*arguments, contest.on_short_axis)
    return {"cases": cases, "slices": slices}


def pair_of(contest: Contest, entrant: Entrant, case: Case) -> tuple[Volume, Volume]:
    """The label map of a method and what it is scored against, both on the voxels of the reference as on disk."""
    path, on_disk = entrant.maps[case.name], read_reference(case)
    labels = volume.read_labels(path)
    if case.closed:
        advice = "give label maps with the values of the data set"
        check_values(path, values_in(labels), {0: "background", **entrant.structures}, advice)
    labels = matched(on_disk, labels, (case.label, path))
    return entrant.as_compared(case, labels, on_disk), contest.reference_of(case, on_disk)


def on_scan(contest: Contest, entrant: Entrant, case: Case, scan: Volume) -> tuple[Volume, Volume]:
    """`pair_of` in the voxel order of the scan, for pictures."""
    predicted, reference = (matched(scan, labels, (case.image, case.label)) for labels in pair_of(contest, entrant, case))
    return predicted, reference


def along_axis(
    predicted: Volume,
    reference: Volume,
    structures: Mapping[int, str],
    about: Mapping[str, str],
    ignore: int | None,
    on_short_axis: bool,
) -> list[Scores]:
    """Dice of every slice of one case in which the reference has any structure.

    A slice that has a structure in neither label map has no row for it.

    Args:
        predicted, reference, structures, about, ignore: see `scores.score`; both label maps have the same voxels.
        on_short_axis: whether position 0 is the base. That is the end at which the reference is wider; on other scans position 0
            is the first slice that is stored.

    Returns:
        Rows with the columns `about`, structure, position (of the slice's middle, from 0 to 1 along the reference's extent),
        third (its name) and dice.
    """
    masks, _ = scores.masks_of(predicted, reference, structures, about["case"], ignore)
    areas = np.sum([b.sum(axis=(0, 1)) for _, b in masks.values()], axis=0)
    occupied = np.flatnonzero(areas)
    if not occupied.size:
        return []
    extent = np.arange(occupied[0], occupied[-1] + 1)
    if on_short_axis and np.average(extent, weights=areas[extent]) > extent.mean():
        extent = extent[::-1]
    thirds, rows = SHORT_AXIS_THIRDS if on_short_axis else OTHER_THIRDS, []
    for structure, (a, b) in masks.items():
        for place, z in enumerate(extent):
            if a[..., z].any() or b[..., z].any():
                third = thirds[3 * place // len(extent)]
                where = {"structure": structure, "position": (place + 0.5) / len(extent), "third": third}
                rows.append({**about, **where, "dice": float(metrics.dice(a[..., z], b[..., z]))})
    return rows
