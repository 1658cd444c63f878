"""Train one experiment of the paper in its four steps, predict its held-out patients and score them.

python -m two_stage_unet.train --dataset {mmwhs_ct,mmwhs_mr} --data-root DIR [--experiment NAME] [--fold K|all] [--preset quick]
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shared import datasets, held_out, lifecycle, recipes, runs
from shared.datasets import Case, splits
from shared.datasets.splits import Split
from shared.files import fingerprint
from shared.held_out import Scorer
from shared.lazy import lazily
from shared.learning.batches import Batches
from shared.learning.examples import Examples
from shared.learning.prepared import voxels_of
from shared.lifecycle import Method, Run, Stage
from shared.runs import Experiment
from shared.scans import orientation
from shared.scans.volume import Volume
from shared.scoring import metrics
from shared.training_command import run_experiments, training_parser
from two_stage_unet import predict as prediction
from two_stage_unet.predict import JOINT, NET1, NET2, UNET3D, network
from two_stage_unet.recipe import DEFAULT, PRESETS, RECIPES, Preparation, Recipe
from two_stage_unet.sampling import Cubes, Joints, Stacks, Wholes

with lazily():
    from shared.framework import keras
    from shared.learning import training
    from two_stage_unet import augmentation, losses

NET1_ALONE = "cases_net1.csv"
LOOKS = 4  # examples of each validation case that a validation looks at
SIDES = ("train", "validation")
Paths = dict[str, list[Path]]  # side -> prepared cases


def train(recipe: Recipe, cases: Sequence[Case], experiment: Experiment) -> Path:
    """Run one experiment in its folder, or go on with it, and return the folder; see `lifecycle.train`."""
    return lifecycle.train(METHOD, recipe, cases, experiment)


def stages(recipe: Recipe, run: Run) -> Iterator[Stage]:
    """The 3D U-Net, or the steps of the paper's section 2.4."""
    given = recipe.preparation
    coarse = prepared(run, given, lambda case: coarse_channels(case, given), lambda case: "coarse")
    dice = losses.of(recipe, class_counts(coarse["train"], len(given.structures) + 1))
    if recipe.method == UNET3D:
        yield stage(recipe, run, UNET3D, "", dice, augmentation.cubes, lambda: network(recipe, UNET3D), {
            side: Cubes(coarse[side], given.coarse_mm, (recipe.unet3d_edge,), (1,)) for side in SIDES
        })  # fmt: skip
        return
    yield from four_steps(recipe, run, coarse, dice)


def four_steps(recipe: Recipe, run: Run, coarse: Paths, dice: "keras.losses.Loss") -> Iterator[Stage]:
    """Steps 1 and 2 train Net1, step 3 both networks, step 4 Net2; each goes on with the weights of the one before and a fresh Adam."""
    given, sizes = recipe.preparation, (recipe.edges, recipe.cubes)
    roi = losses.ForegroundDice(recipe.smoothing, recipe.dice_as_printed)
    if 1 in recipe.steps:
        yield stage(recipe, run, "step 1", "step1", roi, augmentation.cubes, lambda: network(recipe, NET1), {
            side: Wholes(coarse[side], given.coarse_mm) for side in SIDES
        })  # fmt: skip
    if 2 in recipe.steps:
        yield stage(recipe, run, "step 2", "step2", losses.Sum([roi, dice]), augmentation.cubes, lambda: net1_so_far(recipe, run, 2), {
            side: Cubes(coarse[side], given.coarse_mm, *sizes) for side in SIDES
        })  # fmt: skip
    fine = prepared(run, given, lambda case: fine_channels(case, given), lambda case: "fine")
    if 3 in recipe.steps:
        shapes = (recipe.net1_edge, recipe.slices, recipe.stacks)
        yield stage(recipe, run, "step 3", "step3", {NET1: dice, NET2: dice}, augmentation.joint, lambda: both_so_far(recipe, run), {
            side: Joints(coarse[side], fine[side], given.coarse_mm, *sizes, *shapes) for side in SIDES
        }, planar=True)  # fmt: skip
    seen = with_region(recipe, run)
    yield stage(recipe, run, "step 4", "", dice, augmentation.stacks, lambda: net2_so_far(recipe, run), {
        side: Stacks(seen[side], spacings_mm(coarse[side], seen[side], given.coarse_mm), regions_of(seen[side][0]),
                     recipe.slices, recipe.stacks)
        for side in SIDES
    }, planar=True)  # fmt: skip


