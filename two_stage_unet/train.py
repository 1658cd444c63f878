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
from shared.datasets.case import known_name
from shared.datasets.splits import Split
from shared.files import fingerprint
from shared.held_out import Scorer
from shared.lazy import lazily
from shared.learning.batches import Batches
from shared.learning.classes import class_counts, dice_of
from shared.learning.examples import Examples
from shared.learning.prepared import voxels_of
from shared.lifecycle import Method, Run, Stage
from shared.runs import Experiment
from shared.scans import orientation
from shared.scans.volume import Volume
from shared.training_command import run_experiments, training_parser
from two_stage_unet import predict as prediction
from two_stage_unet.predict import JOINT, NET1, NET2, UNET3D, network
from two_stage_unet.recipe import DEFAULT, PRESETS, RECIPES, STRUCTURES, Preparation, Recipe
from two_stage_unet.sampling import Cubes, Joints, Stacks, Wholes

with lazily():
    from shared.framework import keras
    from shared.learning import training
    from two_stage_unet import augmentation, losses

NET1_ALONE = "cases_net1.csv"
LOOKS = 4  # examples of each validation case that a validation looks at
SIDES = ("train", "validation")
STEPS = ("step 1", "step 2", "step 3", "step 4")
LAST = ("step 4", UNET3D)  # stages whose weights are those of the run
Paths = dict[str, list[Path]]  # side -> prepared cases


def train(recipe: Recipe, cases: Sequence[Case], experiment: Experiment) -> Path:
    """Run one experiment in its folder, or go on with it, and return the folder; see `lifecycle.train`."""
    return lifecycle.train(METHOD, recipe, cases, experiment)


def stages(recipe: Recipe, run: Run) -> Iterator[Stage]:
    """The 3D U-Net, or the four steps of the paper."""
    given = recipe.preparation
    coarse = prepared(run, given, lambda case: coarse_channels(case, given), "coarse")
    counts = class_counts(coarse["train"], len(given.structures) + 1)
    if recipe.method == UNET3D:
        cubes = {side: Cubes(coarse[side], given.coarse_mm, (recipe.unet3d_edge,), (1,)) for side in SIDES}
        yield stage(recipe, run, UNET3D, losses.of(recipe, counts), augmentation.cubes, cubes, lambda: network(recipe, UNET3D))
    else:
        yield from four_steps(recipe, run, coarse, counts)


def four_steps(recipe: Recipe, run: Run, coarse: Paths, counts: Sequence[int]) -> Iterator[Stage]:
    """Steps 1 and 2 train Net1, step 3 both networks, and step 4 Net2. Each step goes on with the weights of the one before."""
    given, sizes, dice = recipe.preparation, (recipe.edges, recipe.cubes), losses.of(recipe, counts)
    if 1 in recipe.steps:
        wholes = {side: Wholes(coarse[side], given.coarse_mm) for side in SIDES}
        yield stage(recipe, run, "step 1", losses.foreground(recipe), augmentation.cubes, wholes, lambda: network(recipe, NET1))
    if 2 in recipe.steps:
        cubes = {side: Cubes(coarse[side], given.coarse_mm, *sizes) for side in SIDES}
        both = losses.both(recipe, counts)
        yield stage(recipe, run, "step 2", both, augmentation.cubes, cubes, lambda: net1_before(recipe, run, step=2))
    fine = prepared(run, given, lambda case: fine_channels(case, given), "fine")
    if 3 in recipe.steps:
        shapes = (recipe.net1_edge, recipe.slices, recipe.stacks)
        joints = {side: Joints(coarse[side], fine[side], given.coarse_mm, *sizes, *shapes) for side in SIDES}
        each = {NET1: dice, NET2: dice}
        yield stage(recipe, run, "step 3", each, augmentation.joint, joints, lambda: both_before_step_3(recipe, run))
    seen = with_region(recipe, run)
    stacks = {side: stacks_of(recipe, coarse[side], seen[side]) for side in SIDES}
    yield stage(recipe, run, "step 4", dice, augmentation.stacks, stacks, lambda: net2_before_step_4(recipe, run))


