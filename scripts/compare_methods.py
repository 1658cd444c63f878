"""Compare the methods of all papers on one split: run what is missing, score all label maps in one way, test and tabulate.

python scripts/compare_methods.py --dataset acdc --methods all --preset quick --data-root DIR [--also NAME=FOLDER]
python scripts/compare_methods.py --dataset acdc --methods fcn8,unet2d --preset quick --report-only [--workdir runs]
"""

import argparse
import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import acdc_segmenter_tf.predict
import acdc_segmenter_tf.train
import dense_unet.predict
import dense_unet.train
import dr_unet.predict
import dr_unet.train
import propagation.masks
import propagation.predict
import propagation.recipe
import propagation.train
import two_stage_unet.predict
import two_stage_unet.train
from shared import cli, cluster, datasets, provenance, recipes, runs
from shared.comparison import cost, entrants, report, scored
from shared.comparison.cost import Cost
from shared.comparison.entrants import Contest, Entrant
from shared.datasets import Case, splits
from shared.errors import InputError
from shared.lazy import lazily
from shared.runs import Experiment
from shared.trainings import Training, train_missing

with lazily():
    from shared.comparison import figures, page


@dataclass(frozen=True)
class Method:
    """A method that is compared.

    Attributes:
        name: as tables call it.
        train, predict: modules of its package.
        experiments: data set -> the experiment that is run there; the method does not take the others.
        finds_walls: whether its label maps hold the wall of both ventricles; it has a table of its own then.
    """

    name: str
    train: ModuleType
    predict: ModuleType
    experiments: Mapping[str, str]
    finds_walls: bool = False

    @property
    def package(self) -> str:
        return self.train.METHOD.package


def hearts(experiment: str, **others: str) -> dict[str, str]:
    """Experiments by data set: one for all data sets that label RV, Myo and LV, and `others`."""
    return dict.fromkeys(("acdc", "nnunet", "phantom"), experiment) | others