def stage(
    recipe: Recipe,
    run: Run,
    name: str,
    folder: str,
    loss: "keras.losses.Loss | dict[str, keras.losses.Loss]",
    move: Callable[..., tuple[Any, Any]],
    build: Callable[[], "keras.Model"],
    examples: Mapping[str, Examples],
    planar: bool = False,
) -> Stage:
    """What the steps share: Adam at a constant rate, one volume per iteration, the best weights by the validation Dice kept (ours)."""
    steps = recipe.unet3d_iterations if name == UNET3D else recipe.iterations
    samples = max(*recipe.cubes, recipe.stacks)
    schedule = training.Schedule(steps, recipe.learning_rate, recipe.final_learning_rate, recipe.learning_rate, 0)
    still = recipes.replace(recipe, rotation_deg=0.0, translation=0.0, shear_deg=0.0, scaling=0.0, flip=False, elastic_mm=0.0)
    shown = Batches(examples["validation"], 1, run.seed, lambda rng: augmentation.draw(rng, still, samples, planar))
    return Stage(
        name=name,
        folder=folder,
        build=build,
        precision=recipe.precision,
        batches=Batches(examples["train"], 1, run.seed, lambda rng: augmentation.draw(rng, recipe, samples, planar)),
        steps=steps,
        loss=loss,
        optimizer=keras.optimizers.Adam(schedule, beta_1=recipe.beta_1, beta_2=recipe.beta_2, epsilon=recipe.epsilon),
        augment=move,
        validate=lambda model: validate(model, shown, move),
        validate_every=recipe.validate_every,
        monitor="val_dice",
    )


# Networks as the steps before left them -------------------------------------------------------------------------------------------


def net1_so_far(recipe: Recipe, run: Run, before: int) -> "keras.Model":
    """Net1 with the weights of the last step before step `before`; untrained where there is none."""
    steps = [step for step in recipe.steps if step < min(before, 3)]
    if not steps:
        return network(recipe, NET1)
    return prediction.trained(run.folder, recipe, NET1, f"step{steps[-1]}")


def both_so_far(recipe: Recipe, run: Run) -> "keras.Model":
    """Net1 as it is after steps 1 and 2, and an untrained Net2, in one graph."""
    both = network(recipe, JOINT)
    both.get_layer(NET1).set_weights(net1_so_far(recipe, run, 3).get_weights())
    return both


def net2_so_far(recipe: Recipe, run: Run) -> "keras.Model":
    """Net2 as step 3 left it; without step 3 untrained."""
    net2 = network(recipe, NET2)
    if 3 in recipe.steps:
        net2.set_weights(prediction.trained(run.folder, recipe, JOINT, "step3").get_layer(NET2).get_weights())
    return net2


# Prepared cases -------------------------------------------------------------------------------------------------------------------


def prepared(
    run: Run, preparation: Preparation, make: Callable[..., Mapping[str, np.ndarray]], more: Callable[..., object]
) -> Paths:
    return {side: run.prepared(side, preparation, make, more) for side in SIDES}


def turned_pair(case: Case, preparation: Preparation) -> tuple[Volume, Volume]:
    """Image and classes of a labelled case on the fine grid, axes as in prediction."""
    return fine_pair(*datasets.load_pair(case, preparation.structures), preparation)


def fine_pair(image: Volume, labels: Volume, preparation: Preparation) -> tuple[Volume, Volume]:
    turned, axes = orientation.facing_ras(image)
    classes = turned.with_array(np.flip(labels.array, axes))
    return prediction.prepare(turned, preparation), prediction.prepare_labels(classes, preparation)


def coarse_channels(case: Case, preparation: Preparation) -> dict[str, np.ndarray]:
    image, labels = turned_pair(case, preparation)
    return {"image": prediction.coarse(image, preparation).array, "label": prediction.coarse(labels, preparation, 0).array}


def fine_channels(case: Case, preparation: Preparation) -> dict[str, np.ndarray]:
    image, labels = turned_pair(case, preparation)
    return {"image": image.array, "label": labels.array}


