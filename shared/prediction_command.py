"""The prediction command of all papers: label maps, and the tables of volumes and function."""

import argparse
import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared import cli, datasets, ensembles, prediction_list, runs, transfer
from shared.doubt import second
from shared.doubt.judge import IMPLAUSIBLE
from shared.doubt.watch import UNKNOWN, Watch, held_by, in_words
from shared.errors import InputError
from shared.lazy import lazily
from shared.prediction_jobs import Job, is_dicom, is_file_name, jobs, listed
from shared.prediction_tables import DOUBT, Row, check_tables, table_paths, write_tables
from shared.progress import Progress, clear_line
from shared.scans import volume
from shared.scans.volume import Volume
from shared.scoring import function, metrics

with lazily():
    from shared.reports import predictions as report
    from shared.scans.dicom import segmentation
    from shared.scoring import sheets


def segment(
    scans: Sequence[Job],
    predict: Callable[[Volume, Path], Volume],
    structures: Mapping[int, str],
    ed: Sequence[Path] = (),
    es: Sequence[Path] = (),
    write: Callable[[list[Row], list[Row]], None] = lambda volumes, functions: None,
    draw: Callable[[Path, Volume, Volume], None] = lambda path, scan, labels: None,
    watch: Watch | None = None,
) -> tuple[list[Row], list[Row]]:
    """Write the label map of every job, and return the tables of volumes, with doubts, and of function.

    A warning names each scan in which nothing was found, and a line each whose label map is doubtful.

    Args:
        scans: what to segment.
        predict: `predict(scan Volume, its path) -> label map Volume`.
        structures: label value -> name.
        ed, es: scans (paths) of the same patients, in the same order.
        draw: `draw(file of the label map, scan, label map)`, after that file is written.
        watch: who doubts the label maps; None: nobody.
        write: `write(volumes, functions)` receives both tables; after an error or Ctrl-C, those of the label maps written so far.

    Returns:
        Rows of `function.volumes_ml` for every scan and frame; rows of `function.function` for every ED/ES pair and every cine.
    """
    rows: dict[Path, list[Row]] = {}
    functions: list[Row] = []
    try:
        for job in Progress("scan", len(scans)).over(scans):
            scan = volume.read_grey(job.scan)
            if scan.frames > 1 and job.scan in (*ed, *es):
                raise InputError(f"{job.scan}: a cine of {scan.frames} frames, but --ed and --es expect one frame each; "
                                 "give it as SCAN, and ED and ES are found in it")  # fmt: skip
            shown = frames_with_contrast(scan, job.scan)
            try:
                labels = predict_shown(scan, shown, predict, job.scan)
            except InputError as error:
                raise InputError(f"{job.scan}: {error}") from error
            if not labels.array.any():
                text = f"{job.scan}: nothing was found in it, and its label map is empty"
                warnings.warn(f"{text}; is it a scan like those that the network learned from?", stacklevel=2)
            if is_dicom(job.output):
                segmentation.write(labels.array, job.scan, structures, job.output)
            else:
                volume.write(labels, job.output)
            draw(job.output, scan, labels)
            rows[job.scan] = doubted(function.volumes_ml(listed(job.scan), labels, structures), scan, labels, job, shown, watch)
            if labels.array.ndim == 4 and "LV" in structures.values():
                of_cine = function.of_cine([rows[job.scan][t] for t in shown], structures)
                functions += [of_cine] if of_cine else []
    finally:
        pairs = [(rows[first][0], rows[last][0]) for first, last in zip(ed, es, strict=True) if first in rows and last in rows]
        functions += [function.function(*pair, structures) for pair in pairs]
        doubt_function(functions, rows, structures)
        volumes = [row for frames in rows.values() for row in frames]
        if volumes:
            write(volumes, functions)
    return volumes, functions


