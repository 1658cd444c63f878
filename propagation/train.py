"""Train one experiment of the paper, predict its held-out patients and score them with and without propagation.

python -m propagation.train --dataset {stacom,acdc} --data-root DIR [--experiment NAME] [--fold K|all] [--preset quick]
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from propagation import along_axis, masks
from propagation import predict as prediction
from propagation.beating import database
from propagation.beating.database import Slices, Steps
from propagation.predict import INITIALIZATION, STRUCTURES, initialization_network, propagation_network
from propagation.recipe import DEFAULT, PRESETS, RECIPES, Recipe
from shared import datasets, held_out, runs
from shared.datasets import splits
from shared.files import fingerprint
from shared.lazy import lazily
from shared.learning import inference
from shared.learning.batches import Batches
from shared.learning.prepared import store_all
from shared.progress import Progress, duration
from shared.scans import orientation
from shared.scoring import metrics
from shared.training_command import run_experiments, training_parser

with lazily():
    from propagation import losses
    from shared.framework import keras
    from shared.learning import augment, training

BEATING = ("", "ED")  # phases of a scan that motion starts from


def train(recipe, cases, workdir, *, dataset, experiment=DEFAULT, preset="paper", fold=0, seed=0, command=""):
    """Run one experiment in its folder below `workdir`, or go on with it, and return the folder.

    Args:
        recipe: a `Recipe`.
        cases: all labelled cases of the data set; the recipe's rule splits them.
        dataset, experiment, preset, fold: name the run folder.
        seed: of weights, shuffling, motion and noise.
        command: kept in the run's record.

    Raises:
        InputError: data that cannot be used, or a folder that holds another run.
    """
    started = time.monotonic()
    cases = datasets.labelled(cases)
    split = split_of(recipe, cases, fold)
    digests = dict(zip((case.name for case in cases), runs.fingerprints(cases), strict=True))
    folder = runs.folder_of(workdir, "propagation", experiment, preset, dataset, fold)
    identity = runs.identity("propagation", experiment, preset, dataset, fold, seed, recipe, STRUCTURES, split, digests.values())
    with runs.opened(folder, identity, command) as record:
        if runs.is_done(folder):
            print(f"done: {folder / 'summary.md'}")
            return folder

        trained, unseen = split.of(cases, "train"), split.of(cases, "test")
        print(f"{experiment} ({preset}) on {dataset}, fold {fold}: {len(trained)} scans train, {len(unseen)} are held out; "
              f"run folder {folder}", flush=True)  # fmt: skip
        stored = store(recipe, cases, digests, Path(workdir) / "cache")
        record["seconds"].setdefault("prepare", round(time.monotonic() - started, 1))
        stages = Stages(recipe, trained, unseen, stored, folder, record, seed)
        first = folder if recipe.method == "initialization" else folder / INITIALIZATION
        options = {"used": recipe.initialization_instants, "margin": recipe.initialization_margin}
        stages.fit(INITIALIZATION, initialization_network, first, 3, recipe.initialization_steps, Slices, **options)
        if recipe.method == "propagation":
            stages.fit("propagation", propagation_network, folder, 2, recipe.propagation_steps, Steps,
                       used=recipe.instants, mask_lag=recipe.mask_lag)  # fmt: skip

        segmenter = prediction.load(folder)
        predicting = time.monotonic()
        compared = [along_axis.compare(segmenter, case) for case in Progress("predicting", len(unseen)).over(unseen)]
        record["seconds"]["predict"] = round(time.monotonic() - predicting, 1)  # with propagation and without
        headline = [f"# {experiment} ({preset}) on {dataset}, fold {fold}", "", *along_axis.write(folder, compared, STRUCTURES)]
        by_name = {each.case.name: each for each in compared}

        def predict(scan, case):
            each = by_name[case.name]
            return each.native, (each.own, each.reference)

        held_out.evaluate(folder, unseen, predict, record, headline, reference=lambda case, scan: on_disk(case, scan, recipe))
        print(f"done in {duration(time.monotonic() - started)}: {folder / 'summary.md'}")
        return folder


def split_of(recipe, cases, fold):
    """The `splits.Split` of labelled `cases` by the recipe's rule."""
    return splits.k_fold(cases, recipe.folds, fold, recipe.split_seed)


