"""Regenerate a table of a paper: run what is missing, then print the paper's numbers next to ours.

python scripts/reproduce_table.py baumgartner2017 {1,2,3} --data-root DIR [--preset quick] [--fold K] [--workdir runs]
python scripts/reproduce_table.py baumgartner2017 2 --report-only [--workdir runs]
python scripts/reproduce_table.py --list
"""

import argparse
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import acdc_segmenter_tf.recipe
import acdc_segmenter_tf.train
import dense_unet.recipe
import dense_unet.train
import dr_unet.recipe
import dr_unet.train
import propagation.masks
import propagation.recipe
import propagation.train
import two_stage_unet.recipe
import two_stage_unet.train
from shared import cli, cluster, datasets, held_out, recipes, runs, together
from shared.comparison import median_patient
from shared.datasets import splits
from shared.errors import InputError
from shared.lifecycle import Method
from shared.runs import Experiment
from shared.scans.volume import Volume
from shared.scoring import tables
from shared.scoring.published import NATIVE, STATISTICS, Row, Scoring, Table
from shared.scoring.scores import RULE, Scores
from shared.trainings import Training, train_missing

Reference = Callable[[datasets.Case, Volume, Volume], Volume]
Run = tuple[str, str, int]  # experiment, data set and fold


@dataclass(frozen=True)
class Paper:
    """A paper whose tables can be reproduced.

    Attributes:
        method: what its package trains.
        published: number -> table of the paper; a table that the paper has only as pictures has a word for its number.
        train: the package's training command, which takes its arguments.
        reference: gives what its runs are scored against (see `held_out.Scorer`).
    """

    method: Method
    published: Mapping[Any, Table]
    train: Callable[[list[str]], None]
    reference: Reference = held_out.as_on_disk

    @property
    def package(self) -> str:
        """That reproduces it."""
        return self.method.package


# The only list of the papers: whoever adds one adds it here.
PAPERS = {
    "baumgartner2017": Paper(acdc_segmenter_tf.train.METHOD, acdc_segmenter_tf.recipe.PUBLISHED, acdc_segmenter_tf.train.main),
    "penso2020": Paper(dense_unet.train.METHOD, dense_unet.recipe.PUBLISHED, dense_unet.train.main),
    "vesal2020": Paper(dr_unet.train.METHOD, dr_unet.recipe.PUBLISHED, dr_unet.train.main),
    "wang2018": Paper(two_stage_unet.train.METHOD, two_stage_unet.recipe.PUBLISHED, two_stage_unet.train.main),
    "zheng2018": Paper(
        propagation.train.METHOD,
        propagation.recipe.PUBLISHED,
        propagation.train.main,
        functools.partial(propagation.masks.wall_on, rv_wall_mm=propagation.recipe.PROPAGATION.preparation.rv_wall_mm),
    ),
}
EXPLAINED = ("mean", "correlation", "agreement")  # the statistics that every caption explains, besides those of its table