# The only list of what is compared: whoever adds a method adds it here.
METHODS = {
    "fcn8": Method("FCN-8", acdc_segmenter_tf.train, acdc_segmenter_tf.predict, hearts("fcn8_wxent")),
    "unet2d": Method("2D U-Net (mod.)", acdc_segmenter_tf.train, acdc_segmenter_tf.predict, hearts("unet2d_modified_wxent")),
    "unet3d": Method("3D U-Net (mod.)", acdc_segmenter_tf.train, acdc_segmenter_tf.predict, hearts("unet3d_modified_wxent")),
    "dr_unet": Method("DR-UNet", dr_unet.train, dr_unet.predict, {"lasc": "dr_unet_f8"}),
    "multi_stage": Method(
        "multi-stage DR-UNet", dr_unet.train, dr_unet.predict, hearts("multi_stage_keep_z_f32", lasc="multi_stage_f8")
    ),
    "two_stage": Method("two-stage U-Net", two_stage_unet.train, two_stage_unet.predict, hearts("two_stage", lasc="two_stage")),
    "dense_unet": Method("dense U-Net", dense_unet.train, dense_unet.predict, hearts("dense_half_wce")),
    "propagation": Method("propagation", propagation.train, propagation.predict, hearts("propagation"), finds_walls=True),
}
DATASETS = tuple(dict.fromkeys(dataset for method in METHODS.values() for dataset in method.experiments))
WALL_MM = propagation.recipe.PROPAGATION.preparation.rv_wall_mm
WALL = (
    f"Every label map is turned into the wall of both ventricles: the myocardium of the LV, and a ring of {WALL_MM:g} mm outside "
    "the RV's cavity, from the base of the reference on, where propagation begins too. The reference is turned in the same way."
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


def compare(options: argparse.Namespace) -> None:
    """Run the missing experiments (unless told not to), then score all label maps, and write and print the tables."""
    methods, also = methods_of(options), also_of(options)
    folders = {key: experiment_of(method, options).folder for key, method in methods.items()}
    if options.report_only and not also and not any(map(runs.is_done, folders.values())):
        splits.check(options.split)
        nobody = [Entrant(key=key, name=method.name) for key, method in methods.items()]
        return tell(contests(methods, nobody, [], options), {}, ["Nothing was run yet.", *reruns(methods, {}, [], options)])

    root = cli.data_root(options.dataset, options.data_root, options.workdir)
    everybody = datasets.labelled(datasets.find(options.dataset, root))
    split = splits.given(options.split, options.dataset, everybody)
    cases = split.of(everybody, "test")
    others = [entrants.of_folder(name, folder, cases) for name, folder in also.items()]

    def now() -> list[Contest]:
        """With the runs that are finished by now."""
        ours = [
            entrants.of_run(key, methods[key].name, folder, cases, split)
            if runs.is_done(folder)
            else Entrant(key=key, name=methods[key].name)
            for key, folder in folders.items()
        ]
        return contests(methods, [*ours, *others], cases, options)

    if not options.report_only:
        for contest in now():
            scored.evaluate(contest)  # so that label maps that cannot be scored are refused before anything is trained
        run_missing(methods, folders, root, options)
    done = {key: folder for key, folder in folders.items() if runs.is_done(folder)}
    place = None if options.report_only else cases[0]
    costs = {key: cost.of_run(key, folder, folder_of(options), methods[key].predict, place) for key, folder in done.items()}
    sides = ", ".join(f"{len(getattr(split, side))} {side}" for side in splits.SIDES)
    fact = (
        f"All label maps are scored on the same {len(cases)} volumes of the {len(split.test)} test patients, against the "
        f"references as on disk. The runs were trained on the same patients of split {Path(options.split).stem} ({sides})."
    )
    fact += f" What {' and '.join(also)} was trained on is not known here." if also else ""
    tell(now(), costs, [fact, *reruns(methods, done, everybody, options)])


def tell(parts: Sequence[Contest], costs: Mapping[str, Cost], facts: Sequence[str]) -> None:
    """Score, write, draw and print every comparison."""
    for contest in parts:
        scores = scored.evaluate(contest)
        figures.draw(contest, scores)
        print("\n" + report.write(contest, scores, costs, facts))
        if contest.pictured:
            page.write(contest, scores)
        else:
            (contest.folder / runs.REPORT).unlink(missing_ok=True)  # of an earlier comparison


def methods_of(options: argparse.Namespace) -> dict[str, Method]:
    """The methods that --methods names.

    Raises:
        InputError: one that does not exist, or does not take the data set.
    """
    able = {key: method for key, method in METHODS.items() if options.dataset in method.experiments}
    if not able:
        raise InputError(f"--dataset {options.dataset}: no method is compared on it; expected {', '.join(DATASETS)}")
    asked = list(able) if options.methods == "all" else list(dict.fromkeys(key.strip() for key in options.methods.split(",")))
    wrong = [key for key in asked if key not in able]
    if wrong:
        raise InputError(f"--methods {wrong[0][:40]}: expected all, or some of {', '.join(able)} for {options.dataset}")
    return {key: able[key] for key in asked}


def also_of(options: argparse.Namespace) -> dict[str, Path]:
    """Name -> folder of every --also.

    Raises:
        InputError: something else than NAME=FOLDER, or a name that is taken.
    """
    taken = {entrants.REFERENCE, *(name.casefold() for key, method in METHODS.items() for name in (key, method.name))}
    folders: dict[str, Path] = {}
    for text in options.also:
        name, equals, folder = text.partition("=")
        if not equals or not folder or not NAME.fullmatch(name):
            expected = "NAME=FOLDER, with a name of letters, digits, points, dashes and underlines"
            raise InputError(f"--also {text[:60]}: expected {expected}")
        if name.casefold() in taken:
            raise InputError(f"--also {name}: the name is taken; choose another")
        taken.add(name.casefold())
        folders[name] = Path(folder)
    return folders


def experiment_of(method: Method, options: argparse.Namespace) -> Experiment:
    name = method.experiments[options.dataset]
    return Experiment(package=method.package, name=name, preset=options.preset, dataset=options.dataset, split=options.split,
                      workdir=options.workdir)  # fmt: skip


def run_missing(methods: Mapping[str, Method], folders: Mapping[str, Path], root: Path, options: argparse.Namespace) -> None:
    """Run the training commands of the methods that have no finished run."""
    missing = [key for key, folder in folders.items() if not runs.is_done(folder)]
    print(f"{len(folders)} runs are compared, {len(missing)} of them missing: {', '.join(missing) or 'none'}", flush=True)
    places = ["--split", options.split, "--data-root", str(root), "--workdir", str(options.workdir)]
    chosen = [methods[key] for key in missing]
    trainings = {
        Training(method.package, (*command_of(method, options), *places), method.name): method.train.main for method in chosen
    }
    train_missing(trainings, options)


def command_of(method: Method, options: argparse.Namespace) -> list[str]:
    """Arguments of the training command that makes a method's run, without the split and places."""
    preset = [] if options.preset == "paper" else ["--preset", options.preset]
    return ["--dataset", options.dataset, "--experiment", method.experiments[options.dataset], *preset]


def folder_of(options: argparse.Namespace) -> Path:
    """Where the comparison is written."""
    return options.workdir / "comparison" / f"{options.dataset}-{options.preset}-{Path(options.split).stem}"


def contests(
    methods: Mapping[str, Method], found: Sequence[Entrant], cases: Sequence[Case], options: argparse.Namespace
) -> list[Contest]:
    """The comparison of all methods that label the data set's structures; and where a method finds walls, that of all walls."""
    title = f"Methods compared on {options.dataset}: {options.preset} preset, split {Path(options.split).stem}"
    finders = {key for key, method in methods.items() if method.finds_walls}
    labellers = [each for each in found if each.key not in finders]
    parts = []
    if labellers:
        structures = entrants.common_structures(cases, labellers)
        code = provenance.code("shared")
        parts.append(
            Contest(title=title, folder=folder_of(options), cases=cases, entrants=labellers, structures=structures, code=code)
        )
    if finders:
        wall_of = functools.partial(propagation.masks.wall_of, rv_wall_mm=WALL_MM)
        walls = [
            dataclasses.replace(each, as_compared=each.as_compared if each.key in finders else wall_of)
            for each in found
            if each.key in finders or not each.rows
        ]
        gone = ", ".join(each.name for each in found if each.key not in finders and each.rows)
        parts.append(Contest(
            title=f"{title}; the wall of both ventricles", folder=folder_of(options) / "wall", cases=cases, entrants=walls,
            structures=propagation.predict.STRUCTURES, code=provenance.code("propagation"),
            reference_of=lambda case, reference: propagation.masks.wall_on(case, reference, reference, WALL_MM),
            note=WALL + (f" The label maps of {gone} are gone: there is nothing to turn into walls." if gone else ""),
        ))  # fmt: skip
    return parts


def reruns(
    methods: Mapping[str, Method], done: Mapping[str, Path], cases: Sequence[Case], options: argparse.Namespace
) -> list[str]:
    """The command of each run; of those that are done also the commit, the hardware, and settings that are not the preset's."""
    lines = []
    for key, method in methods.items():
        command, changed, made = [*command_of(method, options), "--split", options.split], list[str](), ""
        if key in done:
            record, own = runs.read_record(done[key], "commit", "hardware", "recipe"), method.train.METHOD
            preset = own.presets[options.preset](own.recipes[method.experiments[options.dataset]])
            changed = recipes.changes(record["recipe"], own.for_cases(preset, cases))
            made = f"; commit {record['commit']}, {record['hardware']}"
            made += f"; its settings are not those of the preset: {', '.join(changed)}" if changed else ""
        command += [word for change in changed for word in ("--set", change)]
        lines.append(f"- {method.name}: `{runs.again(method.package, command, done.get(key))} --data-root DIR`{made}")
    return ["Commands of the runs:", "\n".join(lines)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = cli.Parser(description=__doc__.splitlines()[0])
    cli.add_data(parser)
    parser.add_argument("--methods", default="all", metavar="all|NAME,...", help=f"which methods, of {', '.join(METHODS)}")
    presets = next(iter(METHODS.values())).train.METHOD.presets
    parser.add_argument("--preset", default="paper", choices=presets, help="see the training commands (default: paper)")
    parser.add_argument(
        "--split", default=splits.COMMON, metavar="FILE|common", help="see the training commands (default: common)"
    )
    parser.add_argument("--also", action="append", default=[], metavar="NAME=FOLDER",
                        help="label maps of the test patients by another program, called like the cases; repeatable")  # fmt: skip
    parser.add_argument(
        "--workdir", type=cli.workdir, default=cli.RUNS, help="where runs are, and the comparison goes (default: runs)"
    )
    cluster.add_arguments(parser, "train the missing runs", cores=4)
    parser.add_argument("--report-only", action="store_true", help="run and measure nothing: a method without a run says so")
    cli.add_debug(parser)
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        compare(options)


if __name__ == "__main__":
    main()