@dataclass(frozen=True)
class Stages:
    """What the networks of one run have in common."""

    recipe: Recipe
    trained: list  # cases
    unseen: list  # held-out cases: the learning curve shows them, nothing is chosen by them
    stored: dict[str, Path]  # case name -> prepared case
    folder: Path
    record: dict
    seed: int

    def fit(self, stage, build, folder, scales, steps, examples, **options):
        """Train one network for its number of steps and keep the last weights (paper 2.5).

        Args:
            stage: its name in the record.
            build: `build(recipe) -> keras.Model`.
            folder: receives weights, checkpoint and history.
            scales: of the network.
            steps: of `recipe.batch_size`.
            examples: class of `database`.
            **options: of that class.
        """
        recipe = self.recipe
        training.seed_everything(self.seed)
        with training.precision(recipe.precision) as precision:
            model = build(recipe)
        learned = self.database(examples, self.trained, recipe.variants, **options)
        unseen = self.database(examples, self.unseen, 1, **options | {"used": 1})
        loss = losses.MultiScale(scales)
        print(f"{stage}: {model.count_params():,} parameters, {precision}; {len(learned)} volumes, {steps} steps of "
              f"{recipe.batch_size}", flush=True)  # fmt: skip
        rate = training.Schedule(steps, recipe.learning_rate, recipe.final_learning_rate, recipe.learning_rate, 0)
        result = training.fit(
            model,
            Batches(learned, recipe.batch_size, self.seed, self.turn),
            steps=steps,
            loss=loss,
            optimizer=keras.optimizers.SGD(rate, momentum=recipe.momentum),
            augment=augment.affine,
            validate=lambda model: validate(model, Batches(unseen, 1, self.seed), loss),
            validate_every=recipe.validate_every,
            monitor=None,
            folder=folder,
        )
        self.record["seconds"].setdefault(f"train {stage}", round(result.pop("seconds"), 1))
        self.record.setdefault("result", {})[stage] = {**result, "precision": precision}
        runs.write_record(self.folder, self.record)

    def database(self, examples, cases, variants, **options):
        paths, beating = [self.stored[case.name] for case in cases], [case.phase in BEATING for case in cases]
        recipe = self.recipe
        return examples(
            paths, beating, self.seed, spacing_mm=recipe.spacing_mm, variants=variants, instants=recipe.instants, **options
        )

    def turn(self, rng):
        """The paper's random rotation: one for the slices, the mask and the labels of an example."""
        shape = (self.recipe.size, self.recipe.size)
        return augment.draw_affine(rng, shape, rotation_deg=self.recipe.rotation_deg, crop_px=0, flip=False)


def store(recipe, cases, digests, cache):
    """Case name -> path of the prepared case as `database` wants it: a square about the heart, isotropic."""
    geometry = {name: vars(recipe)[name] for name in ("size", "spacing_mm", "percentiles", "rv_wall_mm")}
    keys = [fingerprint(digests[case.name], dict(case.structures), geometry, runs.code("propagation")) for case in cases]
    return store_all(cache, cases, keys, lambda case: database.prepared(case, recipe))


def on_disk(case, scan, recipe):
    """The wall of a case on the voxels of its `scan`."""
    wall = masks.load(case, recipe.rv_wall_mm).wall
    return orientation.with_slices_last(scan, lambda ordered: wall.array)


def validate(model, batches, loss):
    """Mean loss, and mean Dice at the finest scale, of one example of every held-out scan as it lies on disk."""
    losses, scores = [], []
    for step in range(len(batches)):
        inputs, wall = batches[step]
        found = inference.logits(model, inputs, 1)
        losses.append(float(loss(wall, found)))
        scores.append(metrics.dice(found[0, ..., : wall.shape[-1]] >= 0.5, wall[0] > 0))
    return {"val_loss": float(np.mean(losses)), "val_dice": float(np.mean(scores))}


def main(arguments=None):
    parser = training_parser("propagation", __doc__.splitlines()[0], RECIPES, DEFAULT, PRESETS)
    run_experiments(parser, arguments, train, split_of, RECIPES, DEFAULT, PRESETS, folds="folds")


if __name__ == "__main__":
    main()