def reproduce(name: str, number: int | str, options: argparse.Namespace) -> None:
    """Run the missing experiments of a table (unless told not to), then write and print it, once per way of scoring.

    Raises:
        InputError: a fold that there is not, a file without a split, or what the training command, the runs or their data refuse.
    """
    splits.check_alone(options.split, options.fold, "all")
    given = splits.in_file(Path(options.split)) if options.split not in ("", splits.COMMON) else None
    paper, table = PAPERS[name], PAPERS[name].published[number]
    if options.fold != "all":
        splits.check_fold(options.fold, max(map(paper.method.folds, paper.method.recipes.values())))
    which = number if isinstance(number, str) else f"table {number}"
    folds = (0,) if options.split else table.folds if options.fold == "all" else (options.fold,)
    made_from = list(dict.fromkeys(source(row, table, options) for row in table.rows if row.experiment))
    used = " and ".join(dict.fromkeys(dataset for _, dataset in made_from))
    wanted = [(*each, fold) for each in made_from for fold in folds]
    folders = {run: folder_of(paper, run, options) for run in wanted}
    if given:
        for folder in filter(runs.is_done, folders.values()):
            splits.check_made_on(given, runs.read_record(folder, "split")["split"], folder)
    if not options.report_only:
        roots = {dataset: cli.data_root(dataset, options.data_root, options.workdir) for _, dataset in made_from}
        missing = [run for run in wanted if not runs.is_done(folders[run])]
        names = ", ".join(f"{experiment} on {dataset} fold {fold}" for experiment, dataset, fold in missing)
        print(f"{which} needs {len(wanted)} runs, {len(missing)} of them missing: {names or 'none'}")
        trainings = {}
        for run in missing:
            places = ["--data-root", str(roots[run[1]]), "--workdir", str(options.workdir)]
            arguments = (*command_of(*run, table, options), *places)
            trainings[Training(paper.package, arguments, "{} on {} fold {}".format(*run))] = paper.train
        train_missing(trainings, options)
    done = {run: folder for run, folder in folders.items() if runs.is_done(folder)}
    of_folds = {each: [done[*each, fold] for fold in folds] for each in made_from if all((*each, fold) in done for fold in folds)}
    if not options.report_only:
        for each, finished in of_folds.items():
            together.score_missing(finished, functools.partial(labelled_in, each[1], roots[each[1]]))

    file = "_".join([name, which.replace(" ", ""), *parts_of(options)])
    changes = {run: changed(paper, run, folder, options) for run, folder in done.items()}
    part = f", split {Path(options.split).stem}" if options.split else f", fold {options.fold}"
    chosen = "" if folds == table.folds and not options.split else part
    title = f"{name} {which}: {table.title}; ours: {options.preset} preset on {used}{chosen}"
    commands = [command_of(*each, folds[0] if len(folds) == 1 else "all", table, options) for each in made_from]
    for command, each in zip(commands, made_from, strict=True):
        own = dict.fromkeys(change for run, found in changes.items() if run[:2] == each for change in found)
        command += [word for change in own for word in ("--set", change)]
    first = [next((folder for run, folder in done.items() if run[:2] == each), None) for each in made_from]
    reruns = [f"- `{runs.again(paper.package, *each)} --data-root DIR`" for each in zip(commands, first, strict=True)]
    for scoring in table.scorings:
        remarks = *unfinished(made_from, folds, done), *not_the_preset(changes, options)
        caption = " ".join([f"Scored {scoring.words}.", RULE, legend(table), *named(options.preset), *remarks])
        shown, added = table, dict[Row, Path]()
        if scoring.file == NATIVE.file:
            shown, added = together.with_rows(table, {row: of_folds.get(source(row, table, options), ()) for row in table.rows})
        scores = scores_of(shown, scoring, options, done)
        scores |= {row: tables.read_cases(file, tables.columns_of(table)) for row, file in added.items()}
        found = tables.compare(shown, scores)
        text = tables.markdown(title, "\n".join([caption, "", "To run a row again:", "", *reruns]), found)
        write(options.workdir / "tables", file + scoring.suffix, title, caption, found, text)
    if done and not options.report_only:
        picture(options.workdir / "tables" / f"{file}.png", done, roots, paper.reference)


def labelled_in(dataset: str, root: Path) -> list[datasets.Case]:
    """The labelled cases of a data set."""
    return datasets.labelled(datasets.find(dataset, root))


def parts_of(options: argparse.Namespace) -> list[str]:
    """What the name of a table's file says besides the table: preset, data set, split and fold, if they are not the paper's."""
    preset = [] if options.preset == "paper" else [options.preset]
    split = [Path(options.split).stem] if options.split else []
    fold = [] if options.fold == "all" else [f"fold{options.fold}"]
    return [*preset, *([options.dataset] if options.dataset else []), *split, *fold]


def changed(paper: Paper, run: Run, folder: Path, options: argparse.Namespace) -> list[str]:
    """The fields of a run's recipe that are not those of the preset, as `--set` takes them: of a run with `--set`, or an old one.

    Structures are left out, since a recipe takes those of the data set.
    """
    preset = paper.method.presets[options.preset](paper.method.recipes[run[0]])
    found = recipes.changes(runs.read_record(folder, "recipe")["recipe"], preset)
    return [change for change in found if not change.startswith("structures=")]


def named(preset: str) -> list[str]:
    """At most one sentence: whose settings the names of the rows tell."""
    words = f"Rows are named as in the paper; ours have the sizes of the {preset} preset."
    return [] if preset == "paper" else [words]


def not_the_preset(changes: Mapping[Run, Sequence[str]], options: argparse.Namespace) -> list[str]:
    """At most one sentence: which runs were made with other settings."""
    parts = [
        f"{name} on {dataset}, {f'split {Path(options.split).stem}' if options.split else f'fold {fold}'}: {', '.join(found)}"
        for (name, dataset, fold), found in changes.items()
        if found
    ]
    return [f"Not with the settings of the preset: {'; '.join(parts)}."] if parts else []


def source(row: Row, table: Table, options: argparse.Namespace) -> tuple[str, str]:
    """Experiment and data set of the runs that a row is made from."""
    return row.experiment, options.dataset or row.dataset or table.dataset


def folder_of(paper: Paper, run: Run, options: argparse.Namespace) -> Path:
    """Where a run lies."""
    name, dataset, fold = run
    return Experiment(
        package=paper.package, name=name, preset=options.preset, dataset=dataset, fold=fold, split=options.split,
        workdir=options.workdir,
    ).folder  # fmt: skip


