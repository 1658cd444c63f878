"""The prediction command of all papers: label maps, and the tables of volumes and function."""

import argparse
import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared import cli, cluster, datasets, ensembles, learned, prediction_list, runs, transfer
from shared.doubt import second
from shared.doubt.watch import Watch, held_by
from shared.errors import InputError
from shared.lazy import lazily
from shared.overlap import overlapped
from shared.prediction_jobs import Job, is_file_name, jobs
from shared.prediction_tables import check_tables, forget, table_paths, write_tables
from shared.progress import counted
from shared.scans import volume
from shared.scans.volume import Volume
from shared.segmenting import Segmenting, segment

with lazily():
    from shared.reports import predictions as report
    from shared.scoring import sheets


def parser(package: str, description: str, weights_help: str) -> cli.Parser:
    """The arguments that the prediction commands of all papers share.

    Args:
        package: of the paper.
        description: one line.
        weights_help: what --weights takes.
    """
    result = cli.Parser(prog=f"python -m {package}.predict", description=description)
    result.set_defaults(package=package)
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
    cluster.add_arguments(result, "with --list: segment scans", cores=1)
    result.add_argument(
        "-o", "--output", required=True, type=Path, help="label map (one scan; .dcm: DICOM SEG of a DICOM scan), or folder"
    )
    result.add_argument("--ed", nargs="+", type=Path, default=[], help="end-diastolic scans, one per patient")
    result.add_argument(
        "--es", nargs="+", type=Path, default=[], help="end-systolic scans of the same patients, in the same order"
    )
    result.add_argument(
        "--flips", action="store_true", help="mean of each network over the scan and the mirrored scan, if its training mirrored"
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
        if options.ray and not options.list:
            raise InputError("--ray is for the scans of a --list")
        if len(options.weights) > 1 or options.flips:
            loaded = functools.partial(ensembles.load, options.weights, options.package, options.flips)
            predict = ensembles.predict
        else:
            loaded = functools.partial(load, options.weights[0])
        if options.dataset:
            return score_dataset(options, loaded, predict)
        todo = jobs([*options.scans, *listed_in(options)], options.ed, options.es, options.output)
        if not options.list:  # which goes on after a scan that is not there
            for job in todo:
                volume.check_exists(job.scan)
        segmenter = loaded()
        for weights in options.weights:
            learned.warn(weights, [job.scan for job in todo])
        say_no_doubt(options.weights[0])
        check_tables(options.output, segmenter.structures, [job.scan for job in todo])
        if options.list:
            with runs.locked(options.output, "list", "--output"), running(options, segmenter, loaded, predict) as run:
                segment_list(options, todo, run)
        else:
            how = segmenting(options, segmenter, predict)
            try:
                segment(todo, how, options.ed, options.es, functools.partial(write_tables, output=options.output))
            except InputError as error:
                several = len(todo) > 1 and any(scan.is_dir() for scan in options.scans)
                raise InputError(f"{error}{'; --list goes on after such a scan' if several else ''}") from error
        page = options.output / runs.REPORT
        kept = page.exists()  # of an earlier command: it must not show label maps that are replaced
        if (options.pictures or kept) and not is_file_name(options.output):
            report.write(options.output, table_paths(options.output), segmenter.structures, options.weights)
        print(next_step(todo, page))


def next_step(todo: Sequence[Job], page: Path) -> str:
    """What to do when all is segmented: open `page`, if there is one, or a label map."""
    first = next((job for job in todo if job.output.exists()), todo[0])
    output = first.output if first.output.exists() else first.output.parent  # of a cine there is a SEG for each frame
    look = f"{page}, or " if page.exists() else ""
    return f"next: open {look}{output} over {first.scan} in a viewer such as ITK-SNAP or 3D Slicer"


def segmenting(options: argparse.Namespace, segmenter: Any, predict: Callable[[Any, Volume, Path], Volume]) -> Segmenting:
    """How the command segments a scan; for arguments see `command`."""
    structures = segmenter.structures
    watch = watching(options, segmenter, predict)
    return Segmenting(functools.partial(predict, segmenter), structures, drawing(options, structures), watch)


def listed_in(options: argparse.Namespace) -> list[Path]:
    """The scans of --list."""
    if not options.list:
        return []
    if options.scans or options.ed or options.es:
        raise InputError("--list names all scans by itself: give no SCAN, --ed or --es")
    return prediction_list.scans_of(options.list)


@contextlib.contextmanager
def running(
    options: argparse.Namespace,
    segmenter: Any,
    loaded: Callable[[], Any],
    predict: Callable[[Any, Volume, Path], Volume],
) -> Iterator[Callable[..., None]]:
    """What goes through the scans of a list within the block, see `prediction_list.segment_all`: this process with its segmenter,
    or processes of Ray, each of which loads it for itself; for arguments see `score_dataset`."""
    if not options.ray:
        how = segmenting(options, segmenter, predict)
        yield functools.partial(overlapped, read=how.read, work=how.label, write=how.write)
        return
    with cluster.connected(options.ray, options.cores) as found:
        print(f"on Ray, {counted(found.places, 'scan')} at a time", flush=True)
        yield functools.partial(cluster.each, found, make=lambda: segmenting(options, loaded(), predict).one)


def segment_list(options: argparse.Namespace, todo: Sequence[Job], run: Callable[..., None]) -> None:
    """The command with --list.

    Args:
        options: of the command.
        todo: all scans of the list.
        run: segments those that are missing, see `prediction_list.segment_all`.
    """
    missing = prediction_list.left(todo, options.output)
    done = len(todo) - len(missing)
    stay = ", which stay as they are: for other weights choose another --output" if done else ""
    print(f"{counted(len(todo), 'scan')}, {done} done before{stay}", flush=True)
    if options.pictures and done:
        print("pictures of those are not drawn again, nor those that are missing; report.html shows all")
    write = functools.partial(write_tables, output=options.output, order=[job.scan for job in todo])
    forget(options.output, [job.scan for job in missing])
    failed = prediction_list.segment_all(missing, run, write, options.output)
    if failed:
        text = f"{failed} of {len(todo)} scans could not be segmented, see {options.output / prediction_list.FAILURES}"
        if failed == len(todo):
            raise InputError(text)
        print(text)


def watching(options: argparse.Namespace, segmenter: Any, predict: Callable[[Any, Volume, Path], Volume]) -> Watch:
    """Who doubts the label maps: what the training of the first network held, and with --doubt thorough a second opinion, which
    is that of the last network of an ensemble, or of the one network about the scan moved by some voxels."""
    other: second.Predict | None = None
    if options.doubt == "thorough" and len(options.weights) > 1:
        other = functools.partial(ensembles.predict, ensembles.last_alone(segmenter))
    elif options.doubt == "thorough":
        other = second.of(functools.partial(predict, segmenter))
    return Watch(held_by(options.weights[0]), segmenter.structures, other)


def say_no_doubt(weights: Path) -> None:
    """Print a line where nobody will doubt the label maps."""
    if not held_by(weights):
        print(f"{weights} does not say what its training held: label maps get no doubt")


def drawing(options: argparse.Namespace, structures: Mapping[int, str]) -> Callable[[Path, Volume, Volume], None]:
    """What --pictures does with a label map's file, the scan and the label map: nothing where it was not given."""

    def draw(path: Path, scan: Volume, labels: Volume) -> None:
        if options.pictures:
            print(f"picture: {sheets.draw(path, scan, labels, structures)}")

    return draw


def score_dataset(options: argparse.Namespace, loaded: Callable[[], Any], predict: Callable[[Any, Volume, Path], Volume]) -> None:
    """The command with --dataset in the place of scans.

    Args:
        options, predict: see `command`.
        loaded: gives the segmenter.
    """
    if options.scans or options.list or options.ed or options.es or is_file_name(options.output):
        raise InputError("--dataset names all scans by itself: give no SCAN, --list, --ed or --es, and a folder for --output")
    root = cli.data_root(options.dataset, options.data_root, options.output)
    cases, facts = datasets.labelled(datasets.find(options.dataset, root)), []
    for weights in options.weights:
        cases, fact = learned.unseen(cases, options.dataset, weights)
        facts += [report.trained(weights), f"- {fact}"]
    facts += [f"- scored on {options.dataset}, {len(cases)} cases"]
    segmenter, known = loaded(), "\n".join(facts)
    predict_one, draw = functools.partial(predict, segmenter), drawing(options, segmenter.structures)
    say_no_doubt(options.weights[0])
    watch = watching(options, segmenter, predict)
    transfer.score(cases, segmenter.structures, predict_one, options.output, known, draw, watch)
