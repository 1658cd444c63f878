"""Train one experiment of the paper, predict its held-out patients and score them.

python -m dr_unet.train --dataset {lasc,acdc} --data-root DIR [--experiment NAME] [--fold K|all] [--preset quick]
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dr_unet import figures, localisation
from dr_unet import predict as prediction
from dr_unet.predict import LOCALISER, PREPARATION, localiser_network, network, prepared_pair
from dr_unet.recipe import DEFAULT, PRESETS, RECIPES, Recipe
from shared import datasets, held_out, prediction_command, runs
from shared.datasets import splits
from shared.files import fingerprint
from shared.lazy import lazily
from shared.learning import inference
from shared.learning.batches import Batches
from shared.learning.examples import EXAMPLE, Volumes, generator
from shared.learning.prepared import store_all
from shared.progress import duration
from shared.scans import preprocess
from shared.scans.postprocess import classes_of
from shared.scoring import metrics
from shared.training_command import run_experiments, training_parser

with lazily():
    from dr_unet import gcam, losses
    from shared.framework import keras
    from shared.learning import augment, training

LOSSES = {  # "as printed": the paper's formulas with their misprints
    "bce_dice": lambda smoothing: losses.BceDice(smoothing),
    "bce_dice_as_printed": lambda smoothing: losses.BceDice(smoothing, as_printed=True),
    "multiclass_dice": lambda smoothing: losses.MulticlassDice(smoothing),
    "multiclass_dice_as_printed": lambda smoothing: losses.MulticlassDice(smoothing, as_printed=True),
}


def train(recipe, cases, workdir, *, dataset, experiment, preset="paper", fold=0, seed=0, command="", localiser=None):
    """Run one experiment in its folder below `workdir`, or go on with it, and return the folder.

    Args:
        recipe: a `Recipe`.
        cases: all labelled cases of the data set; the recipe's rule splits them.
        dataset, experiment, preset, fold: name the run folder.
        seed: of weights and shuffling.
        command: kept in the run's record.
        localiser: run folder whose localiser is used instead of training one (multi-stage).

    Raises:
        InputError: data or a localiser that cannot be used, or a folder that holds another run.
    """
    started = time.monotonic()
    loss = loss_of(recipe)
    check(recipe)
    cases = datasets.labelled(cases)
    split = split_of(recipe, cases, fold)
    if localiser:
        localisation.check(localiser, recipe, split)
    digests = dict(zip((case.name for case in cases), runs.fingerprints(cases), strict=True))
    structures = datasets.values_to_write(cases[0].structures, recipe.structures)
    taken = fingerprint(runs.weights_of(localiser, LOCALISER)) if localiser else ""
    identity = runs.identity("dr_unet", experiment, preset, dataset, fold, seed, recipe, structures, split, digests.values(),
                             localiser=taken, ignore=cases[0].ignore)  # fmt: skip
    folder = runs.folder_of(workdir, "dr_unet", experiment, preset, dataset, fold)
    with runs.opened(folder, identity, command) as record:
        if runs.is_done(folder):
            print(f"done: {folder / 'summary.md'}")
            return folder

        sides = {side: split.of(cases, side) for side in ("train", "validation", "test")}
        print(f"{experiment} ({preset}) on {dataset}, fold {fold}: " + ", ".join(f"{len(c)} {s}" for s, c in sides.items())
              + f" volumes; run folder {folder}", flush=True)  # fmt: skip
        stages = Stages(recipe, sides, digests, Path(workdir) / "cache", folder, record, seed)
        regions = None
        if recipe.method == "multi_stage":
            if localiser:
                localisation.take_over(localiser, folder)
            else:
                stages.fit(LOCALISER, localiser_network, folder / LOCALISER, LOSSES[recipe.localiser_loss](recipe.smoothing),
                           recipe.localiser_batch_size, recipe.localiser_epochs, localisation.view(recipe))  # fmt: skip
            regions = localisation.find_regions(recipe, sides, folder)
        result = stages.fit("segmenter", network, folder, loss, recipe.batch_size, recipe.epochs, view(recipe, regions))

        segmenter = prediction.load(folder)
        headline = [
            f"# {experiment} ({preset}) on {dataset}, fold {fold}",
            "",
            f"Best validation Dice {result['best_score']:.4f} at step {result['best_step']} of {result['steps']}.",
        ]
        if regions:
            headline += ["", localisation.share_line(folder, "test")]

        def predict(scan, case):
            """Label maps on the scan's grid, and on the working grid beside the reference there, from one run of the networks."""
            prepared, labels = prepared_pair(case, recipe)
            probabilities = prediction.probabilities(segmenter, prepared)
            values = np.zeros(datasets.IGNORED + 1, np.uint16)
            values[1 : len(segmenter.structures) + 1] = list(segmenter.structures)
            values[datasets.IGNORED] = case.ignore or 0
            native = prediction_command.predict_frames(
                scan, lambda ordered: prediction.classes_on(ordered, probabilities).array, segmenter.structures
            )
            on_grid = (prediction.classes_on(prepared, probabilities), labels)
            return native, tuple(classes.with_array(values[classes.array]) for classes in on_grid)

        held_out.evaluate(folder, sides["test"], predict, record, headline,
                          draw_own=lambda: figures.draw(folder, segmenter, sides["test"]))  # fmt: skip
        print(f"done in {duration(time.monotonic() - started)}: {folder / 'summary.md'}")
        return folder


