"""Train one experiment of the paper, predict its held-out patients and score them.

python -m dr_unet.train --dataset {lasc,acdc} --data-root DIR [--experiment NAME] [--fold K|all] [--preset quick]
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dr_unet import figures, localisation
from dr_unet import predict as prediction
from dr_unet.predict import LOCALISER, SEGMENTER, network, prepared_pair
from dr_unet.recipe import DEFAULT, PRESETS, RECIPES, Preparation, Recipe
from shared import datasets, held_out, lifecycle, runs
from shared.datasets import Case, splits
from shared.files import fingerprint
from shared.held_out import Scorer
from shared.lazy import lazily
from shared.learning import inference
from shared.learning.batches import Batches
from shared.learning.examples import EXAMPLE, Examples, Volumes, generator
from shared.lifecycle import Method, Run, Stage
from shared.prediction import predict_frames
from shared.runs import Experiment
from shared.scans import preprocess
from shared.scans.postprocess import classes_of
from shared.scans.volume import Volume
from shared.scoring import metrics
from shared.training_command import run_experiments, training_parser

with lazily():
    from dr_unet import gcam, losses
    from shared.framework import keras, ops
    from shared.learning import augment, training

EPSILON = 1e-6  # keeps constant volumes finite

Regions = Mapping[str, "gcam.Region"]


def train(recipe: Recipe, cases: Sequence[Case], experiment: Experiment, localiser: Path | None = None) -> Path:
    """Run one experiment in its folder, or go on with it, and return the folder; see `lifecycle.train`.

    Args:
        recipe, cases, experiment: see `lifecycle.train`.
        localiser: run folder whose localiser is used instead of training one (multi-stage).

    Raises:
        InputError: see `lifecycle.train`; a localiser that cannot be used.
    """
    if localiser is None:
        return lifecycle.train(METHOD, recipe, cases, experiment, localiser="")
    localisation.check(localiser, recipe, lifecycle.split_of(METHOD, recipe, datasets.labelled(cases), experiment))
    taken = fingerprint(runs.weights_of(localiser, LOCALISER))
    method = replace(METHOD, stages=partial(stages, localiser=localiser))
    return lifecycle.train(method, recipe, cases, experiment, localiser=taken)


def stages(recipe: Recipe, run: Run, localiser: Path | None = None) -> Iterator[Stage]:
    """The network that segments. In the multi-stage method the localiser comes first, unless another run lends its own."""
    given, regions = recipe.preparation, None
    if recipe.method == "multi_stage":
        if localiser is None:
            yield stage(
                recipe, run, LOCALISER, outputs=1, shape=given.localiser_shape, loss=losses.of_localiser(recipe),
                batch_size=recipe.localiser_batch_size, epochs=recipe.localiser_epochs,
                make=lambda case: localisation.prepared(case, given), more=lambda case: LOCALISER,
            )  # fmt: skip
        else:
            localisation.take_over(localiser, run.folder)
        regions = localisation.find_regions(recipe, run)
    shape = given.crop_shape if regions else given.input_shape
    yield stage(
        recipe, run, SEGMENTER, outputs=given.outputs, shape=shape, loss=losses.of(recipe),
        batch_size=recipe.batch_size, epochs=recipe.epochs,
        make=lambda case: prepared(case, given, regions), more=lambda case: regions[case.name].starts if regions else "whole",
    )  # fmt: skip


def stage(
    recipe: Recipe,
    run: Run,
    name: str,
    *,
    outputs: int,
    shape: tuple[int, ...],
    loss: "keras.losses.Loss",
    batch_size: int,
    epochs: int,
    make: Callable[[Case], Mapping[str, np.ndarray]],
    more: Callable[[Case], object],
) -> Stage:
    """What both networks of a run share: validated every epoch, the best kept, stopped when it no longer improves (paper 4.2)."""
    learned, validation = (Volumes(run.prepared(side, recipe.preparation, make, more, name)) for side in ("train", "validation"))
    batches = Batches(learned, batch_size, run.seed, augmentation(recipe, shape[:2]))
    steps = epochs * len(batches)
    schedule = training.Schedule(steps, recipe.learning_rate, recipe.final_learning_rate, recipe.learning_rate, 0)
    return Stage(
        name=name,
        folder=LOCALISER if name == LOCALISER else "",
        build=lambda: network(recipe, name),
        precision=recipe.precision,
        batches=batches,
        steps=steps,
        loss=loss,
        optimizer=keras.optimizers.Adam(schedule, beta_1=recipe.beta_1, beta_2=recipe.beta_2, epsilon=recipe.epsilon),
        augment=augmented,
        validate=lambda model: validate(model, validation, loss, outputs),
        validate_every=len(batches),
        monitor="val_dice",
        patience=recipe.patience,
    )


def scorer(recipe: Recipe, run: Run) -> Scorer:
    """Label maps on the scan's grid, and on the working grid next to the reference there, from one pass of the networks."""
    segmenter = prediction.load(run.folder)

    def predict(case: Case, scan: Volume, reference: Volume) -> tuple[Volume, held_out.Further]:
        image, labels = datasets.pair_of(case, scan, reference, recipe.preparation.structures)
        prepared = prediction.prepare(image, recipe.preparation)
        labels = prediction.prepare_labels(labels, recipe.preparation)
        probabilities = prediction.probabilities(segmenter, prepared)

        def classes_on(grid: Volume) -> Volume:
            return prediction.cleaned_on(segmenter, grid, probabilities)

        native = predict_frames(scan, lambda ordered: classes_on(ordered).array, segmenter.structures)
        values = np.zeros(datasets.IGNORED + 1, np.uint16)  # class -> value on disk
        values[1 : len(segmenter.structures) + 1] = list(segmenter.structures)
        values[datasets.IGNORED] = case.ignore or 0
        found = classes_on(prepared)
        return native, {held_out.RESAMPLED: (found.with_array(values[found.array]), labels.with_array(values[labels.array]))}

    def finish() -> list[str]:
        figures.draw(run.folder, segmenter, run.side("test"))
        shares = ["", localisation.share_line(run.folder, "test")] if segmenter.localiser is not None else []
        return [run.best_line(SEGMENTER), *shares]

    return Scorer(predict=predict, finish=finish)