def command_of(experiment: str, dataset: str, fold: int | str, table: Table, options: argparse.Namespace) -> list[str]:
    """Arguments of the training command that makes these runs."""
    preset = [] if options.preset == "paper" else ["--preset", options.preset]
    folds = ["--fold", str(fold)] if fold or len(table.folds) > 1 else []
    folds = ["--split", options.split] if options.split else folds
    return ["--dataset", dataset, "--experiment", experiment, *preset, *folds]


def scores_of(table: Table, scoring: Scoring, options: argparse.Namespace, done: Mapping[Run, Path]) -> dict[Row, list[Scores]]:
    """Row of the table -> the scores of all finished folds of its experiment, each with its fold."""
    columns = tables.columns_of(table)

    @functools.cache
    def pooled(made_from: tuple[str, str], file: str) -> list[Scores]:
        finished = [(fold, folder) for (*each, fold), folder in done.items() if tuple(each) == made_from]
        return [{"fold": fold, **each} for fold, folder in finished for each in held_out.read_scores(folder, file, columns)]

    return {row: pooled(source(row, table, options), row.file or scoring.file) for row in table.rows}


def legend(table: Table) -> str:
    """What the cells mean."""
    used = dict.fromkeys([*EXPLAINED, *(column.statistic for column in table.columns)])
    *words, last = (STATISTICS[statistic].words for statistic in used)
    return f"Cells: {', '.join(words)}, or {last}; difference: ours - paper; n: defined cases of ours."


def unfinished(made_from: Iterable[tuple[str, str]], folds: Sequence[int], done: Mapping[Run, Path]) -> list[str]:
    """At most one sentence: which folds count of the experiments that have finished some folds but not all."""
    counted = {each: [fold for fold in folds if (*each, fold) in done] for each in made_from}
    parts = [
        f"{experiment} on {dataset}: fold{'s' * (len(some) > 1)} {', '.join(map(str, some))} of {len(folds)}"
        for (experiment, dataset), some in counted.items()
        if 0 < len(some) < len(folds)
    ]
    return [f"Not all folds are finished; counted are {'; '.join(parts)}."] if parts else []


def write(folder: Path, name: str, title: str, caption: str, found: Sequence[tables.Comparison], text: str) -> None:
    """Write the table in its three forms, print it, and name the files."""
    tables.write_tables(folder, name, title, caption, found, text)
    print("\n" + text)
    print("\n".join(f"wrote {folder / f'{name}.{suffix}'}" for suffix in ("md", "csv", "tex")))


def picture(path: Path, done: Mapping[Run, Path], roots: Mapping[str, Path], reference_of: Reference) -> None:
    """Draw one patient by all runs of the first data set and its first finished fold."""
    dataset = next(found for found in roots if any(found == of_run for _, of_run, _ in done))
    first = min(fold for _, of_run, fold in done if of_run == dataset)
    folders = {run[0]: folder for run, folder in done.items() if run[1:] == (dataset, first)}
    median_patient.draw(path, folders, dataset, roots[dataset], reference_of)
    print(f"wrote {path}")


def all_tables() -> str:
    """A line for every table of every paper."""
    return "\n".join(
        f"{name} {number}: {table.title}; {len(table.rows)} rows, {table.dataset}"
        for name, paper in PAPERS.items()
        for number, table in paper.published.items()
    )


def main(arguments: Sequence[str] | None = None) -> None:
    whole_lines = argparse.RawDescriptionHelpFormatter  # of --list too
    parser = cli.Parser(description=__doc__.splitlines()[0], formatter_class=whole_lines)
    parser.add_argument("--list", action="version", version=all_tables(), help="print which tables there are")
    parser.add_argument("paper", choices=PAPERS)
    parser.add_argument("table", type=lambda text: int(text) if text.isdecimal() else text)
    cli.add_data(parser, required=False)
    parser.add_argument("--fold", type=cli.fold, default="all", help="one fold, or all that the table pools (default: all)")
    parser.add_argument("--split", default="", metavar="FILE|common", help="see the training commands; in the place of folds")
    presets = acdc_segmenter_tf.train.METHOD.presets
    parser.add_argument("--preset", default="paper", choices=presets, help="see the training commands (default: paper)")
    parser.add_argument("--workdir", type=cli.workdir, default=cli.RUNS, help="where runs are, and the tables go (default: runs)")
    cluster.add_arguments(parser, "train the missing runs", cores=4)
    parser.add_argument("--report-only", action="store_true", help="run nothing: a row without a run says so")
    cli.add_debug(parser)
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        if options.report_only and options.workdir != cli.RUNS and not options.workdir.is_dir():
            raise InputError(f"--workdir {options.workdir}: no such folder, so that nothing was run there")
        published = PAPERS[options.paper].published
        if options.table not in published:
            raise InputError(f"{options.paper} has no table {options.table} here; expected {', '.join(map(str, published))}")
        reproduce(options.paper, options.table, options)


if __name__ == "__main__":
    main()
