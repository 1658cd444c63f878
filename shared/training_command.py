"""The training command of every paper: its arguments, and one run for each fold that is asked for."""

import argparse
import contextlib
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from shared import cli, datasets, held_out, recipes, runs
from shared.datasets import splits
from shared.lazy import lazily
from shared.lifecycle import Method, split_of
from shared.runs import REPORT, Experiment

with lazily():
    from shared import together


def training_parser(method: Method, description: str) -> cli.Parser:
    """The arguments of a training command, to which a paper may add its own.

    Args:
        method: of the paper.
        description: one line.
    """
    default = method.default
    parser = cli.Parser(prog=f"python -m {method.package}.train", description=description)
    cli.add_data(parser)
    shown = default if isinstance(default, str) else ", ".join(f"{name} for {dataset}" for dataset, name in default.items())
    parser.add_argument("--experiment", choices=method.recipes, help=f"which row of the paper (default: {shown})")
    presets = "paper: the full recipe; on two cores medium takes hours, quick minutes (default: paper)"
    parser.add_argument("--preset", default="paper", choices=method.presets, help=presets)
    parser.add_argument("--fold", type=cli.fold, default=0, help="which part is held out: a number from 0, or all (default: 0)")
    parser.add_argument(
        "--split",
        default="",
        metavar="FILE|common",
        help='patients of each side, as JSON {"train": [...], "validation": [...], "test": [...]}; or the split on which all '
        "methods are compared (default: the paper's rule)",
    )
    parser.add_argument("--seed", type=cli.seed, default=0, help="of all random choices (default: 0)")
    parser.add_argument(
        "--nondeterministic", action="store_true", help="let TensorFlow take operations whose results differ from run to run"
    )
    parser.add_argument(
        "--devices", type=cli.devices, default=1, metavar="N|all", help="split each batch over so many GPUs (default: 1)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="override a field of the recipe; repeatable"
    )
    parser.add_argument("--workdir", type=cli.workdir, default=cli.RUNS, help="where runs are kept (default: runs)")
    cli.add_debug(parser)
    return parser


def run_experiments(
    method: Method, train: Callable[..., Path], parser: cli.Parser, arguments: list[str] | None, own: Iterable[str] = ()
) -> None:
    """Train the experiment that `arguments` ask for, on one fold, or on all folds and pool them.

    Args:
        method: of the paper.
        train: its `train(recipe, cases, experiment, ...) -> run folder`.
        parser: of `training_parser`.
        arguments: texts, None for those of the command line.
        own: names of the paper's own arguments, which `train` takes too.
    """
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        name = options.experiment or default_of(method, options.dataset)
        recipe = recipes.override(method.presets[options.preset](method.recipes[name]), options.set)
        others = recipes.relatives(recipe, options.set)
        if others:
            print(f"--set {' '.join(options.set)} leaves {', '.join(others)}", flush=True)
        folds = folds_of(options, method.folds(recipe))
        splits.check(options.split or splits.COMMON)
        root = cli.data_root(options.dataset, options.data_root, options.workdir)
        cases = datasets.labelled(datasets.find(options.dataset, root))
        typed = f"{parser.prog} {shlex.join(sys.argv[1:] if arguments is None else arguments)}"
        experiments = [
            Experiment(package=method.package, name=name, preset=options.preset, dataset=options.dataset, fold=fold,
                       split=options.split, seed=options.seed, deterministic=not options.nondeterministic,
                       devices=options.devices, command=typed, workdir=options.workdir)
            for fold in folds
        ]  # fmt: skip
        split_of(method, recipe, cases, experiments[-1])  # refuse too few patients now: the last fold is the first that gets none
        folders = []
        for experiment in experiments:
            with resumable(experiment.folder):
                folders.append(train(recipe, cases, experiment, **{argument: getattr(options, argument) for argument in own}))
        if options.fold == "all":
            held_out.pool(folders, folders[0].parent)
            together.score_missing(folders, lambda: cases)
        print(next_step(method.package, options.dataset, folders[-1]))


def next_step(package: str, dataset: str, folder: Path) -> str:
    """What to do with a finished run."""
    look = f"next: open {folder / REPORT}"
    if dataset == datasets.PHANTOM:
        return f"{look}; this network knows phantoms only: train on real scans before you segment any"
    return f"{look}, or segment a scan: python -m {package}.predict --weights {folder} SCAN -o seg.nii.gz"


def default_of(method: Method, dataset: str) -> str:
    """The experiment that is run if none is named."""
    if isinstance(method.default, str):
        return method.default
    return method.default.get(dataset, next(iter(method.default.values())))


def folds_of(options: argparse.Namespace, count: int) -> list[int]:
    """The folds to run of `count`: every one for "all".

    Raises:
        InputError: a fold that does not exist, or one of a split that is given.
    """
    splits.check_alone(options.split, options.fold, 0)
    if options.fold == "all":
        return list(range(count))
    splits.check_fold(options.fold, count)
    return [options.fold]


@contextlib.contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """On Ctrl-C, say that the run in `folder` can go on, if it has a checkpoint."""
    try:
        yield
    except KeyboardInterrupt:
        again = any(folder.rglob(runs.CHECKPOINT))
        raise KeyboardInterrupt(*(["the same command goes on from the last checkpoint"] if again else [])) from None