def doubted(rows: list[Row], scan: Volume, labels: Volume, job: Job, shown: Sequence[int], watch: Watch | None) -> list[Row]:
    """The rows of the frames of a scan with the columns `DOUBT`; where one is flagged, a line is printed."""
    verdicts = watch.verdicts(scan, labels, job.scan, shown) if watch else [UNKNOWN] * len(rows)
    said = in_words(job.scan, verdicts)
    if said:
        clear_line()
        print(said)
    columns = (dict(zip(DOUBT, (verdict.doubt, verdict.reasons), strict=True)) for verdict in verdicts)
    return [{"scan": row["scan"], "frame": row["frame"], **more, **row} for row, more in zip(rows, columns, strict=True)]


def doubt_function(functions: Sequence[Row], rows: Mapping[Path, Sequence[Row]], structures: Mapping[int, str]) -> None:
    """Raise the doubt in the frames at ED and ES where an ejection fraction cannot be right."""
    by_place = {function.place(row): row for frames in rows.values() for row in frames}
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


def parser(prog: str, description: str, weights_help: str) -> cli.Parser:
    """The arguments that all prediction commands share."""
    result = cli.Parser(prog=prog, description=description)
    result.add_argument("--weights", required=True, type=Path, action="append", help=f"{weights_help}; repeated: their mean")
    result.add_argument(
        "scans",
        nargs="*",
        type=Path,
        metavar="SCAN",
        help="NIfTI, NRRD or MetaImage file, 3D or cine; a folder of such files; a DICOM folder",
    )
    result.add_argument(
        "--list", type=Path, metavar="TABLE.csv", help="instead of SCAN: a table with a column scan, of any length"
    )
    result.add_argument(
        "-o", "--output", required=True, type=Path, help="label map (one scan; .dcm: DICOM SEG of a DICOM scan), or folder"
    )
    result.add_argument("--ed", nargs="+", type=Path, default=[], help="end-diastolic scans, one per patient")
    result.add_argument(
        "--es", nargs="+", type=Path, default=[], help="end-systolic scans of the same patients, in the same order"
    )
    help_doubt = "how label maps are doubted: by what training held, or by a second look of the network too, at twice the time"
    result.add_argument("--doubt", choices=("quick", "thorough"), default="quick", help=f"{help_doubt} (default: quick)")
    pictures = "draw every label map over its scan, beside the label map; and, in a folder, report.html with all of them"
    result.add_argument("--pictures", action="store_true", help=pictures)
    cli.add_data(result, required=False)
    cli.add_debug(result)
    return result


def command(options: argparse.Namespace, load: Callable[[Path], Any], predict: Callable[[Any, Volume, Path], Volume]) -> None:
    """A paper's whole prediction command, after its arguments are read.

    Args:
        options: from `parser`.
        load: `load(weights path) -> segmenter`, whose `structures` are label value -> name.
        predict: `predict(segmenter, scan Volume, its path) -> label map Volume`.
    """
    with cli.one_line_errors(options.debug):
        if len(options.weights) > 1:
            load, predict = functools.partial(ensembles.load, package=load.__module__.partition(".")[0]), ensembles.predict
        if options.dataset:
            return score_dataset(options, load, predict)
        todo = jobs([*options.scans, *listed_in(options)], options.ed, options.es, options.output)
        segmenter = loaded(options.weights, load)
        for weights in options.weights:
            warn_of_phantoms(weights)
        check_tables(options.output, segmenter.structures, [job.scan for job in todo])
        one = functools.partial(
            segment,
            predict=functools.partial(predict, segmenter),
            structures=segmenter.structures,
            draw=drawing(options, segmenter.structures),
            watch=watching(options, segmenter, predict),
        )
        write = functools.partial(write_tables, output=options.output)
        if options.list:
            segment_list(options, todo, lambda job: one([job]), write)
        else:
            one(todo, ed=options.ed, es=options.es, write=write)
        kept = (options.output / runs.REPORT).exists()  # of an earlier command: it must not show label maps that are replaced
        if (options.pictures or kept) and not is_file_name(options.output):
            report.write(options.output, table_paths(options.output), segmenter.structures, options.weights)
        first = next((job for job in todo if job.output.exists()), todo[0])
        output = first.output if first.output.exists() else first.output.parent  # of a cine there is a SEG for each frame
        print(f"next: open {output} over {first.scan} in a viewer such as ITK-SNAP or 3D Slicer")