def check(recipe: Recipe) -> None:
    """Raise InputError unless the recipe's networks can be built and have the layer that the activation maps are taken at."""
    network(recipe)
    if recipe.method == "multi_stage":
        gcam.check(network(recipe, LOCALISER), 0, recipe.gcam_layer, recipe.gcam_score)


METHOD = Method(
    package="dr_unet",
    recipes=RECIPES,
    default=DEFAULT,
    presets=PRESETS,
    quick_minutes=15,
    split=lambda recipe, cases, fold: splits.hold_out(cases, recipe.test_parts, recipe.folds, fold, recipe.split_seed),
    folds=lambda recipe: recipe.folds,
    check=check,
    stages=stages,
    scorer=scorer,
)


def prepared(case: Case, preparation: Preparation, regions: Regions | None) -> dict[str, np.ndarray]:
    """What the segmenter sees of a case: its region at full resolution, or without regions the whole working grid."""
    image, labels = prepared_pair(case, preparation)
    if regions:
        box = regions[case.name]
        image, labels = (preprocess.window(part, box.starts, box.shape) for part in (image, labels))
    else:
        image = preprocess.shrink(image, preparation.input_factors)
        labels = preprocess.shrink_labels(labels, preparation.input_factors)
    return {"image": image.array, "label": labels.array}


def augmentation(recipe: Recipe, shape: tuple[int, ...]) -> Callable[[np.random.Generator], dict[str, np.ndarray]] | None:
    """`draw(rng)` of the augmentation of volumes whose slices have this `shape` (x, y): parameters of `augmented`. None if the
    recipe has none, as in the paper."""
    draws: dict[str, Callable[[np.random.Generator], np.ndarray]] = {}
    if recipe.rotation_deg or recipe.zoom:
        chosen: dict[str, Any] = {"rotation_deg": recipe.rotation_deg, "crop_px": recipe.zoom * np.array(shape), "flip": False}
        draws["affine"] = lambda rng: augment.draw_affine(rng, shape, **chosen)
    if recipe.gamma != (1.0, 1.0):
        draws["gamma"] = lambda rng: augment.draw_gamma(rng, recipe.gamma)
    return (lambda rng: {name: draw(rng) for name, draw in draws.items()}) if draws else None


def augmented(images: Any, labels: Any, parameters: Mapping[str, Any]) -> tuple[Any, Any]:
    """A batch of z-scored volumes (B, x, y, z, 1) and their labels (B, x, y, z).

    Args:
        images, labels: the batch.
        parameters: "affine", coefficients of `augment.affine`, by which all slices of a volume are turned and enlarged alike;
            "gamma", exponents of its grey values, after which the volume has a mean of 0 and a deviation of 1 again.
    """
    if "affine" in parameters:
        moved, labels = augment.affine(images[..., 0], labels, parameters["affine"])
        images = moved[..., None]
    if "gamma" in parameters:
        axes = (1, 2, 3, 4)
        low, high = ops.min(images, axes, keepdims=True), ops.max(images, axes, keepdims=True)
        raised = augment.gamma((images - low) / ops.maximum(high - low, EPSILON), parameters["gamma"])
        deviation = ops.maximum(ops.std(raised, axes, keepdims=True), EPSILON)
        images = (raised - ops.mean(raised, axes, keepdims=True)) / deviation
    return images, labels


def validate(model: "keras.Model", examples: Examples, loss: "keras.losses.Loss", outputs: int) -> dict[str, float]:
    """Mean loss, and mean foreground Dice over volumes of the network's grid, batch norm in inference mode.

    Args:
        model: to validate.
        examples: volumes of the validation side.
        loss: of Keras.
        outputs: how many of the logits belong to the segmentation.
    """
    losses, scores = [], []
    for position in range(len(examples)):
        image, labels = examples.one(position, generator(0, EXAMPLE, 0, position))
        logits = inference.logits(model, image[None], 1)
        losses.append(float(loss(labels[None], logits)))
        scores.append(foreground_dice(labels, logits[0, ..., :outputs]))
    return {"val_loss": float(np.mean(losses)), "val_dice": float(np.mean(scores))}


def foreground_dice(labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean Dice over the structures of one volume: labels (x, y, z), IGNORED left out; logits (x, y, z, outputs)."""
    predicted = classes_of(inference.activated(logits)) * (labels != datasets.IGNORED)
    return float(np.mean([metrics.dice(predicted == value, labels == value) for value in range(1, max(logits.shape[-1], 2))]))


def main(arguments: list[str] | None = None) -> None:
    parser = training_parser(METHOD, __doc__.splitlines()[0])
    parser.add_argument("--localiser", type=Path, metavar="RUN", help="use the localiser of this run instead of training one")
    run_experiments(METHOD, train, parser, arguments, own=("localiser",))


if __name__ == "__main__":
    main()
