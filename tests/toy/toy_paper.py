"""A sixth paper as a newcomer would begin it: a single convolution that tells bright from dark, slice by slice."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from shared import datasets, lifecycle, recipes, runs, training_command
from shared.datasets import splits
from shared.framework import keras
from shared.held_out import Scorer
from shared.learning import inference, training
from shared.learning.batches import Batches
from shared.learning.examples import Slices
from shared.prediction import predict_frames
from shared.scans import preprocess


@dataclass(frozen=True, kw_only=True)
class Preparation:
    structures: Annotated[tuple[str, ...], recipes.structures()]
    side: Annotated[int, recipes.whole(1, 512)]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    preparation: Preparation
    steps: Annotated[int, recipes.whole(1, 10**6)]


RECIPES = {"one_layer": Recipe(preparation=Preparation(structures=("LV",), side=32), steps=100)}
PRESETS = {"paper": lambda recipe: recipe, "quick": lambda recipe: recipes.replace(recipe, steps=5)}


def network(recipe):
    image = keras.Input((recipe.preparation.side, recipe.preparation.side, 1))
    return keras.Model(image, keras.layers.Conv2D(2, 3, padding="same")(image), name="one_layer")


def prepare(scan, preparation):
    return preprocess.crop_or_pad(preprocess.zscore(scan), (preparation.side, preparation.side, scan.array.shape[2]))


def predict(segmenter, scan):
    model, recipe, structures = segmenter

    def classes(frame):
        prepared = prepare(frame, recipe.preparation)
        found = inference.probabilities(model, np.moveaxis(prepared.array, 2, 0)[..., None], 8).argmax(axis=-1)
        return preprocess.onto_grid(prepared.with_array(np.moveaxis(found, 0, 2)), frame, 0).array

    return predict_frames(scan, classes, structures)


def load(folder):
    recipe, structures = runs.load_recipe(folder, Recipe)
    return training.trained(lambda: network(recipe), "float32", runs.weights_of(folder)), recipe, structures


def prepared(case, preparation):
    image, labels = datasets.load_pair(case, preparation.structures)
    shape = (preparation.side, preparation.side, labels.array.shape[2])
    return {"image": prepare(image, preparation).array, "label": preprocess.crop_or_pad(labels, shape).array}


def stages(recipe, run):
    paths = run.prepared("train", recipe.preparation, lambda case: prepared(case, recipe.preparation))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    yield lifecycle.Stage(name="one layer", build=lambda: network(recipe), batches=Batches(Slices(paths), 4, run.seed),
                          steps=recipe.steps, loss=loss, optimizer=keras.optimizers.Adam(0.1), monitor=None,
                          validate=lambda model: {"val_dice": 0.0}, validate_every=recipe.steps)  # fmt: skip


def scorer(recipe, run):
    segmenter = load(run.folder)
    return Scorer(predict=lambda case, scan, reference: (predict(segmenter, scan), {}))


METHOD = lifecycle.Method(
    quick_minutes=1,
    package="toy_paper", recipes=RECIPES, default="one_layer", presets=PRESETS, check=network, stages=stages, scorer=scorer,
    split=lambda recipe, cases, fold: splits.k_fold(cases, 5, fold, 0), folds=lambda recipe: 5,
)  # fmt: skip


def train(recipe, cases, experiment):
    return lifecycle.train(METHOD, recipe, cases, experiment)


def main(arguments=None):
    training_command.run_experiments(METHOD, train, training_command.training_parser(METHOD, "Train."), arguments)
