"""Segmenting scans from file to file, and what clinicians read off the label maps: volumes (ml), EF (%) and mass (g)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared import cli, metrics, orientation, volume
from shared.errors import InputError
from shared.files import write_csv
from shared.progress import Progress


@dataclass(frozen=True)
class Job:
    """One scan to segment and the file that its label map goes to."""

    scan: Path
    output: Path


def jobs(scans, ed, es, output):
    """A `Job` for every scan; `ed` and `es` are scans too.

    Raises:
        InputError: no scans, ED and ES lists of different length, outputs that collide with each other or with a scan.
    """
    scans = list(dict.fromkeys([*scans, *ed, *es]))
    if not scans:
        raise InputError("no scans given: name at least one file, or --ed and --es files")
    if len(ed) != len(es):
        raise InputError(f"--ed names {len(ed)} scans and --es {len(es)}: expected one of each a patient, in the same order")
    if output.name.lower().endswith(volume.SUFFIXES):
        if not output.name.endswith(volume.WRITABLE):
            raise InputError(f"{output}: cannot write this format; expected {', '.join(volume.WRITABLE)}, or a folder")
        if len(scans) > 1:
            raise InputError(f"{output}: {len(scans)} label maps cannot go to one file; give a folder")
        result = [Job(scans[0], output)]
    elif output.is_file():
        raise InputError(f"{output}: a file; expected a folder, or a name that ends in {', '.join(volume.WRITABLE)}")
    else:
        result = [Job(scan, output / f"{volume.stem(scan.resolve())}.nii.gz") for scan in scans]
    taken = {}
    for job in result:
        if job.output.resolve() == job.scan.resolve():
            raise InputError(f"{job.scan}: the label map would replace the scan; choose another --output")
        if job.output in taken:
            raise InputError(f"{job.scan} and {taken[job.output]} would both be written to {job.output}; segment them one by one")
        taken[job.output] = job.scan
    return result


def segment(scans, predict, structures, ed=(), es=()):
    """Write the label map of every job, and return the tables of volumes and of function.

    Args:
        scans: list of `Job`.
        predict: `predict(scan Volume, its path) -> label map Volume`.
        structures: label value -> name.
        ed, es: scans (paths) of the same patients, in the same order.

    Returns:
        Rows of `volumes_ml` for every scan and frame; rows of `function` for every ED/ES pair and every cine.
    """
    table, functions = {}, []
    for job in Progress("scan", len(scans)).over(scans):
        scan = volume.read(job.scan)
        try:
            labels = predict(scan, job.scan)
        except InputError as error:
            raise InputError(f"{job.scan}: {error}") from error
        volume.write(labels, job.output)
        table[job.scan] = volumes_ml(job.scan, labels, structures)
        if labels.array.ndim == 4 and "LV" in structures.values():
            by_lv = sorted(table[job.scan], key=lambda row: row["LV_ml"])
            functions.append(function(by_lv[-1], by_lv[0], structures))
    for ed_scan, es_scan in zip(ed, es, strict=True):
        functions.append(function(table[ed_scan][0], table[es_scan][0], structures))
    return [row for rows in table.values() for row in rows], functions


def predict_frames(scan, predict_frame, structures):
    """Label map on the grid of `scan`, in its own order of axes; every frame of a cine by itself.

    Args:
        scan: `Volume` (x, y, z) or (x, y, z, t).
        predict_frame: `predict_frame(frame Volume (x, y, z) with its slices last) -> class indices (x, y, z)`, 0 = background.
        structures: label value on disk -> name, in the order of the classes.
    """

    def segment(ordered):
        frames = [predict_frame(ordered.frame(t)) for t in Progress("frame", scan.frames).over(range(scan.frames))]
        return frames[0] if scan.array.ndim == 3 else np.stack(frames, axis=3)

    values = np.array([0, *structures], np.uint8 if max(structures) < 256 else np.uint16)
    classes = orientation.with_slices_last(scan, segment)
    return classes.with_array(values[classes.array])


def volumes_ml(scan, labels, structures):
    """One row a frame: the volume of every structure in ml."""
    return [
        {"scan": str(scan), "frame": t + 1}
        | {
            f"{name}_ml": metrics.volume_ml(labels.frame(t).array == value, labels.spacing_mm)
            for value, name in structures.items()
        }
        for t in range(labels.frames)
    ]


def function(ed, es, structures):
    """End-diastolic and end-systolic volume (ml) and ejection fraction (%) of both ventricles, myocardial mass (g) at ED."""
    row = {"ed_scan": ed["scan"], "ed_frame": ed["frame"], "es_scan": es["scan"], "es_frame": es["frame"]}
    for cavity in ("LV", "RV"):
        if cavity in structures.values():
            edv, esv = ed[f"{cavity}_ml"], es[f"{cavity}_ml"]
            row |= {f"{cavity}_edv_ml": edv, f"{cavity}_esv_ml": esv, f"{cavity}_ef_percent": metrics.ejection_fraction(edv, esv)}
    if "Myo" in structures.values():
        row["Myo_mass_g"] = metrics.mass_g(ed["Myo_ml"])
    return row


def write_tables(volumes, functions, output):
    """Write volumes.csv and, where there are rows, function.csv into the folder `output`, or beside the file `output`."""
    is_file = output.name.lower().endswith(volume.SUFFIXES)
    folder, prefix = (output.parent, f"{volume.stem(output)}_") if is_file else (output, "")
    written = [(folder / f"{prefix}volumes.csv", volumes), (folder / f"{prefix}function.csv", functions)]
    for path, rows in written:
        if rows:
            write_csv(path, rows)
            print(f"wrote {path}")


def parser(prog, description, weights_help):
    """The arguments that all prediction commands share."""
    result = cli.Parser(prog=prog, description=description)
    result.add_argument("--weights", required=True, type=Path, help=weights_help)
    result.add_argument(
        "scans", nargs="*", type=Path, metavar="SCAN", help="NIfTI, NRRD or MetaImage file, 3D or cine; DICOM folder"
    )
    result.add_argument("-o", "--output", required=True, type=Path, help="label map (one scan), or folder")
    result.add_argument("--ed", nargs="+", type=Path, default=[], help="end-diastolic scans, one a patient")
    result.add_argument(
        "--es", nargs="+", type=Path, default=[], help="end-systolic scans of the same patients, in the same order"
    )
    cli.add_debug(result)
    return result


def command(options, load, predict):
    """A paper's whole prediction command, after its arguments are read.

    Args:
        options: of `parser`.
        load: `load(weights path) -> segmenter`, whose `structures` are label value -> name.
        predict: `predict(segmenter, scan Volume, its path) -> label map Volume`.
    """
    with cli.one_line_errors(options.debug):
        todo = jobs(options.scans, options.ed, options.es, options.output)
        segmenter = load(options.weights)
        tables = segment(todo, lambda scan, path: predict(segmenter, scan, path), segmenter.structures, options.ed, options.es)
        write_tables(*tables, options.output)
        print(f"next: open {todo[0].output} over {todo[0].scan} in a viewer such as ITK-SNAP or 3D Slicer")