def stage(
    recipe: Recipe,
    run: Run,
    name: str,
    loss: "keras.losses.Loss | dict[str, keras.losses.Loss]",
    move: Callable[..., tuple[Any, Any]],
    examples: Mapping[str, Examples],
    build: Callable[[], "keras.Model"],
) -> Stage:
    """What all steps share: one volume per iteration, a fresh Adam, and the weights with the best validation Dice kept (ours)."""
    steps = recipe.unet3d_iterations if name == UNET3D else recipe.iterations[STEPS.index(name)]
    schedule = training.Schedule(steps, recipe.learning_rate, recipe.final_learning_rate, recipe.learning_rate, 0)
    adam = keras.optimizers.Adam(
        schedule, beta_1=recipe.beta_1, beta_2=recipe.beta_2, epsilon=recipe.epsilon, clipnorm=recipe.clip_norm or None
    )
    shown = Batches(examples["validation"], 1, run.seed, drawn(augmentation.switched_off(recipe), name))
    return Stage(
        name=name,
        folder="" if name in LAST else folder_of(name),
        build=build,
        precision=recipe.precision,
        batches=Batches(examples["train"], 1, run.seed, drawn(recipe, name)),
        steps=steps,
        loss=loss,
        optimizer=adam,
        augment=move,
        validate=lambda model: validate(model, shown, move, any_structure=name == "step 1"),
        validate_every=recipe.validate_every,
        monitor="val_dice",
    )


def folder_of(name: str) -> str:
    """Where the weights of a step lie inside the run."""
    return name.replace(" ", "")


def drawn(recipe: Recipe, name: str) -> Callable[[np.random.Generator], dict[str, np.ndarray]]:
    """`draw(rng)` of the transforms of a step's samples."""
    samples, planar = max(*recipe.cubes, recipe.stacks), name in ("step 3", "step 4")
    return lambda rng: augmentation.draw(rng, recipe, samples, planar)


# Networks as the steps before left them --------------------------------------------------------------------------------------


def net1_before(recipe: Recipe, run: Run, step: int) -> "keras.Model":
    """Net1 with the weights of the last of steps 1 and 2 that came before `step`; untrained where there was none."""
    before = [each for each in recipe.steps if each < min(step, 3)]
    return prediction.trained(run.folder, recipe, NET1, f"step{before[-1]}") if before else network(recipe, NET1)


def both_before_step_3(recipe: Recipe, run: Run) -> "keras.Model":
    """Net1 after steps 1 and 2, and an untrained Net2, in one graph."""
    both = network(recipe, JOINT)
    both.get_layer(NET1).set_weights(net1_before(recipe, run, step=3).get_weights())
    return both


def net2_before_step_4(recipe: Recipe, run: Run) -> "keras.Model":
    """Net2 after step 3; without that step untrained."""
    net2 = network(recipe, NET2)
    if 3 in recipe.steps:
        net2.set_weights(prediction.trained(run.folder, recipe, JOINT, "step3").get_layer(NET2).get_weights())
    return net2


# Prepared cases --------------------------------------------------------------------------------------------------------------


def prepared(run: Run, preparation: Preparation, make: Callable[[Case], Mapping[str, np.ndarray]], *more: object) -> Paths:
    """The cases of both sides, see `Run.prepared`."""
    return {side: run.prepared(side, preparation, make, lambda case: more) for side in SIDES}


def fine_pair(case: Case, preparation: Preparation) -> tuple[Volume, Volume]:
    """Image and classes of a labelled case on the fine grid, with axes as in prediction."""
    image, labels = datasets.load_pair(case, preparation.structures)
    turned, order, axes = orientation.facing_ras(image)
    classes = turned.with_array(np.flip(labels.array.transpose(order), axes))
    return prediction.prepare(turned, preparation), prediction.prepare_labels(classes, preparation)


def coarse_channels(case: Case, preparation: Preparation) -> dict[str, np.ndarray]:
    image, labels = fine_pair(case, preparation)
    return {"image": prediction.coarse(image, preparation).array, "label": prediction.coarse(labels, preparation, 0).array}