def with_region(recipe: Recipe, run: Run) -> Paths:
    """The fine cases with the soft region that Net1 finds, which step 4 leaves as it is."""
    net1, given = prediction.load_net1(run.folder, recipe), recipe.preparation
    weights = fingerprint(runs.weights_of(run.folder, f"step{max(step for step in recipe.steps if step < 4)}"))

    def channels(case: Case) -> dict[str, np.ndarray]:
        image, labels = turned_pair(case, given)
        region, _ = prediction.soft_region(net1, image, recipe)
        return {f"region{c}": region[..., c] for c in range(region.shape[-1])} | {"image": image.array, "label": labels.array}

    return prepared(run, given, channels, lambda case: (recipe.region, weights))


def regions_of(path: Path) -> list[str]:
    """Names of the channels that hold the soft region."""
    return [name for name in voxels_of(path).dtype.names or () if name.startswith("region")]


def spacings_mm(coarse: Sequence[Path], fine: Sequence[Path], coarse_mm: float) -> list[np.ndarray]:
    """Voxel sizes on the fine grid: both grids cover the same space."""
    shapes = [(voxels_of(one).shape, voxels_of(other).shape) for one, other in zip(coarse, fine, strict=True)]
    return [coarse_mm * np.array(one) / np.array(other) for one, other in shapes]


def class_counts(paths: Sequence[Path], classes: int) -> list[int]:
    """Voxels of each class, background included, in all of the cases."""
    counts = sum(np.bincount(voxels_of(path)["label"].ravel(), minlength=datasets.IGNORED + 1) for path in paths)
    return [int(count) for count in counts[:classes]]


# Validation and scores ------------------------------------------------------------------------------------------------------------


def validate(model: "keras.Model", shown: Batches, move: Callable[..., tuple[Any, Any]]) -> dict[str, float]:
    """Mean Dice over the structures that are there, of some samples of each validation case as they are; of both networks, that of
    the last."""
    scores = []
    for step in range(LOOKS * len(shown)):
        inputs, labels = move(*shown[step])
        logits = model.predict_on_batch(inputs)
        if isinstance(labels, dict):
            logits, labels = logits[NET2], labels[NET2]
        scores += dice_of(np.asarray(logits).argmax(axis=-1), np.asarray(labels))
    return {"val_dice": float(np.mean(scores)) if scores else 0.0}


def dice_of(found: np.ndarray, labels: np.ndarray) -> list[float]:
    """Dice of each structure that occurs in one of them, over all samples; IGNORED voxels are left out."""
    found = found * (labels != datasets.IGNORED)
    values = {*np.unique(found).tolist(), *np.unique(labels).tolist()} - {0, datasets.IGNORED}
    return [float(metrics.dice(found == value, labels == value)) for value in sorted(values)]


def scorer(recipe: Recipe, run: Run) -> Scorer:
    """The label map of both networks, and that of Net1 alone."""
    segmenter = prediction.load(run.folder)
    alone = replace(segmenter, net2=None)

    def predict(case: Case, scan: Volume, reference: Volume) -> tuple[Volume, held_out.Further]:
        found = prediction.predict(segmenter, scan)
        if segmenter.net2 is None:
            return found, {}
        return found, {NET1_ALONE: (prediction.predict(alone, scan), reference)}

    return Scorer(predict=predict, finish=lambda: [run.best_line(UNET3D if recipe.method == UNET3D else "step 4")])


def split(recipe: Recipe, cases: Sequence[Case], fold: int) -> Split:
    """One part is held out in all folds, and the others are dealt into folds that select (paper 3, as we read it)."""
    found = splits.hold_out(cases, recipe.test_parts, recipe.folds, fold, recipe.split_seed)
    return Split(found.train, found.validation, found.validation) if recipe.report_folds else found


def check(recipe: Recipe) -> None:
    """Raise InputError unless the recipe's networks can be built."""
    network(recipe, UNET3D if recipe.method == UNET3D else JOINT)


METHOD = Method(
    package="two_stage_unet",
    recipes=RECIPES,
    default=DEFAULT,
    presets=PRESETS,
    split=split,
    folds=lambda recipe: recipe.folds,
    check=check,
    stages=stages,
    scorer=scorer,
)


def main(arguments: list[str] | None = None) -> None:
    parser = training_parser(METHOD, __doc__.splitlines()[0])
    run_experiments(METHOD, train, parser, arguments)


if __name__ == "__main__":
    main()
