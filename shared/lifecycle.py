"""The life of a run, told once for all papers: open it, train its stages one after the other, score it.

A paper's `train.py` describes what only this paper does as a `Method`:

    METHOD = Method(package="dr_unet", recipes=RECIPES, ..., split=split, stages=stages, scorer=scorer)

    def train(recipe, cases, experiment):
        return lifecycle.train(METHOD, recipe, cases, experiment)
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared import datasets, held_out, provenance, recipes, runs
from shared.datasets import Case, splits
from shared.datasets.splits import SIDES, Split
from shared.files import fingerprint
from shared.held_out import Scorer
from shared.lazy import lazily
from shared.learning import prepared
from shared.learning.batches import Batches
from shared.progress import duration
from shared.runs import Experiment, Record

with lazily():
    from shared.framework import keras
    from shared.learning import arithmetic, checkpoints, devices, effort, training


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One network of a run, and how it is trained (see `learning.training.fit`).

    Attributes:
        name: in messages and in run.json.
        folder: inside the run folder, where its weights lie; "" for the stage whose weights are those of the run itself.
        build: gives the untrained network.
        precision: "float32", "bfloat16" or "auto".
        start_from: folder of an earlier stage with the same network, from whose best weights this one starts; None: it starts
            from random weights.
        batches: what the network learns from.
        steps: number of batches in all.
        loss, optimizer: of Keras.
        augment: `augment(inputs, targets, parameters)`, where the batches draw parameters.
        validate: `validate(network) -> dict` of numbers.
        validate_every: steps between two validations.
        monitor: the number of `validate` that selects the weights that are kept, higher is better; None keeps the last ones.
        patience: validations in a row without a new best after which training stops; None: never.
    """

    name: str
    folder: str = ""
    build: Callable[[], "keras.Model"]
    precision: str = "float32"
    start_from: str | None = None
    batches: Batches
    steps: int
    loss: "keras.losses.Loss"
    optimizer: "keras.optimizers.Optimizer"
    augment: Callable[..., tuple[Any, Any]] | None = None
    validate: Callable[["keras.Model"], dict[str, float]]
    validate_every: int
    monitor: str | None
    patience: int | None = None


def wanted_structures(recipe: Any, cases: Sequence[Case]) -> dict[int, str]:
    """Label value on disk -> name of the structures that the recipe's preparation names."""
    return datasets.values_to_write(cases[0].structures, recipe.preparation.structures)


@dataclass(frozen=True, kw_only=True)
class Method:
    """What a paper adds to the life of a run.

    Attributes:
        package: of the paper.
        recipes, default, presets: the `RECIPES`, `DEFAULT` and `PRESETS` of its `recipe.py`. The default is an experiment, or
            a table data set -> experiment; its first experiment is also the default for data sets that it does not name.
        split: `split(recipe, cases, fold)`: the recipe's rule.
        folds: how many folds a recipe has.
        stages: `stages(recipe, run)` yields the `Stage`s in their order; each is asked for once the one before is trained.
        scorer: `scorer(recipe, run)`: how the finished run is scored.
        check: `check(recipe)` raises InputError where its networks cannot be built.
        quick_minutes: what the quick preset of its default experiment takes on two processor cores.
        structures: `structures(recipe, cases)`: label value on disk -> name, of what is predicted.
        for_cases: `for_cases(recipe, cases)`: the recipe that is run on this data set.
    """

    package: str
    recipes: Mapping[str, Any]
    default: str | Mapping[str, str]
    presets: Mapping[str, Callable[[Any], Any]]
    split: Callable[[Any, Sequence[Case], int], Split]
    folds: Callable[[Any], int]
    stages: Callable[[Any, "Run"], Iterator[Stage]]
    scorer: Callable[[Any, "Run"], Scorer]
    check: Callable[[Any], object]
    quick_minutes: int
    structures: Callable[[Any, Sequence[Case]], Mapping[int, str]] = wanted_structures
    for_cases: Callable[[Any, Sequence[Case]], Any] = lambda recipe, cases: recipe


def train(method: Method, recipe: Any, cases: Sequence[Case], experiment: Experiment, **identity: Any) -> Path:
    """Run one experiment in its folder, or go on with it, and return the folder.

    Args:
        method: of the paper.
        recipe: of the paper.
        cases: all labelled cases of the data set; the recipe's rule splits them.
        experiment: which run this is.
        **identity: what else the result depends on.

    Raises:
        InputError: a recipe or data that cannot be used, or a folder that holds another run.
    """
    started = time.monotonic()
    cases = datasets.labelled(cases)
    recipe = method.for_cases(recipe, cases)
    method.check(recipe)
    split = split_of(method, recipe, cases, experiment)
    structures = method.structures(recipe, cases)
    spread = devices.of(experiment.devices)
    spread.check_batch(recipes.flat(recipe).get("batch_size", 1))
    with opened(experiment, recipe, cases, split, structures, identity) as run:
        summary = run.folder / runs.SUMMARY
        if runs.is_done(run.folder):
            print(f"done: {summary}")
            return run.folder
        volumes = ", ".join(f"{len(run.side(side))} {side}" for side in SIDES)
        print(f"{experiment.title}: {volumes} volumes; run folder {run.folder}", flush=True)
        if experiment.preset == "paper" and not provenance.accelerators():
            print(f"no GPU here; --preset quick takes about {method.quick_minutes} minutes on two cores", flush=True)
        with spread.scope():
            for stage in method.stages(recipe, run):
                run.fit(stage, spread)
        preset = method.for_cases(method.presets[experiment.preset](method.recipes[experiment.name]), cases)
        changed = recipes.changes(recipes.flat(recipe), preset)
        scorer = method.scorer(recipe, run)
        held_out.evaluate(experiment, run.record, run.side("test"), scorer, changed, run.side("train"))
        print(f"done in {duration(time.monotonic() - started)}: {summary}")
        return run.folder


