"""Regenerate a table of a paper: run what is missing, then print the paper's numbers beside ours.

python scripts/reproduce_table.py baumgartner2017 {1,2,3} --data-root DIR [--preset quick] [--fold K] [--workdir runs]
python scripts/reproduce_table.py baumgartner2017 2 --report-only [--workdir runs]
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import acdc_segmenter_tf.recipe
import acdc_segmenter_tf.train
import dr_unet.recipe
import dr_unet.train
import propagation.recipe
import propagation.train
from shared import cli, datasets, evaluation, runs
from shared.errors import InputError
from shared.lazy import lazily
from shared.scans import volume
from shared.scans.orientation import all_slices_last
from shared.scoring import tables

with lazily():
    from shared.scoring import plots


@dataclass(frozen=True)
class Paper:
    """Where a paper's tables and commands are."""

    package: str
    recipe: ModuleType
    train: ModuleType
    reference: Callable[[datasets.Case, volume.Volume], volume.Volume] = datasets.load_reference


CELLS = (
    "Cells: mean (population std), correlation, or bias [95 % limits of agreement, 1.96 sample std]; difference: ours - paper; "
    "n: defined cases of ours."
)
PAPERS = {
    "baumgartner2017": Paper("acdc_segmenter_tf", acdc_segmenter_tf.recipe, acdc_segmenter_tf.train),
    "vesal2020": Paper("dr_unet", dr_unet.recipe, dr_unet.train),
    "zheng2018": Paper(
        "propagation",
        propagation.recipe,
        propagation.train,
        lambda case, scan: propagation.train.on_disk(case, scan, propagation.recipe.PROPAGATION),
    ),
}


def reproduce(paper, number, options):
    """Run the missing experiments of a table (unless told not to), then write and print it, once per way of scoring."""
    table = paper.recipe.PUBLISHED[number]
    dataset = options.dataset or table["dataset"]
    folds = table["folds"] if options.fold == "all" else (options.fold,)
    experiments = list(dict.fromkeys(experiment for _, experiment, _, _ in table["rows"] if experiment))
    wanted = [(experiment, fold) for experiment in experiments for fold in folds]
    folders = {run: runs.folder_of(options.workdir, paper.package, run[0], options.preset, dataset, run[1]) for run in wanted}
    if not options.report_only:
        root = cli.data_root(dataset, options.data_root, options.workdir)
        missing = [run for run in wanted if not runs.is_done(folders[run])]
        names = ", ".join(f"{experiment} fold {fold}" for experiment, fold in missing)
        print(f"table {number} needs {len(wanted)} runs, {len(missing)} of them missing: {names or 'none'}")
        for run in missing:
            command = [*command_of(*run, table, dataset, options), "--data-root", str(root), "--workdir", str(options.workdir)]
            print(f"\npython -m {paper.package}.train {shlex.join(command)}", flush=True)
            paper.train.main(command)
    done = {run: folder for run, folder in folders.items() if runs.is_done(folder)}

    name = f"{options.paper}_table{number}" + ("" if options.preset == "paper" else f"_{options.preset}")
    chosen = "" if folds == table["folds"] else f", fold {options.fold}"
    title = f"{options.paper} table {number}: {table['title']}; ours: {options.preset} preset on {dataset}{chosen}"
    commands = [command_of(e, folds[0] if len(folds) == 1 else "all", table, dataset, options) for e in experiments]
    reruns = [f"- `python -m {paper.package}.train {shlex.join(command)} --data-root DIR`" for command in commands]
    for suffix, file, words in table["scores"]:
        caption = " ".join([f"Scored {words}.", evaluation.RULE, CELLS, *unfinished(experiments, folds, done)])
        cells = tables.compare(table, pooled(done, file, tables.columns_of(table)))
        text = tables.markdown(title, "\n".join([caption, "", "To run a row again:", "", *reruns]), cells)
        write(options.workdir / "tables", name + suffix, title, caption, cells, text)
    if done and not options.report_only:
        picture(options.workdir / "tables" / f"{name}.png", done, datasets.find(dataset, root), paper.reference)


