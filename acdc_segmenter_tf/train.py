"""Train one experiment of the paper, predict its held-out patients and score them.

python -m acdc_segmenter_tf.train --dataset acdc --data-root DIR [--experiment NAME] [--preset quick]
"""

import time
from pathlib import Path

import numpy as np

from acdc_segmenter_tf import predict as prediction
from acdc_segmenter_tf.predict import network, prepare, prepare_labels
from acdc_segmenter_tf.recipe import DEFAULT, PRESETS, RECIPES
from shared import datasets, held_out, runs
from shared.datasets import splits
from shared.files import fingerprint
from shared.lazy import lazily
from shared.learning import inference
from shared.learning.batches import Batches
from shared.learning.examples import EXAMPLE, Slices, Volumes, generator
from shared.learning.prepared import store_all
from shared.progress import duration
from shared.training_command import run_experiments, training_parser

with lazily():
    from shared.framework import keras
    from shared.learning import augment, losses, training

LOSSES = {
    "cross_entropy": lambda recipe: losses.CrossEntropy(),
    "weighted_cross_entropy": lambda recipe: losses.CrossEntropy(
        [recipe.background_weight] + [recipe.foreground_weight] * len(recipe.structures)
    ),
    "dice_foreground": lambda recipe: losses.SoftDice(foreground_only=True),  # authors' code of 2017; `dice_onlyfg` of 2019
    "dice_all_classes": lambda recipe: losses.SoftDice(foreground_only=False),  # authors' code of 2019, `dice`
    "dice_paper_formula": lambda recipe: losses.PooledOverlap(),  # the formula as printed
}


def train(recipe, cases, workdir, *, dataset, experiment=DEFAULT, preset="paper", fold=0, seed=0, command=""):
    """Run one experiment in its folder below `workdir`, or go on with it, and return the folder.

    Args:
        recipe: a `Recipe`.
        cases: all labelled cases of the data set; the recipe's rule splits them.
        dataset, experiment, preset, fold: name the run folder.
        seed: of weights, shuffling and augmentation.
        command: kept in the run's record.

    Raises:
        InputError: data that cannot be used, or a folder that holds another run.
    """
    started = time.monotonic()
    training.seed_everything(seed)
    with training.precision(recipe.precision) as precision:
        model = network(recipe)
    loss, draw = loss_of(recipe), augmentation(recipe)
    cases = datasets.labelled(cases)
    split = split_of(recipe, cases, fold)
    digests = runs.fingerprints(cases)
    structures = datasets.values_to_write(cases[0].structures, recipe.structures)
    identity = runs.identity("acdc_segmenter_tf", experiment, preset, dataset, fold, seed, recipe, structures, split, digests,
                             ignore=cases[0].ignore)  # fmt: skip
    folder = runs.folder_of(workdir, "acdc_segmenter_tf", experiment, preset, dataset, fold)
    with runs.opened(folder, identity, command) as record:
        if runs.is_done(folder):
            print(f"done: {folder / 'summary.md'}")
            return folder

        stored = store(recipe, cases, digests, Path(workdir) / "cache")
        record["seconds"].setdefault("prepare", round(time.monotonic() - started, 1))
        examples = Slices if len(recipe.image_shape) == 2 else Volumes
        learned = examples([stored[case.name] for case in split.of(cases, "train")])
        batches = Batches(learned, recipe.batch_size, seed, draw)
        validation = examples([stored[case.name] for case in split.of(cases, "validation")])
        print(
            f"{experiment} ({preset}) on {dataset}: {len(batches.examples)} training and {len(validation)} validation examples, "
            f"{model.count_params():,} parameters, {precision}; {recipe.steps} steps of {recipe.batch_size}; run folder {folder}",
            flush=True,
        )
        result = training.fit(
            model,
            batches,
            steps=recipe.steps,
            loss=loss,
            optimizer=optimizer(recipe),
            augment=augment.affine,
            validate=lambda model: validate(model, validation, loss, recipe.batch_size),
            validate_every=recipe.validate_every,
            monitor="val_dice",
            folder=folder,
        )
        record["seconds"]["train"] = round(result.pop("seconds"), 1)
        record["result"] = {**result, "precision": precision}
        runs.write_record(folder, record)

        segmenter = prediction.load(folder)
        headline = [
            f"# {experiment} ({preset}) on {dataset}, fold {fold}",
            "",
            f"Best validation Dice {result['best_score']:.4f} at step {result['best_step']} of {recipe.steps}.",
        ]

        def predict(scan, case):
            return prediction.predict(segmenter, scan), None

        held_out.evaluate(folder, split.of(cases, "test"), predict, record, headline)
        print(f"done in {duration(time.monotonic() - started)}: {folder / 'summary.md'}")
        return folder


