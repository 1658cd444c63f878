"""Train one experiment of the paper, predict its held-out patients and score them.

python -m acdc_segmenter_tf.train --dataset acdc --data-root DIR [--experiment NAME] [--preset quick]
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from acdc_segmenter_tf import predict as prediction
from acdc_segmenter_tf.predict import network, prepare, prepare_labels
from acdc_segmenter_tf.recipe import DEFAULT, PRESETS, RECIPES, Preparation, Recipe
from shared import datasets, lifecycle
from shared.datasets import Case, splits
from shared.held_out import Scorer
from shared.lazy import lazily
from shared.learning import inference
from shared.learning.batches import Batches
from shared.learning.examples import EXAMPLE, Examples, Slices, Volumes, generator
from shared.lifecycle import Method, Run, Stage
from shared.runs import Experiment
from shared.training_command import run_experiments, training_parser

with lazily():
    from acdc_segmenter_tf import losses
    from shared.framework import keras
    from shared.learning import augment, training


def train(recipe: Recipe, cases: Sequence[Case], experiment: Experiment) -> Path:
    """Run one experiment in its folder, or go on with it, and return the folder; see `lifecycle.train`."""
    return lifecycle.train(METHOD, recipe, cases, experiment)


def stages(recipe: Recipe, run: Run) -> Iterator[Stage]:
    """The one network of a run."""
    kind = Volumes if recipe.preparation.is_3d else Slices
    learned, validation = (
        kind(run.prepared(side, recipe.preparation, lambda case: prepared(case, recipe.preparation)))
        for side in ("train", "validation")
    )
    loss = losses.of(recipe)
    yield Stage(
        name="segmenter",
        build=lambda: network(recipe),
        precision=recipe.precision,
        batches=Batches(learned, recipe.batch_size, run.seed, augmentation(recipe)),
        steps=recipe.steps,
        loss=loss,
        optimizer=optimizer(recipe),
        augment=augment.affine,
        validate=lambda model: validate(model, validation, loss, recipe.batch_size),
        validate_every=recipe.validate_every,
        monitor="val_dice",
    )


def scorer(recipe: Recipe, run: Run) -> Scorer:
    segmenter = prediction.load(run.folder)
    return Scorer(
        predict=lambda case, scan, reference: (prediction.predict(segmenter, scan), {}),
        finish=lambda: [run.best_line("segmenter")],
    )


METHOD = Method(
    package="acdc_segmenter_tf",
    recipes=RECIPES,
    default=DEFAULT,
    presets=PRESETS,
    quick_minutes=20,
    split=lambda recipe, cases, fold: splits.by_number(cases, recipe.validation_modulus, fold),
    folds=lambda recipe: recipe.validation_modulus,
    check=network,
    stages=stages,
    scorer=scorer,
)


def prepared(case: Case, preparation: Preparation) -> dict[str, np.ndarray]:
    """Image and classes of a labelled case on the network's grid."""
    image, labels = datasets.load_pair(case, preparation.structures)
    return {"image": prepare(image, preparation).array, "label": prepare_labels(labels, preparation).array}


def optimizer(recipe: Recipe) -> "keras.optimizers.Adam":
    """Adam with the recipe's schedule."""
    schedule = training.Schedule(
        recipe.steps, recipe.learning_rate, recipe.final_learning_rate, recipe.warmup_learning_rate, recipe.warmup_steps
    )
    return keras.optimizers.Adam(schedule, beta_1=recipe.beta_1, beta_2=recipe.beta_2, epsilon=recipe.epsilon)


def augmentation(recipe: Recipe) -> Callable[[np.random.Generator], np.ndarray] | None:
    """`draw(rng)` of the recipe's random transforms; None if it has none."""
    if not (recipe.rotation_deg or recipe.scale_crop_px or recipe.flip):
        return None
    shape = recipe.preparation.image_shape
    return lambda rng: augment.draw_affine(
        rng, shape, rotation_deg=recipe.rotation_deg, crop_px=recipe.scale_crop_px, flip=recipe.flip
    )


def validate(model: "keras.Model", examples: Examples, loss: "keras.losses.Loss", batch_size: int) -> dict[str, float]:
    """Mean loss and selection Dice over all validation examples, batch norm in inference mode."""
    loss_sum, dice_sum = 0.0, 0.0
    for start in range(0, len(examples), batch_size):
        positions = range(start, min(start + batch_size, len(examples)))
        pairs = [examples.one(position, generator(0, EXAMPLE, 0, position)) for position in positions]
        images, labels = (np.stack(parts) for parts in zip(*pairs, strict=True))
        logits = inference.logits(model, images, batch_size)
        loss_sum += float(loss(labels, logits)) * len(images)
        dice_sum += selection_dice(labels, logits.argmax(axis=-1), logits.shape[-1]).sum()
    return {"val_loss": loss_sum / len(examples), "val_dice": float(dice_sum / len(examples))}


def selection_dice(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Per image, the mean over foreground classes of 2 |A and B| / (|A| + |B| + 1e-10), where an absent class counts as 0.

    Args:
        labels, predicted: (B, ...) class indices; where the label is IGNORED, the prediction does not count.
        classes: how many there are, background included.

    Returns:
        (B,) float64.
    """
    axes = tuple(range(1, labels.ndim))
    scores = []
    for value in range(1, classes):
        a, b = labels == value, (predicted == value) & (labels != datasets.IGNORED)
        scores.append(2 * np.sum(a & b, axis=axes) / (a.sum(axis=axes) + b.sum(axis=axes) + 1e-10))
    return np.mean(scores, axis=0)


def main(arguments: list[str] | None = None) -> None:
    parser = training_parser(METHOD, __doc__.splitlines()[0])
    run_experiments(METHOD, train, parser, arguments)


if __name__ == "__main__":
    main()
