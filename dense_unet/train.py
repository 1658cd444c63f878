"""Train one experiment of the paper, predict its held-out patients and score the slices that its criterion keeps.

python -m dense_unet.train --dataset acdc --data-root DIR [--experiment NAME] [--preset quick]
"""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dense_unet import figures, slicewise
from dense_unet import predict as prediction
from dense_unet.predict import network, prepare, prepare_labels
from dense_unet.recipe import DEFAULT, PRESETS, RECIPES, Preparation, Recipe
from shared import datasets, held_out, lifecycle
from shared.datasets import Case, splits
from shared.held_out import Scorer
from shared.lazy import lazily
from shared.learning import inference
from shared.learning.batches import Batches
from shared.learning.classes import class_counts, dice_of
from shared.learning.examples import EXAMPLE, Slices, generator
from shared.learning.prepared import voxels_of
from shared.lifecycle import Method, Run, Stage
from shared.runs import Experiment
from shared.scans.volume import Volume
from shared.scoring import tables
from shared.training_command import run_experiments, training_parser

with lazily():
    from dense_unet import augmentation, losses
    from shared.framework import keras
    from shared.learning import training


def train(recipe: Recipe, cases: Sequence[Case], experiment: Experiment) -> Path:
    """Run one experiment in its folder, or go on with it, and return the folder; see `lifecycle.train`."""
    return lifecycle.train(METHOD, recipe, cases, experiment)


def stages(recipe: Recipe, run: Run) -> Iterator[Stage]:
    """The one network of a run."""
    given, bordered = recipe.preparation, recipe.class_weights == "unet_map"
    term = (recipe.border_weight, recipe.border_sigma_px) if bordered else ()
    learned, shown = (
        run.prepared(side, given, lambda case: prepared(case, given, *term), lambda case: term)
        for side in ("train", "validation")
    )
    batches = Batches(
        Bordered(learned) if bordered else Slices(learned),
        recipe.batch_size,
        run.seed,
        functools.partial(augmentation.draw, recipe=recipe),
    )
    steps = recipe.epochs * len(batches)
    validation = spread(shown, recipe.validation_volumes)
    yield Stage(
        name="segmenter",
        build=lambda: network(recipe),
        precision=recipe.precision,
        batches=batches,
        steps=steps,
        loss=losses.of(recipe, class_counts(learned, len(given.structures) + 1)),
        optimizer=optimizer(recipe, steps),
        augment=augmentation.apply,
        validate=lambda model: validate(model, validation, recipe.batch_size),
        validate_every=len(batches),
        monitor="val_dice",
    )


def scorer(recipe: Recipe, run: Run) -> Scorer:
    """All slices are predicted and written; those that the criterion removes are empty in both label maps that are compared."""
    segmenter, least = prediction.load(run.folder), recipe.preparation.surrounded
    compared: list[slicewise.Compared] = []

    def reference_of(case: Case, scan: Volume, reference: Volume) -> Volume:
        return slicewise.without_removed(reference, slicewise.surroundings(case, scan, reference).kept(least))

    def predict(case: Case, scan: Volume, reference: Volume) -> tuple[Volume, held_out.Further]:
        predicted, found = prediction.predict(segmenter, scan), slicewise.surroundings(case, scan, reference)
        ours, theirs = (slicewise.without_removed(each, found.kept(least)) for each in (predicted, reference))
        compared.append(slicewise.compare(case, found, ours, theirs, segmenter.structures, least))
        return predicted, {held_out.CASES: (ours, theirs)}

    def finish() -> list[str]:
        figures.draw(run.folder, tables.read_cases(run.folder / held_out.CASES, held_out.COLUMNS))
        return [run.best_line("segmenter"), "", *slicewise.write(run.folder, compared, least)]

    return Scorer(predict=predict, reference=reference_of, finish=finish)


METHOD = Method(
    package="dense_unet",
    recipes=RECIPES,
    default=DEFAULT,
    presets=PRESETS,
    quick_minutes=18,
    split=lambda recipe, cases, fold: splits.by_share(cases, recipe.validation_share, recipe.test_share, recipe.split_seed),
    folds=lambda recipe: 1,
    check=network,
    stages=stages,
    scorer=scorer,
)


def prepared(case: Case, preparation: Preparation, *border: float) -> dict[str, np.ndarray]:
    """Image and classes of the slices of a labelled case that the criterion keeps, on the network's grid; with the numbers of a
    `border` term (see `losses.border`), this term too."""
    scan = datasets.load_image(case)
    reference = datasets.load_reference(case, scan)
    kept = slicewise.surroundings(case, scan, reference).kept(preparation.surrounded)
    image, labels = datasets.pair_of(case, scan, reference, preparation.structures)
    classes = prepare_labels(labels, preparation).array[..., kept]
    channels = {"image": prepare(image, preparation).array[..., kept], "label": classes}
    return channels | ({"border": losses.border(classes, *border)} if border else {})


class Bordered(Slices):
    """Slices whose image has the border term as its second channel; see `augmentation.apply`."""

    def one(self, position: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        path, z = self.places[position]
        voxels = voxels_of(path)[:, :, z]
        return np.stack([voxels["image"], voxels["border"]], axis=-1), np.ascontiguousarray(voxels["label"])


def optimizer(recipe: Recipe, steps: int) -> "keras.optimizers.Adam":
    """Adam with the recipe's schedule."""
    schedule = training.Schedule(steps, recipe.learning_rate, recipe.final_learning_rate, recipe.learning_rate, 0)
    return keras.optimizers.Adam(schedule, beta_1=recipe.beta_1, beta_2=recipe.beta_2, epsilon=recipe.epsilon)


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """At most `count` of the paths, evenly spread."""
    count = min(count, len(paths))
    return [paths[(2 * k + 1) * len(paths) // (2 * count)] for k in range(count)]


def validate(model: "keras.Model", paths: Sequence[Path], batch_size: int) -> dict[str, float]:
    """Mean over prepared volumes of the mean Dice of the structures that occur in them, batch norm in inference mode."""
    slices, pairs = Slices(paths), []
    for start in range(0, len(slices), batch_size):
        positions = range(start, min(start + batch_size, len(slices)))
        examples = [slices.one(position, generator(0, EXAMPLE, 0, position)) for position in positions]
        images, labels = (np.stack(parts) for parts in zip(*examples, strict=True))
        pairs.append((inference.logits(model, images, batch_size).argmax(axis=-1).astype(np.uint8), labels))
    found, labels = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    ends = np.cumsum([voxels_of(path).shape[2] for path in paths])[:-1]
    volumes = [dice_of(*pair) for pair in zip(np.split(found, ends), np.split(labels, ends), strict=True)]
    means = [float(np.mean(dice)) for dice in volumes if dice]
    return {"val_dice": float(np.mean(means)) if means else 0.0}


def main(arguments: list[str] | None = None) -> None:
    parser = training_parser(METHOD, __doc__.splitlines()[0])
    run_experiments(METHOD, train, parser, arguments)


if __name__ == "__main__":
    main()