def split_of(recipe, cases, fold):
    """The `splits.Split` of labelled `cases` by the recipe's rule."""
    return splits.hold_out(cases, recipe.test_parts, recipe.folds, fold, recipe.split_seed)


@dataclass(frozen=True)
class Stages:
    """What the networks of one run have in common."""

    recipe: Recipe
    sides: dict[str, list]  # cases that train, validate and test
    digests: dict[str, str]  # case name -> fingerprint of its files
    cache: Path
    folder: Path
    record: dict
    seed: int

    def fit(self, stage, build, folder, loss, batch_size, epochs, view):
        """Train one network: validate every epoch, keep the best, stop when it no longer improves (paper 4.2).

        Args:
            stage: its name in the record.
            build: `build(recipe) -> keras.Model`.
            folder: receives weights, checkpoint and history.
            loss: of Keras.
            batch_size, epochs: of this network.
            view: what the network sees, as of `store`.
        """
        recipe = self.recipe
        started = time.monotonic()
        training_paths, validation_paths = (self.store(side, view) for side in ("train", "validation"))
        self.took(f"prepare for {stage}", time.monotonic() - started)
        training.seed_everything(self.seed)
        with training.precision(recipe.precision) as precision:
            model = build(recipe)
        batches = Batches(Volumes(training_paths), batch_size, self.seed, self.turn(model.input.shape[1:3]))
        validation = Volumes(validation_paths)
        steps, outputs = epochs * len(batches), 1 if stage == LOCALISER else prediction.outputs(recipe)
        extent = " x ".join(map(str, model.input.shape[1:-1]))
        print(f"{stage}: {model.name}, {model.count_params():,} parameters, {precision}, {extent} voxels; "
              f"at most {epochs} epochs of {len(batches)} steps of {batch_size}", flush=True)  # fmt: skip
        schedule = training.Schedule(steps, recipe.learning_rate, recipe.final_learning_rate, recipe.learning_rate, 0)
        result = training.fit(
            model,
            batches,
            steps=steps,
            loss=loss,
            optimizer=keras.optimizers.Adam(schedule, beta_1=recipe.beta_1, beta_2=recipe.beta_2, epsilon=recipe.epsilon),
            augment=turned,
            validate=lambda model: validate(model, validation, loss, outputs),
            validate_every=len(batches),
            monitor="val_dice",
            patience=recipe.patience,
            folder=folder,
        )
        self.took(f"train {stage}", result.pop("seconds"))
        self.record.setdefault("result", {})[stage] = {**result, "precision": precision}
        runs.write_record(self.folder, self.record)
        return result

    def store(self, side, view):
        """Paths of the prepared cases of a side.

        Args:
            side: "train" or "validation".
            view: (key, look): `look(case, image, labels)` is what the network sees of a case on the working grid, and `key(case)`
                says what decides it beside the recipe.
        """
        key, look = view
        geometry = {name: vars(self.recipe)[name] for name in PREPARATION}

        def make(case):
            image, labels = look(case, *prepared_pair(case, self.recipe))
            return {"image": image.array, "label": labels.array}

        cases = self.sides[side]
        keys = [
            fingerprint(self.digests[case.name], dict(case.structures), case.ignore, geometry, key(case), runs.code("dr_unet"))
            for case in cases
        ]
        return list(store_all(self.cache, cases, keys, make).values())

    def turn(self, shape):
        """What draws the augmentation of slices of `shape` (x, y); None where the recipe has none, as the paper."""
        rotation_deg, zoom = self.recipe.rotation_deg, self.recipe.zoom
        if not rotation_deg and not zoom:
            return None
        crop_px = zoom * np.array(shape)
        return lambda rng: augment.draw_affine(rng, shape, rotation_deg=rotation_deg, crop_px=crop_px, flip=False)

    def took(self, what, seconds):
        self.record["seconds"].setdefault(what, round(seconds, 1))