def fine_channels(case: Case, preparation: Preparation) -> dict[str, np.ndarray]:
    image, labels = fine_pair(case, preparation)
    return {"image": image.array, "label": labels.array}


def with_region(recipe: Recipe, run: Run) -> Paths:
    """The fine cases with the soft region that Net1 finds, which step 4 leaves as it is."""
    net1, given = prediction.load_net1(run.folder, recipe), recipe.preparation
    weights = fingerprint(runs.weights_of(run.folder, f"step{max(step for step in recipe.steps if step < 4)}"))

    def channels(case: Case) -> dict[str, np.ndarray]:
        image, labels = fine_pair(case, given)
        region, _ = prediction.soft_region(net1, image, recipe)
        return {f"region{c}": region[..., c] for c in range(region.shape[-1])} | {"image": image.array, "label": labels.array}

    return prepared(run, given, channels, recipe.region, weights)


def stacks_of(recipe: Recipe, coarse: Sequence[Path], seen: Sequence[Path]) -> Stacks:
    """What step 4 learns from. Voxel sizes follow from the shapes, since both grids cover the same space."""
    regions = [name for name in voxels_of(seen[0]).dtype.names or () if name.startswith("region")]
    shapes = [(voxels_of(one).shape, voxels_of(other).shape) for one, other in zip(coarse, seen, strict=True)]
    spacings_mm = [recipe.preparation.coarse_mm * np.array(one) / np.array(other) for one, other in shapes]
    return Stacks(seen, spacings_mm, regions, recipe.slices, recipe.stacks, recipe.stack_edge)


# Validation and scores -------------------------------------------------------------------------------------------------------


def validate(model: "keras.Model", shown: Batches, move: Callable[..., tuple[Any, Any]], any_structure: bool) -> dict[str, float]:
    """Mean Dice over the structures in some samples of each validation case, which are not transformed.

    Of two networks, Net2 counts. With `any_structure` all structures are one, as they are in the loss of step 1.
    """
    scores = []
    for step in range(LOOKS * len(shown)):
        inputs, labels = move(*shown[step])
        logits = model.predict_on_batch(inputs)
        if isinstance(labels, dict):
            logits, labels = logits[NET2], labels[NET2]
        found, labels = np.asarray(logits).argmax(axis=-1), np.asarray(labels)
        if any_structure:
            found, labels = found > 0, np.where(labels == datasets.IGNORED, labels, labels > 0)
        scores += dice_of(found, labels)
    return {"val_dice": float(np.mean(scores)) if scores else 0.0}


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
    """One part is held out in all folds, and the others are dealt into folds that select (paper, as we read it)."""
    found = splits.hold_out(cases, recipe.test_parts, recipe.folds, fold, recipe.split_seed)
    return Split(found.train, found.validation, found.validation) if recipe.report_folds else found


def for_cases(recipe: Recipe, cases: Sequence[Case]) -> Recipe:
    """The recipe; where it names the seven structures of MM-WHS and the data set lacks some, for those of the data set (ours)."""
    found = tuple(dict.fromkeys(known_name(name) for name in cases[0].structures.values()))
    whole = recipe.preparation.structures == STRUCTURES and not set(STRUCTURES) <= set(found)
    return recipes.replace(recipe, structures=found) if whole else recipe


def check(recipe: Recipe) -> None:
    """Raise InputError unless the recipe's networks can be built."""
    network(recipe, UNET3D if recipe.method == UNET3D else JOINT)


METHOD = Method(
    package="two_stage_unet",
    recipes=RECIPES,
    default=DEFAULT,
    presets=PRESETS,
    quick_minutes=30,
    split=split,
    folds=lambda recipe: recipe.folds,
    check=check,
    stages=stages,
    scorer=scorer,
    for_cases=for_cases,
)


def main(arguments: list[str] | None = None) -> None:
    parser = training_parser(METHOD, __doc__.splitlines()[0])
    run_experiments(METHOD, train, parser, arguments)


if __name__ == "__main__":
    main()