def listed_in(options: argparse.Namespace) -> list[Path]:
    """The scans of --list."""
    if not options.list:
        return []
    if options.scans or options.ed or options.es:
        raise InputError("--list names all scans by itself: give no SCAN, --ed or --es")
    return prediction_list.scans_of(options.list)


def segment_list(
    options: argparse.Namespace,
    todo: Sequence[Job],
    one: Callable[[Job], prediction_list.Rows],
    write: Callable[[list[Row], list[Row]], None],
) -> None:
    """The command with --list; for the other arguments see `prediction_list.segment_all`."""
    missing = prediction_list.left(todo, options.output)
    done = len(todo) - len(missing)
    stay = ", which stay as they are: for other weights choose another --output" if done else ""
    print(f"{len(todo)} scans, {done} of them done before{stay}", flush=True)
    failed = prediction_list.segment_all(missing, one, write, options.output, len(missing))
    if failed:
        text = f"{failed} of {len(todo)} scans could not be segmented, see {options.output / prediction_list.FAILURES}"
        if failed == len(todo):
            raise InputError(text)
        print(text)


def loaded(weights: Sequence[Path], load: Callable[[Any], Any]) -> Any:
    """The segmenter of the one run, or the ensemble of several."""
    return load(weights[0] if len(weights) == 1 else weights)


def warn_of_phantoms(weights: Path) -> None:
    """Warn where a run learned from the phantom alone, whose segmentation of a patient's scan looks better than it is."""
    if runs.record_of(weights).get("dataset") == datasets.PHANTOM:
        text = f"{weights}: this network learned from phantoms alone; what it finds in a patient's scan means nothing"
        warnings.warn(text, stacklevel=2)


def watching(options: argparse.Namespace, segmenter: Any, predict: Callable[[Any, Volume, Path], Volume]) -> Watch:
    """Who doubts the label maps: what the training of the first network held, and with --doubt thorough a second opinion, which
    is that of the last network of an ensemble, or of the one network about the scan moved by some voxels."""
    other: second.Predict | None = None
    if options.doubt == "thorough" and len(options.weights) > 1:
        other = functools.partial(ensembles.predict, ensembles.last_alone(segmenter))
    elif options.doubt == "thorough":
        other = second.of(functools.partial(predict, segmenter))
    held = held_by(options.weights[0])
    if not held:
        print(f"{options.weights[0]} does not say what its training held: label maps get no doubt")
    return Watch(held, segmenter.structures, other)


def drawing(options: argparse.Namespace, structures: Mapping[int, str]) -> Callable[[Path, Volume, Volume], None]:
    """What --pictures does with a label map's file, the scan and the label map: nothing where it was not given."""

    def draw(path: Path, scan: Volume, labels: Volume) -> None:
        if options.pictures:
            print(f"picture: {sheets.draw(path, scan, labels, structures)}")

    return draw


def score_dataset(
    options: argparse.Namespace, load: Callable[[Path], Any], predict: Callable[[Any, Volume, Path], Volume]
) -> None:
    """The command with --dataset in the place of scans; for arguments see `command`."""
    if options.scans or options.list or options.ed or options.es or is_file_name(options.output):
        raise InputError("--dataset names all scans by itself: give no SCAN, --list, --ed or --es, and a folder for --output")
    root = cli.data_root(options.dataset, options.data_root, options.output)
    cases, facts = datasets.labelled(datasets.find(options.dataset, root)), []
    for weights in options.weights:
        cases, fact = transfer.unseen(cases, options.dataset, weights)
        facts.append(fact if len(options.weights) == 1 else f"{weights.name}: {fact}")
    segmenter, known = loaded(options.weights, load), " ".join(facts)
    predict_one, draw = functools.partial(predict, segmenter), drawing(options, segmenter.structures)
    watch = watching(options, segmenter, predict)
    transfer.score(cases, segmenter.structures, predict_one, options.output, known, draw, watch)
