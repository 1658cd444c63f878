"""The training command of every paper: its arguments, and one run for each fold that is asked for."""

import contextlib
import shlex
import sys
from pathlib import Path

from shared import cli, datasets, held_out, runs
from shared.datasets import splits


def training_parser(package, description, recipes, default, presets):
    """The arguments of a training command, to which a paper may add its own.

    Args:
        package: whose `train` it is.
        description: one line.
        recipes, presets: the names to choose from.
        default: an experiment, or data set -> experiment; --experiment is then None where it is not given (see `experiment_of`).
    """
    parser = cli.Parser(prog=f"python -m {package}.train", description=description)
    cli.add_data(parser)
    given = None if isinstance(default, dict) else default
    shown = given or ", ".join(f"{experiment} for {dataset}" for dataset, experiment in default.items())
    parser.add_argument("--experiment", default=given, choices=recipes, help=f"which row of the paper (default: {shown})")
    parser.add_argument("--preset", default="paper", choices=presets, help="paper: the full recipe; quick: minutes on two cores")
    parser.add_argument("--fold", type=cli.fold, default=0, help="which part is held out: a number from 0, or all (default: 0)")
    parser.add_argument("--seed", type=cli.seed, default=0, help="of everything random (default: 0)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="override a field of the recipe; repeatable"
    )
    parser.add_argument("--workdir", type=cli.workdir, default=Path("runs"), help="where runs are kept (default: runs)")
    cli.add_debug(parser)
    parser.set_defaults(package=package)
    return parser


def run_experiments(parser, arguments, train, split_of, recipes, default, presets, folds, own=()):
    """Train the experiment that `arguments` ask for, on one fold or on all of them, which are then pooled.

    Args:
        parser: of `training_parser`.
        arguments: texts, None for those of the command line.
        train: a paper's `train(recipe, cases, workdir, *, dataset, experiment, preset, fold, seed, command, ...) -> run folder`.
        split_of: its `split_of(recipe, cases, fold) -> splits.Split`.
        recipes: experiment -> recipe.
        default: as in `training_parser`.
        presets: name -> function of a recipe.
        folds: the field of the recipe that says how many folds there are.
        own: names of the paper's own arguments, which `train` takes too.
    """
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        experiment = experiment_of(options, default)
        recipe = cli.override(presets[options.preset](recipes[experiment]), options.set)
        folds = folds_of(options, vars(recipe)[folds])
        root = cli.data_root(options.dataset, options.data_root, options.workdir)
        cases = datasets.labelled(datasets.find(options.dataset, root))
        split_of(recipe, cases, folds[-1])  # refuse too few patients now: the last fold is the first that gets none
        typed = f"{parser.prog} {shlex.join(sys.argv[1:] if arguments is None else arguments)}"
        folders = []
        for fold in folds:
            place = (options.workdir, options.package, experiment, options.preset, options.dataset, fold)
            with resumable(runs.folder_of(*place)):
                folders.append(
                    train(recipe, cases, options.workdir, dataset=options.dataset, experiment=experiment, preset=options.preset,
                          fold=fold, seed=options.seed, command=typed, **{name: vars(options)[name] for name in own})
                )  # fmt: skip
        if options.fold == "all":
            held_out.pool(folders, folders[0].parent)


def experiment_of(options, default):
    """--experiment, or else the default of `training_parser`: of a dictionary the one of --dataset, or its first."""
    if isinstance(default, dict):
        default = default.get(options.dataset, next(iter(default.values())))
    return options.experiment or default


def folds_of(options, count):
    """The folds to run of `count`: every one for "all".

    Raises:
        InputError: no such fold.
    """
    if options.fold == "all":
        return list(range(count))
    splits.check_fold(options.fold, count)
    return [options.fold]


@contextlib.contextmanager
def resumable(folder):
    """Let whoever presses Ctrl-C know that the run `folder` can go on, where it has a checkpoint."""
    try:
        yield
    except KeyboardInterrupt:
        again = any(folder.rglob(runs.CHECKPOINT))
        raise KeyboardInterrupt(*(["the same command goes on from the last checkpoint"] if again else [])) from None
