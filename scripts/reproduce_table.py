"""Regenerate a table of a paper: run what is missing, then print the paper's numbers beside ours.

python scripts/reproduce_table.py baumgartner2017 {1,2,3} --data-root DIR [--preset quick] [--workdir runs]
python scripts/reproduce_table.py baumgartner2017 2 --report-only [--workdir runs]
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import acdc_segmenter_tf.recipe
import acdc_segmenter_tf.train
from shared import cli, datasets, evaluation, plots, report, runs, volume
from shared.errors import InputError
from shared.files import read_csv


@dataclass(frozen=True)
class Paper:
    """Where a paper's tables and commands are."""

    package: str
    recipe: ModuleType
    train: ModuleType
    dataset: str  # the one that its tables are about


CELLS = (
    "Cells: mean (population std), correlation, or bias [95 % limits of agreement, 1.96 sample std]; difference: ours - paper; "
    "n: defined cases of ours."
)
PAPERS = {"baumgartner2017": Paper("acdc_segmenter_tf", acdc_segmenter_tf.recipe, acdc_segmenter_tf.train, "acdc")}


def reproduce(paper, number, options):
    """Run the missing experiments of a table (unless told not to), then write and print it."""
    table = paper.recipe.PUBLISHED[number]
    dataset = options.dataset or paper.dataset
    experiments = list(dict.fromkeys(experiment for _, experiment, _, _ in table["rows"]))
    folders = {e: runs.folder_of(options.workdir, paper.package, e, options.preset, dataset, 0) for e in experiments}
    commands = {e: command_of(e, dataset, options) for e in experiments}
    if not options.report_only:
        root = cli.data_root(dataset, options.data_root, options.workdir)
        missing = [e for e in experiments if not runs.is_done(folders[e])]
        print(f"table {number} needs {len(experiments)} runs, {len(missing)} of them missing: {', '.join(missing) or 'none'}")
        for experiment in missing:
            command = [*commands[experiment], "--data-root", str(root), "--workdir", str(options.workdir)]
            print(f"\npython -m {paper.package}.train {shlex.join(command)}", flush=True)
            paper.train.main(command)
    rows_of = {e: read_csv(folders[e] / "cases.csv") for e in experiments if runs.is_done(folders[e])}

    cells = report.compare(table, rows_of)
    title = f"{options.paper} table {number}: {table['title']}; ours: {options.preset} preset on {dataset}"
    name = f"{options.paper}_table{number}" + ("" if options.preset == "paper" else f"_{options.preset}")
    reruns = [f"`python -m {paper.package}.train {shlex.join(command)} --data-root DIR`" for command in commands.values()]
    caption = f"{evaluation.RULE} {CELLS}"
    text = report.markdown(title, "\n".join([caption, "", "To run a row again:", "", *(f"- {rerun}" for rerun in reruns)]), cells)
    folder = options.workdir / "tables"
    report.write_tables(folder, name, title, caption, cells, text)
    print("\n" + text)
    for suffix in ("md", "csv", "tex"):
        print(f"wrote {folder / f'{name}.{suffix}'}")
    if rows_of and not options.report_only:
        picture(folder / f"{name}.png", rows_of, folders, datasets.find(dataset, root))


def command_of(experiment, dataset, options):
    preset = [] if options.preset == "paper" else ["--preset", options.preset]
    return ["--dataset", dataset, "--experiment", experiment, *preset]


def picture(path, rows_of, folders, cases):
    """Every run's label map of one patient at ED and ES under the reference: the patient of median Dice in the first run."""
    by_name = {case.name: case for case in cases}
    dice = report.dice_by_case(next(iter(rows_of.values())))
    patient = by_name[sorted(dice, key=lambda name: (dice[name], name))[len(dice) // 2]].patient
    rows = []
    for case in (case for case in cases if case.patient == patient):
        image, reference = datasets.load_image(case), volume.read_labels(case.label)
        rows.append((f"{case.name}\nreference", image, reference, reference))
        for experiment in rows_of:
            predicted = volume.read_labels(folders[experiment] / "predictions" / f"{case.name}.nii.gz")
            rows.append((f"{case.name}\n{experiment}", image, predicted, reference))
    plots.overlay(path, rows, case.structures)
    print(f"wrote {path}")


def main(arguments=None):
    parser = cli.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("paper", choices=PAPERS)
    parser.add_argument("table", type=int)
    cli.add_data(parser, required=False)
    parser.add_argument("--preset", default="paper", choices=("paper", "quick"))
    parser.add_argument("--workdir", type=Path, default=Path("runs"), help="where runs are, and the tables go (default: runs)")
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