def split_of(recipe, cases, fold):
    """The `splits.Split` of labelled `cases` by the recipe's rule."""
    return splits.by_number(cases, recipe.validation_modulus, fold)


def store(recipe, cases, digests, cache):
    """Prepared cases on disk, name -> path; the key is content and labels of the case, geometry of the recipe, this code."""
    settings = fingerprint(recipe.structures, recipe.spacing_mm, recipe.image_shape, runs.code("acdc_segmenter_tf"))

    def make(case):
        image, labels = datasets.load_pair(case, recipe.structures)
        return {"image": prepare(image, recipe).array, "label": prepare_labels(labels, recipe).array}

    keys = [
        fingerprint(digest, dict(case.structures), case.ignore, settings) for case, digest in zip(cases, digests, strict=True)
    ]
    return store_all(cache, cases, keys, make)


def loss_of(recipe):
    """The Keras loss that `recipe.loss` names."""
    return LOSSES[recipe.loss](recipe)


def optimizer(recipe):
    """Adam with the recipe's schedule."""
    schedule = training.Schedule(
        recipe.steps, recipe.learning_rate, recipe.final_learning_rate, recipe.warmup_learning_rate, recipe.warmup_steps
    )
    return keras.optimizers.Adam(schedule, beta_1=recipe.beta_1, beta_2=recipe.beta_2, epsilon=recipe.epsilon)


def augmentation(recipe):
    """`draw(rng)` of the recipe's random transforms; None where it has none."""
    if not (recipe.rotation_deg or recipe.scale_crop_px or recipe.flip):
        return None
    return lambda rng: augment.draw_affine(
        rng, recipe.image_shape, rotation_deg=recipe.rotation_deg, crop_px=recipe.scale_crop_px, flip=recipe.flip
    )


def validate(model, examples, loss, batch_size):
    """Mean loss and selection Dice over all validation examples, batch norm in inference mode."""
    loss_sum, dice_sum = 0.0, 0.0
    for start in range(0, len(examples), batch_size):
        positions = range(start, min(start + batch_size, len(examples)))
        images, labels = zip(*(examples.one(i, generator(0, EXAMPLE, i)) for i in positions), strict=True)
        images, labels = np.stack(images), np.stack(labels)
        logits = inference.logits(model, images, batch_size)
        loss_sum += float(loss(labels, logits)) * len(images)
        dice_sum += selection_dice(labels, logits.argmax(axis=-1), logits.shape[-1]).sum()
    return {"val_loss": loss_sum / len(examples), "val_dice": float(dice_sum / len(examples))}


def selection_dice(labels, predicted, classes):
    """Per image, the mean over foreground classes of 2 |A and B| / (|A| + |B| + 1e-10), absent classes 0.

    Args:
        labels, predicted: (B, ...) class indices; where the label is IGNORED, the prediction does not count.

    Returns:
        (B,) float64.
    """
    axes = tuple(range(1, labels.ndim))
    scores = []
    for value in range(1, classes):
        a, b = labels == value, (predicted == value) & (labels != datasets.IGNORED)
        scores.append(2 * np.sum(a & b, axis=axes) / (a.sum(axis=axes) + b.sum(axis=axes) + 1e-10))
    return np.mean(scores, axis=0)


def main(arguments=None):
    parser = training_parser("acdc_segmenter_tf", __doc__.splitlines()[0], RECIPES, DEFAULT, PRESETS)
    run_experiments(parser, arguments, train, split_of, RECIPES, DEFAULT, PRESETS, folds="validation_modulus")


if __name__ == "__main__":
    main()
