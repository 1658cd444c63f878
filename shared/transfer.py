"""A trained network on all labelled scans of a data set, which may be another than the one that it learned from.

    python -m acdc_segmenter_tf.predict --weights RUN --dataset mnms --data-root DIR -o OUT

writes every label map, cases.csv, report.html, and summary.md, whose tables break the scores down by diagnosis and by the
scanner's vendor.
"""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from shared import runs
from shared.datasets import IGNORED, Case, load_image, load_reference
from shared.datasets.case import as_classes, classes_of
from shared.doubt.watch import Watch
from shared.errors import InputError
from shared.files import write_csv, write_text
from shared.held_out import CASES, Scored, about
from shared.lazy import lazily
from shared.overlap import Outcome, overlapped
from shared.progress import Progress, counted
from shared.scans import volume
from shared.scans.volume import Volume
from shared.scoring import tables
from shared.scoring.scores import RULE, Scores
from shared.scoring.scores import score as score_pair

with lazily():
    from shared.doubt import caught
    from shared.reports import scored as report

PARTS = {"vendor": "vendor", "group": "diagnosis"}  # column of cases.csv -> what it is called


def check_output(cases: Sequence[Case], output: Path) -> None:
    """Raise InputError if what is written into `output` would replace a run, a scan or a reference."""
    if (output / runs.RECORD).exists():
        raise InputError(f"{output}: a run, whose scores would be replaced; choose another --output")
    if any((output / file).is_dir() for file in (CASES, runs.REPORT)) or (output.exists() and not output.is_dir()):
        raise InputError(f"{output}: expected a folder for label maps, {CASES} and {runs.REPORT}; choose another --output")
    inputs = {os.path.realpath(path) for case in cases for path in (case.image, case.label) if path}
    for case in cases:
        if os.path.realpath(output / f"{case.name}.nii.gz") in inputs:
            raise InputError(f"{output}: label maps would replace files of the data set; choose another --output")


def score(
    cases: Sequence[Case],
    structures: Mapping[int, str],
    predict: Callable[[Volume, Path], Volume],
    output: Path,
    fact: str,
    draw: Callable[[Path, Volume, Volume], None] = lambda path, scan, labels: None,
    watch: Watch | None = None,
) -> None:
    """Predict and score labelled cases, write label maps, tables and report.html into the folder `output`, and print the tables.

    Structures are matched by name, so the label values of network and data set may differ. The label maps have the network's.
    After an error or Ctrl-C, cases.csv has the rows of the label maps written so far.

    Args:
        cases: of one data set.
        structures: label value of the network -> name.
        predict: `predict(scan, its path) -> label map`.
        output: a folder.
        fact: a sentence for the summary.
        draw: `draw(file of the label map, scan, label map)`.
        watch: who doubts the label maps; None: nobody.

    Raises:
        InputError: network and data set have no structure in common, a case that cannot be used, or an output folder that holds
            what must not be replaced.
    """
    classes = dict(enumerate(in_common(structures, cases[0].structures), start=1))
    check_output(cases, output)
    scored: dict[str, Scored] = {}
    try:
        predict_and_score(cases, structures, classes, predict, output, draw, watch, scored)
    finally:
        rows = [row for one in scored.values() for row in one.rows[CASES]]
        if rows:
            write_csv(output / CASES, rows)
    drawings = {name: one.drawing for name, one in scored.items()}
    verdicts = {name: one.verdict for name, one in scored.items() if one.verdict}
    left_out = [name for name in structures.values() if name not in classes.values()]
    values = ", ".join(f"{value} {name}" for value, name in structures.items())
    lines = [
        fact,
        f"- values in the label maps: {values}",
        *([f"- not scored, since the data set does not label it: {', '.join(left_out)}"] if left_out else []),
        "",
    ]
    lines += [*tables.summarise(rows), *by_part(rows), *caught.write(output, verdicts, rows)]
    text = "\n".join([f"# {output.resolve().name}: {counted(len(cases), 'case')}", "", *lines, "", RULE, ""])
    write_text(output / runs.SUMMARY, text)
    report.write(output, text, rows, classes, drawings, verdicts=verdicts)
    print("\n".join(["", *lines, "", f"wrote {output / CASES} and {output / runs.SUMMARY}"]))


def predict_and_score(
    cases: Sequence[Case],
    structures: Mapping[int, str],
    classes: Mapping[int, str],
    predict: Callable[[Volume, Path], Volume],
    output: Path,
    draw: Callable[[Path, Volume, Volume], None],
    watch: Watch | None,
    scored: dict[str, Scored],
) -> None:
    """Write and draw the label map of every case, and add to `scored`, by the case's name, what is kept of it.

    While the network works on a case, the next is read and the one before is scored.

    Args:
        classes: label value -> name of the structures that are scored; for the other arguments see `score`.
    """
    names = list(classes.values())
    progress = Progress("predicting and scoring", len(cases))

    def read(case: Case) -> tuple[Volume, Volume]:
        scan = load_image(case)
        return scan, classes_of(case, load_reference(case, scan), names)

    def label(case: Case, read: tuple[Volume, Volume]) -> tuple[Volume, Volume, Volume]:
        scan, reference = read
        try:
            found = predict(scan, case.image)
        except InputError as error:
            raise InputError(f"{case.image}, {case.name}: {error}") from error
        if not found.array.any():
            warnings.warn(f"{case.image}, {case.name}: nothing was found in it, and its label map is empty", stacklevel=2)
        return scan, found, reference

    def write(case: Case, labelled: tuple[Volume, Volume, Volume]) -> Scored:
        scan, found, reference = labelled
        path = output / f"{case.name}.nii.gz"
        volume.write(found, path)
        draw(path, scan, found)
        verdict = watch.verdicts(scan, found, case.image, range(scan.frames))[0] if watch and watch.held else None
        predicted = as_classes(found, structures, names)
        rows = score_pair(predicted, reference, classes, about(case), None if case.ignore is None else IGNORED)
        return Scored({CASES: rows}, report.drawing(scan, predicted, reference, classes, len(cases)), verdict)

    def done(case: Case, outcome: Outcome) -> None:
        scored[case.name] = outcome()
        progress.step()

    overlapped(cases, read, label, write, done)


def in_common(structures: Mapping[int, str], on_disk: Mapping[int, str]) -> list[str]:
    """The names of the network's structures that the data set labels too, whatever their case.

    Raises:
        InputError: there are none.
    """
    labelled = {name.casefold() for name in on_disk.values()}
    names = [name for name in structures.values() if name.casefold() in labelled]
    if not names:
        finds, has = ", ".join(structures.values()), ", ".join(dict.fromkeys(on_disk.values()))
        raise InputError(f"the network finds {finds}, but the data set labels {has}: there is nothing to score")
    return names


def by_part(rows: Sequence[Scores]) -> list[str]:
    """A table for each of `PARTS` by which the cases differ."""
    lines = []
    for column, word in PARTS.items():
        if len({row.get(column, "") for row in rows}) > 1:
            lines += ["", f"By {word}:", "", *tables.summarise_by(rows, column, word)]
    return lines