def split_of(method: Method, recipe: Any, cases: Sequence[Case], experiment: Experiment) -> Split:
    """The split that the experiment names, or else that of the paper.

    Raises:
        InputError: it cannot be used, see `splits.given` and the paper's rule.
    """
    if experiment.split:
        return splits.given(experiment.split, experiment.dataset, cases)
    return method.split(recipe, cases, experiment.fold)


@contextlib.contextmanager
def opened(
    experiment: Experiment,
    recipe: Any,
    cases: Sequence[Case],
    split: Split,
    structures: Mapping[int, str],
    identity: Mapping[str, Any],
) -> Iterator["Run"]:
    """Start a run, or go on with the one in its folder if it is the same; within the block no other process can use the folder.

    Raises:
        InputError: the folder holds a run with another identity, or another process is working on it.
    """
    digests = provenance.fingerprints(cases)
    splits.check_copies(split, cases, digests)
    decisive = {
        "package": experiment.package,
        "experiment": experiment.name,
        "preset": experiment.preset,
        "dataset": experiment.dataset,
        "fold": experiment.fold,
        "seed": experiment.seed,
        "recipe": recipes.flat(recipe),
        "structures": dict(structures),
        "split": vars(split),
        "data": fingerprint(*digests.values()),
        "backend": keras.backend.backend(),
        "deterministic": experiment.deterministic,
        "ignore": cases[0].ignore,
        **identity,
    }
    with runs.locked(experiment.folder):
        record = Record(experiment.folder, decisive, lambda: {"command": experiment.command, **provenance.origin()})
        yield Run(experiment, tuple(cases), split, digests, record)


@dataclass(frozen=True)
class Run:
    """A run that is open.

    Attributes:
        experiment: which run it is.
        cases: all labelled cases of the data set.
        split: which patients train, validate and test.
        digests: case name -> fingerprint of its files.
        record: its run.json.
    """

    experiment: Experiment
    cases: tuple[Case, ...]
    split: Split
    digests: Mapping[str, str]
    record: Record

    @property
    def folder(self) -> Path:
        return self.experiment.folder

    @property
    def seed(self) -> int:
        return self.experiment.seed

    def side(self, name: str) -> list[Case]:
        """The cases of a side, "train", "validation" or "test"."""
        return self.split.of(self.cases, name)

    def prepared(
        self,
        side: str,
        preparation: Any,
        make: Callable[[Case], Mapping[str, np.ndarray]],
        more: Callable[[Case], object] = lambda case: "",
        stage: str = "",
    ) -> list[Path]:
        """Paths of the prepared cases of a side.

        A case is prepared again when its files, its frame, the meaning of its labels, the preparation, our code or a library has
        changed.

        Args:
            side: "train", "validation" or "test".
            preparation: the group of the recipe that `make` depends on.
            make: `make(case) -> channel name -> array (x, y, z)`.
            more: `more(case)`: what else `make` depends on.
            stage: the one that they are for, where each stage has cases of its own; run.json tells their seconds apart.

        Raises:
            InputError: a case that `make` refuses, or references without any structure.
        """
        started = time.monotonic()
        cases, code = self.side(side), provenance.code(self.experiment.package)
        keys = [
            fingerprint(self.digests[case.name], case.frame, dict(case.structures), case.ignore, preparation, more(case), code)
            for case in cases
        ]
        paths = prepared.store_all(Path(self.experiment.workdir) / "cache", cases, keys, make)
        if side == "train":
            prepared.check_labelled(paths)
        self.record.took(f"prepare {side}" + (f" for {stage}" if stage else ""), time.monotonic() - started)
        return list(paths.values())

    def fit(self, stage: Stage, spread: "devices.Devices | None" = None) -> None:
        """Train the network of a stage, or go on with it, and record the result."""
        training.seed_everything(self.seed, self.experiment.deterministic)
        with arithmetic.building_in(stage.precision) as precision:
            model = stage.build()
        if stage.start_from is not None:
            checkpoints.load_weights(model, runs.weights_of(self.folder, stage.start_from))
        extent = " x ".join(map(str, model.inputs[0].shape[1:-1]))
        network = f"{model.name}, {model.count_params():,} parameters, {precision}, input {extent}"
        batches = f"{len(stage.batches.examples)} examples, at most {stage.steps} steps of {stage.batches.batch_size}"
        print(f"{stage.name}: {network}; {batches}", flush=True)
        if self.experiment.preset == "paper" and not provenance.accelerators():
            expected = stage.steps * effort.seconds_of_step(model, stage.batches.batch_size, precision)
            if expected:
                print(f"{stage.name}: about {duration(expected)} here, by the arithmetic of its convolutions", flush=True)
        with arithmetic.zeroed_memory(precision):
            result = training.fit(
                model,
                stage.batches,
                steps=stage.steps,
                loss=stage.loss,
                optimizer=stage.optimizer,
                augment=stage.augment,
                validate=stage.validate,
                validate_every=stage.validate_every,
                monitor=stage.monitor,
                patience=stage.patience,
                folder=self.folder / stage.folder,
                spread=spread,
            )
        self.record.took(f"train {stage.name}", result.pop("seconds"))
        self.record.finish(stage.name, {**result, "precision": precision})

    def best_line(self, stage: str) -> str:
        """What the summary says of a trained stage."""
        result = self.record.content["result"][stage]
        return f"Best validation Dice {result['best_score']:.4f} at step {result['best_step']} of {result['steps']}."
