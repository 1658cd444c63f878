"""The prediction command of all papers: label maps, and the tables of volumes and function."""

import argparse
import functools
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared import cli, datasets, ensembles, runs, transfer
from shared.errors import InputError
from shared.files import read_csv, write_csv
from shared.lazy import lazily
from shared.prediction_jobs import Job, is_dicom, is_file_name, jobs, listed, name_of
from shared.progress import Progress
from shared.scans import volume
from shared.scans.volume import Volume
from shared.scoring import function

with lazily():
    from shared.reports import predictions as report
    from shared.scans.dicom import segmentation
    from shared.scoring import sheets

Row = dict[str, Any]  # of a table: column -> value


def segment(
    scans: Sequence[Job],
    predict: Callable[[Volume, Path], Volume],
    structures: Mapping[int, str],
    ed: Sequence[Path] = (),
    es: Sequence[Path] = (),
    write: Callable[[list[Row], list[Row]], None] = lambda volumes, functions: None,
    draw: Callable[[Path, Volume, Volume], None] = lambda path, scan, labels: None,
) -> tuple[list[Row], list[Row]]:
    """Write the label map of every job, and return the tables of volumes and of function.

    A warning names each scan in which nothing was found.

    Args:
        scans: what to segment.
        predict: `predict(scan Volume, its path) -> label map Volume`.
        structures: label value -> name.
        ed, es: scans (paths) of the same patients, in the same order.
        draw: `draw(file of the label map, scan, label map)`, after that file is written.
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
            rows[job.scan] = function.volumes_ml(listed(job.scan), labels, structures)
            if labels.array.ndim == 4 and "LV" in structures.values():
                of_cine = function.of_cine([rows[job.scan][t] for t in shown], structures)
                functions += [of_cine] if of_cine else []
    finally:
        pairs = [(rows[first][0], rows[last][0]) for first, last in zip(ed, es, strict=True) if first in rows and last in rows]
        functions += [function.function(*pair, structures) for pair in pairs]
        volumes = [row for frames in rows.values() for row in frames]
        if volumes:
            write(volumes, functions)
    return volumes, functions


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


def write_tables(volumes: Sequence[Row], functions: Sequence[Row], output: Path) -> None:
    """Write volumes.csv and, where there are rows, function.csv into the folder `output`, or next to the file `output`.

    Rows that an earlier command wrote into the folder stay, unless the label map of their scan was replaced now.

    Args:
        volumes, functions: rows from `segment`.
        output: folder or file name, from the command line.
    """
    replaced = {name_of(Path(row["scan"])) for row in volumes}
    for path, rows in zip(table_paths(output), (volumes, functions), strict=True):
        kept = []
        if not is_file_name(output) and path.exists():
            kept = [row for row in earlier_rows(path, list(rows[0]) if rows else None) if not scans_of(row) & replaced]
        if kept or rows:
            write_csv(path, [*kept, *rows])
            print(f"wrote {path}")
        else:
            path.unlink(missing_ok=True)  # its label map was replaced


def check_tables(output: Path, structures: Mapping[int, str], scans: Iterable[Path]) -> None:
    """Check the tables in the folder `output`, and warn where the label map of another scan will be replaced.

    Args:
        output: folder or file name, from the command line.
        structures: label value -> name.
        scans: paths of those that will be segmented.

    Raises:
        InputError: rows for these structures cannot be added to a table.
    """
    earlier: list[Row] = []
    for path, columns in zip(table_paths(output), function.columns(structures), strict=True):
        if not is_file_name(output) and path.exists():
            earlier += earlier_rows(path, columns)
    before = {name_of(Path(row["scan"])): row["scan"] for row in earlier if "scan" in row}
    for scan in scans:
        other = before.get(name_of(scan))
        if other and Path(other).resolve() != scan.resolve():
            text = f"the label map of {other} is replaced by that of {scan}, which has the same name"
            warnings.warn(f"{text}; to keep both, choose another --output", stacklevel=2)


def earlier_rows(path: Path, columns: list[str] | None) -> list[Row]:
    """The rows of a table that an earlier command wrote.

    Args:
        path: of the file.
        columns: those that it must have; None allows any.

    Raises:
        InputError: see `files.read_csv`; or the table has other columns.
    """
    rows = read_csv(path, columns or ())
    if columns and list(rows[0]) != columns:
        raise InputError(f"{path}: a table of other structures, with the columns {', '.join(rows[0])[:100]}; choose another "
                         "--output or move it away")  # fmt: skip
    return rows


def scans_of(row: Row) -> set[str]:
    """The names of the label maps that a row of a table describes."""
    return {name_of(Path(row[column])) for column in ("scan", "ed_scan", "es_scan") if column in row}


def table_paths(output: Path) -> tuple[Path, Path]:
    """The files for the tables of volumes and of function."""
    folder, prefix = (output.parent, f"{volume.stem(output)}_") if is_file_name(output) else (output, "")
    return folder / f"{prefix}volumes.csv", folder / f"{prefix}function.csv"


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
        "-o", "--output", required=True, type=Path, help="label map (one scan; .dcm: DICOM SEG of a DICOM scan), or folder"
    )
    result.add_argument("--ed", nargs="+", type=Path, default=[], help="end-diastolic scans, one per patient")
    result.add_argument(
        "--es", nargs="+", type=Path, default=[], help="end-systolic scans of the same patients, in the same order"
    )
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
        todo = jobs(options.scans, options.ed, options.es, options.output)
        segmenter = loaded(options.weights, load)
        for weights in options.weights:
            warn_of_phantoms(weights)
        check_tables(options.output, segmenter.structures, [job.scan for job in todo])
        segment(
            todo,
            lambda scan, path: predict(segmenter, scan, path),
            segmenter.structures,
            options.ed,
            options.es,
            lambda volumes, functions: write_tables(volumes, functions, options.output),
            drawing(options, segmenter.structures),
        )
        kept = (options.output / runs.REPORT).exists()  # of an earlier command: it must not show label maps that are replaced
        if (options.pictures or kept) and not is_file_name(options.output):
            report.write(options.output, table_paths(options.output), segmenter.structures, options.weights)
        output = todo[0].output if todo[0].output.exists() else todo[0].output.parent  # of a cine there is a SEG for each frame
        print(f"next: open {output} over {todo[0].scan} in a viewer such as ITK-SNAP or 3D Slicer")


def loaded(weights: Sequence[Path], load: Callable[[Any], Any]) -> Any:
    """The segmenter of the one run, or the ensemble of several."""
    return load(weights[0] if len(weights) == 1 else weights)


def warn_of_phantoms(weights: Path) -> None:
    """Warn where a run learned from the phantom alone, whose segmentation of a patient's scan looks better than it is."""
    if runs.record_of(weights).get("dataset") == datasets.PHANTOM:
        text = f"{weights}: this network learned from phantoms alone; what it finds in a patient's scan means nothing"
        warnings.warn(text, stacklevel=2)


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
    if options.scans or options.ed or options.es or is_file_name(options.output):
        raise InputError("--dataset names all scans by itself: give no SCAN, --ed or --es, and a folder for --output")
    root = cli.data_root(options.dataset, options.data_root, options.output)
    cases, facts = datasets.labelled(datasets.find(options.dataset, root)), []
    for weights in options.weights:
        cases, fact = transfer.unseen(cases, options.dataset, weights)
        facts.append(fact if len(options.weights) == 1 else f"{weights.name}: {fact}")
    segmenter, known = loaded(options.weights, load), " ".join(facts)
    predict_one, draw = functools.partial(predict, segmenter), drawing(options, segmenter.structures)
    transfer.score(cases, segmenter.structures, predict_one, options.output, known, draw)
