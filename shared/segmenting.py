"""How a scan becomes a label map on disk, and rows of the tables of volumes and of function."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared.doubt.judge import IMPLAUSIBLE, Verdict
from shared.doubt.watch import UNKNOWN, Watch, doubted_ends, in_words
from shared.errors import InputError
from shared.lazy import lazily
from shared.overlap import Outcome, overlapped
from shared.prediction_jobs import Job, is_dicom, listed
from shared.prediction_tables import DOUBT, Row
from shared.progress import Progress, clear_line
from shared.scans import volume
from shared.scans.volume import Volume
from shared.scoring import function, metrics

with lazily():
    from shared.scans.dicom import segmentation

LABELS = 9  # different values at most make a label map, if they are whole numbers; scans have hundreds
Rows = tuple[list[Row], list[Row]]  # of volumes.csv and of function.csv


class Labelled(NamedTuple):
    """A scan, its label map, and which of its frames are not constant."""

    scan: Volume
    labels: Volume
    shown: Sequence[int]


@dataclass(frozen=True)
class Segmenting:
    """What is done with each scan; its three steps may run at the same time for different scans.

    Attributes:
        predict: `predict(scan, its path) -> label map`.
        structures: label value -> name.
        draw: `draw(file of the label map, scan, label map)`, after that file is written.
        watch: who doubts the label maps; None: nobody.
    """

    predict: Callable[[Volume, Path], Volume]
    structures: Mapping[int, str]
    draw: Callable[[Path, Volume, Volume], None] = lambda path, scan, labels: None
    watch: Watch | None = None

    def read(self, job: Job) -> Volume:
        """The scan; a warning names it if it seems to be a label map, as when the folder of an earlier --output is given."""
        scan = volume.read_grey(job.scan)
        sample = scan.frame(0).array[::3, ::3]
        values = np.unique(sample)
        if 1 < len(values) <= min(LABELS, sample.size / 100) and (values == np.rint(values)).all():
            text = f"{job.scan}: its values are {', '.join(f'{value:g}' for value in values)} only"
            warnings.warn(f"{text}, as in a label map; is it a scan?", stacklevel=2)
        return scan

    def label(self, job: Job, scan: Volume) -> Labelled:
        """Its label map; a warning names the scan if it is empty.

        Raises:
            InputError: see the papers' `predict`.
        """
        shown = frames_with_contrast(scan, job.scan)
        try:
            labels = predict_shown(scan, shown, self.predict, job.scan)
        except InputError as error:
            raise InputError(f"{job.scan}: {error}") from error
        if not labels.array.any():
            text = f"{job.scan}: nothing was found in it, and its label map is empty"
            warnings.warn(f"{text}; is it a scan like those that the network learned from?", stacklevel=2)
        return Labelled(scan, labels, shown)

    def write(self, job: Job, labelled: Labelled) -> Rows:
        """Write the label map and draw it; the rows of its frames, and of a cine that of its function."""
        scan, labels, shown = labelled
        if is_dicom(job.output):
            segmentation.write(labels.array, job.scan, self.structures, job.output)
        else:
            volume.write(labels, job.output)
        self.draw(job.output, scan, labels)
        rows = doubted(function.volumes_ml(listed(job.scan), labels, self.structures), labelled, job, self.watch)
        of_cine = None
        if labels.array.ndim == 4 and "LV" in self.structures.values():
            of_cine = function.of_cine([rows[t] for t in shown], self.structures)
        functions = [of_cine] if of_cine else []
        doubt_function(functions, rows, self.structures)
        shaky = doubted_ends(of_cine, rows) if of_cine else ""
        if shaky:
            warnings.warn(f"{job.scan}: {shaky}", stacklevel=2)
        return rows, functions

    def one(self, job: Job) -> Rows:
        """All three steps, one after the other."""
        return self.write(job, self.label(job, self.read(job)))


def segment(
    scans: Sequence[Job],
    how: Segmenting,
    ed: Sequence[Path] = (),
    es: Sequence[Path] = (),
    write: Callable[[list[Row], list[Row]], None] = lambda volumes, functions: None,
) -> Rows:
    """Write the label map of every job, and return the tables of volumes, with doubts, and of function.

    Args:
        scans: what to segment.
        how: see there.
        ed, es: scans (paths) of the same patients, in the same order.
        write: `write(volumes, functions)` receives both tables; after an error or Ctrl-C, those of the label maps written so far.

    Returns:
        Rows of `function.volumes_ml` for every scan and frame; rows of `function.function` for every ED/ES pair and every cine.
    """
    found: dict[Path, list[Row]] = {}
    functions: list[Row] = []
    progress = Progress("scan", len(scans))

    def read(job: Job) -> Volume:
        scan = how.read(job)
        if scan.frames > 1 and job.scan in (*ed, *es):
            raise InputError(f"{job.scan}: a cine of {scan.frames} frames, but --ed and --es expect one frame each; "
                             "give it as SCAN, and ED and ES are found in it")  # fmt: skip
        return scan

    def done(job: Job, outcome: Outcome) -> None:
        found[job.scan], of_cine = outcome()
        say_doubt(job, found[job.scan])
        functions.extend(of_cine)
        progress.step()

    try:
        overlapped(scans, read, how.label, how.write, done)
    finally:
        pairs = [(found[first][0], found[last][0]) for first, last in zip(ed, es, strict=True) if {first, last} <= found.keys()]
        of_pairs = [function.function(*pair, how.structures) for pair in pairs]
        volumes = [row for frames in found.values() for row in frames]
        doubt_function(of_pairs, volumes, how.structures)
        functions.extend(of_pairs)
        if volumes:
            write(volumes, functions)
    return volumes, functions


def doubted(rows: list[Row], labelled: Labelled, job: Job, watch: Watch | None) -> list[Row]:
    """The rows of the frames of a scan with the columns `DOUBT`."""
    scan, labels, shown = labelled
    verdicts = watch.verdicts(scan, labels, job.scan, shown) if watch else [UNKNOWN] * len(rows)
    columns = (dict(zip(DOUBT, (verdict.doubt, verdict.reasons), strict=True)) for verdict in verdicts)
    return [{"scan": row["scan"], "frame": row["frame"], **more, **row} for row, more in zip(rows, columns, strict=True)]


def say_doubt(job: Job, rows: Sequence[Row]) -> None:
    """Print a line about a scan if the label map of one of its frames is flagged."""
    said = in_words(job.scan, [Verdict(row["doubt"], row["reasons"]) for row in rows])
    if said:
        clear_line()
        print(said, flush=True)


def doubt_function(functions: Sequence[Row], rows: Sequence[Row], structures: Mapping[int, str]) -> None:
    """Raise the doubt in the frames at ED and ES where an ejection fraction cannot be right."""
    by_place = {function.place(row): row for row in rows}
    for both in functions:
        ends = [by_place[function.place({"scan": both[f"{end}_scan"], "frame": both[f"{end}_frame"]})] for end in ("ed", "es")]
        if ends[0] is ends[1]:
            continue  # a slip in the command, which says nothing about the label map
        texts = [function.doubt_of(cavity, *ends) for cavity in metrics.CAVITIES if cavity in structures.values()]
        for row in ends if any(texts) else ():
            row["doubt"] = float(np.fmax(row["doubt"], IMPLAUSIBLE))
            row["reasons"] = "; ".join(filter(None, [*texts, row["reasons"]]))


def frames_with_contrast(scan: Volume, path: Path) -> list[int]:
    """The frames of `scan`, from 0, that are not constant; all frames where every one is. A warning names the others."""
    frames = range(scan.frames)
    shown = [t for t in frames if scan.frame(t).array.min() < scan.frame(t).array.max()]
    if not shown or len(shown) == scan.frames:
        return list(frames)
    constant = ", ".join(str(t + 1) for t in frames if t not in shown)
    warnings.warn(f"{path}: frame {constant} of {scan.frames} is constant; its label map is empty", stacklevel=2)
    return shown


def predict_shown(scan: Volume, shown: Sequence[int], predict: Callable[[Volume, Path], Volume], path: Path) -> Volume:
    """The label map of `scan`, where `predict` sees only the frames `shown`; the other frames are 0."""
    if len(shown) == scan.frames:
        return predict(scan, path)
    found = predict(scan.with_array(scan.array[..., shown]), path).array
    labels = np.zeros(scan.array.shape, found.dtype)
    labels[..., shown] = found
    return scan.with_array(labels)
