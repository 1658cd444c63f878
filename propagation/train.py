"""Train one experiment of the paper, predict its held-out patients and score them with and without propagation.

python -m propagation.train --dataset {stacom,acdc} --data-root DIR [--experiment NAME] [--fold K|all] [--preset quick]
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from propagation import along_axis, masks
from propagation import predict as prediction
from propagation.beating import database
from propagation.predict import INITIALIZATION, PROPAGATION, STRUCTURES, network
from propagation.recipe import DEFAULT, PRESETS, RECIPES, Recipe
from shared import held_out, lifecycle
from shared.datasets import Case, splits
from shared.held_out import Scorer
from shared.lazy import lazily
from shared.learning import inference
from shared.learning.batches import Batches
from shared.learning.examples import Examples
from shared.lifecycle import Method, Run, Stage
from shared.runs import Experiment
from shared.scans.volume import Volume
from shared.scoring import metrics
from shared.training_command import run_experiments, training_parser

with lazily():
    from propagation import losses
    from shared.framework import keras
    from shared.learning import augment, training

BEATING = ("", "ED")  # phases of a scan that motion starts from
Sides = tuple[Examples, Examples]  # what a network learns from, and what the learning curve shows


def train(recipe: Recipe, cases: Sequence[Case], experiment: Experiment) -> Path:
    """Run one experiment in its folder, or go on with it, and return the folder; see `lifecycle.train`."""
    return lifecycle.train(METHOD, recipe, cases, experiment)


def stages(recipe: Recipe, run: Run) -> Iterator[Stage]:
    """The initialization network, and where the method propagates, the propagation network."""
    options = {"used": recipe.initialization_instants, "margin": recipe.initialization_margin}
    yield stage(recipe, run, INITIALIZATION, 3, recipe.initialization_steps, examples(recipe, run, database.Slices, **options))
    if recipe.method == PROPAGATION:
        options = {"used": recipe.instants, "mask_lag": recipe.mask_lag}
        yield stage(recipe, run, PROPAGATION, 2, recipe.propagation_steps, examples(recipe, run, database.Steps, **options))


def examples(recipe: Recipe, run: Run, kind: Callable[..., Examples], **options: float) -> Sides:
    """What a network learns from, and one instant of each held-out scan, which only the learning curve uses."""

    def of_side(side: str, variants: int, **options: float) -> Examples:
        cases = run.side(side)
        paths = run.prepared(side, recipe.preparation, lambda case: database.prepared(case, recipe.preparation))
        return kind(paths, [case.phase in BEATING for case in cases], run.seed, spacing_mm=recipe.preparation.spacing_mm,
                    variants=variants, instants=recipe.instants, **options)  # fmt: skip

    return of_side("train", recipe.variants, **options), of_side("test", 1, **options | {"used": 1})


def stage(recipe: Recipe, run: Run, name: str, scales: int, steps: int, sides: Sides) -> Stage:
    """What both networks share: a number of steps, after which the last weights are kept (paper 2.5)."""
    learned, unseen = sides
    loss = losses.MultiScale(scales)
    rate = training.Schedule(steps, recipe.learning_rate, recipe.final_learning_rate, recipe.learning_rate, 0)
    shown = Batches(unseen, 1, run.seed)
    return Stage(
        name=name,
        folder="" if name == recipe.method else name,
        build=lambda: network(recipe, name),
        precision=recipe.precision,
        batches=Batches(learned, recipe.batch_size, run.seed, turn(recipe)),
        steps=steps,
        loss=loss,
        optimizer=keras.optimizers.SGD(rate, momentum=recipe.momentum),
        augment=augment.affine,
        validate=lambda model: validate(model, shown, loss),
        validate_every=recipe.validate_every,
        monitor=None,
    )


def scorer(recipe: Recipe, run: Run) -> Scorer:
    """The wall on the scan's grid, and on the network's grid, with and without propagation, next to the reference there."""
    segmenter, compared = prediction.load(run.folder), []

    def predict(case: Case, scan: Volume, reference: Volume) -> tuple[Volume, held_out.Further]:
        each = along_axis.compare(segmenter, case, scan, reference)
        compared.append(each)
        return each.native, {
            held_out.RESAMPLED: (each.own, each.reference),
            along_axis.ALONE: (each.found[along_axis.METHODS[1]], each.reference),
        }

    return Scorer(
        predict=predict,
        reference=lambda case, scan, reference: masks.wall_on(case, scan, reference, recipe.preparation.rv_wall_mm),
        finish=lambda: along_axis.write(run.folder, compared, STRUCTURES),
    )


METHOD = Method(
    package="propagation",
    recipes=RECIPES,
    default=DEFAULT,
    presets=PRESETS,
    quick_minutes=20,
    split=lambda recipe, cases, fold: splits.k_fold(cases, recipe.folds, fold, recipe.split_seed),
    folds=lambda recipe: recipe.folds,
    structures=lambda recipe, cases: STRUCTURES,
    check=network,
    stages=stages,
    scorer=scorer,
)


def turn(recipe: Recipe) -> Callable[[np.random.Generator], np.ndarray]:
    """The paper's random rotation: one for the slices, the mask and the labels of an example."""
    shape = (recipe.preparation.size, recipe.preparation.size)
    return lambda rng: augment.draw_affine(rng, shape, rotation_deg=recipe.rotation_deg, crop_px=0, flip=False)


def validate(model: "keras.Model", shown: Batches, loss: "keras.losses.Loss") -> dict[str, float]:
    """Mean loss, and mean Dice at the finest scale, of one example of every held-out scan, without augmentation."""
    losses, scores = [], []
    for step in range(len(shown)):
        inputs, wall = shown[step]
        found = inference.logits(model, inputs, 1)
        losses.append(float(loss(wall, found)))
        scores.append(metrics.dice(found[0, ..., : wall.shape[-1]] >= 0.5, wall[0] > 0))
    return {"val_loss": float(np.mean(losses)), "val_dice": float(np.mean(scores))}


def main(arguments: list[str] | None = None) -> None:
    parser = training_parser(METHOD, __doc__.splitlines()[0])
    run_experiments(METHOD, train, parser, arguments)


if __name__ == "__main__":
    main()