def command_of(experiment, fold, table, dataset, options):
    preset = [] if options.preset == "paper" else ["--preset", options.preset]
    folds = ["--fold", str(fold)] if fold or len(table["folds"]) > 1 else []
    return ["--dataset", dataset, "--experiment", experiment, *preset, *folds]


def pooled(done, file, columns):
    """Experiment -> the rows of `file` of all its finished folds, each row with its fold."""
    rows_of = {}
    for (experiment, fold), folder in done.items():
        rows_of.setdefault(experiment, []).extend({"fold": fold, **row} for row in tables.read_cases(folder / file, columns))
    return rows_of


def unfinished(experiments, folds, done):
    """At most one sentence: of the experiments with some but not all folds finished, the folds that count."""
    counted = {experiment: [fold for fold in folds if (experiment, fold) in done] for experiment in experiments}
    parts = [
        f"{experiment}: fold{'s' * (len(some) > 1)} {', '.join(map(str, some))} of {len(folds)}"
        for experiment, some in counted.items()
        if 0 < len(some) < len(folds)
    ]
    return [f"Not all folds are finished; counted are {'; '.join(parts)}."] if parts else []


def write(folder, name, title, caption, cells, text):
    """Write the table in its three forms, print it, and name the files."""
    tables.write_tables(folder, name, title, caption, cells, text)
    print("\n" + text)
    for suffix in ("md", "csv", "tex"):
        print(f"wrote {folder / f'{name}.{suffix}'}")


def picture(path, done, cases, reference_of):
    """The label maps of one patient under the reference: all runs of the first finished fold, the first run's median patient."""
    first_fold = min(fold for _, fold in done)
    folders = {experiment: folder for (experiment, fold), folder in done.items() if fold == first_fold}
    by_name = {case.name: case for case in cases}
    dice = tables.dice_by_case(tables.read_cases(next(iter(folders.values())) / "cases.csv", ["dice"]))
    patient = by_name[sorted(dice, key=lambda name: (dice[name], name))[len(dice) // 2]].patient
    rows = []
    for case in (case for case in cases if case.patient == patient):
        scan = datasets.load_image(case)
        maps = [volume.read_labels(folder / "predictions" / f"{case.name}.nii.gz") for folder in folders.values()]
        image, reference, *maps = all_slices_last(scan, reference_of(case, scan), *maps)
        rows += [(f"{case.name}\n{name}", image, labels, reference)
                 for name, labels in zip(("reference", *folders), (reference, *maps), strict=True)]  # fmt: skip
    structures = runs.read_record(next(iter(folders.values())), "structures")["structures"]
    plots.overlay(path, rows, {int(value): name for value, name in structures.items()})
    print(f"wrote {path}")


def main(arguments=None):
    parser = cli.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("paper", choices=PAPERS)
    parser.add_argument("table", type=int)
    cli.add_data(parser, required=False)
    parser.add_argument("--fold", type=cli.fold, default="all", help="one fold, or all that the table pools (default: all)")
    parser.add_argument("--preset", default="paper", choices=("paper", "quick"))
    parser.add_argument(
        "--workdir", type=cli.workdir, default=Path("runs"), help="where runs are, and the tables go (default: runs)"
    )
    parser.add_argument("--report-only", action="store_true", help="run nothing: a row without a run says so")
    cli.add_debug(parser)
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        paper = PAPERS[options.paper]
        if options.table not in paper.recipe.PUBLISHED:
            raise InputError(
                f"{options.paper} has no table {options.table} here; expected {', '.join(map(str, paper.recipe.PUBLISHED))}"
            )
        reproduce(paper, options.table, options)


if __name__ == "__main__":
    main()