def view(recipe, regions):
    """What the segmenter sees: the region of interest at full resolution, or without regions the whole working grid."""

    def look(case, image, labels):
        if regions:
            box = regions[case.name]
            return tuple(preprocess.window(part, box.starts, box.shape) for part in (image, labels))
        return preprocess.shrink(image, recipe.input_factors), preprocess.shrink_labels(labels, recipe.input_factors)

    return lambda case: regions[case.name].starts if regions else "whole", look


def turned(images, labels, coefficients):
    """A batch of volumes with all slices of each turned and enlarged alike."""
    moved, labels = augment.affine(images[..., 0], labels, coefficients)
    return moved[..., None], labels


def check(recipe):
    """Raise InputError unless the recipe's networks can be built and have the layer that the activation maps are taken at."""
    network(recipe)
    if recipe.method == "multi_stage":
        gcam.check(localiser_network(recipe), 0, recipe.gcam_layer, recipe.gcam_score)


def loss_of(recipe):
    """The Keras loss that the recipe names."""
    loss = LOSSES[recipe.loss](recipe.smoothing)
    if recipe.method != "end_to_end":
        return loss
    return losses.EndToEnd(loss, LOSSES[recipe.localiser_loss](recipe.smoothing), recipe.localiser_weight)


def validate(model, examples, loss, outputs):
    """Mean loss, and mean foreground Dice over volumes of the network's grid, batch norm in inference mode.

    Args:
        outputs: how many of the logits are the segmentation's.
    """
    losses, scores = [], []
    for position in range(len(examples)):
        image, labels = examples.one(position, generator(0, EXAMPLE, position))
        logits = inference.logits(model, image[None], 1)
        losses.append(float(loss(labels[None], logits)))
        scores.append(foreground_dice(labels, logits[0, ..., :outputs]))
    return {"val_loss": float(np.mean(losses)), "val_dice": float(np.mean(scores))}


def foreground_dice(labels, logits):
    """Mean Dice over the structures of one volume: labels (x, y, z), IGNORED left out; logits (x, y, z, outputs)."""
    predicted = classes_of(inference.activated(logits)) * (labels != datasets.IGNORED)
    return np.mean([metrics.dice(predicted == value, labels == value) for value in range(1, max(logits.shape[-1], 2))])


def main(arguments=None):
    parser = training_parser("dr_unet", __doc__.splitlines()[0], RECIPES, DEFAULT, PRESETS)
    parser.add_argument("--localiser", type=Path, metavar="RUN", help="use the localiser of this run instead of training one")
    run_experiments(parser, arguments, train, split_of, RECIPES, DEFAULT, PRESETS, folds="folds", own=("localiser",))


if __name__ == "__main__":
    main()
