"""Recipes that train in seconds, a finished run, and a run with random weights."""

import keras
import pytest

from dense_unet import predict as prediction
from dense_unet import train as training_command
from dense_unet.recipe import RECIPES, quick
from shared import runs
from shared.files import write_json
from shared.recipes import flat, replace
from tests.experiments import penso

TINY = {"width": 2, "growth": 2, "dense_layers": (1, 1, 1, 1), "size": 48, "spacing_mm": 4.8, "epochs": 2,
        "validation_volumes": 1, "precision": "float32"}  # fmt: skip


@pytest.fixture(scope="session")
def tiny():
    """The quick recipe of an experiment, coarser, narrower and shorter."""

    def shrunk(experiment="dense_half_wce", **changes):
        return replace(quick(RECIPES[experiment]), **{**TINY, **changes})

    return shrunk


@pytest.fixture(scope="session")
def finished(tiny, phantom_cases, tmp_path_factory):
    """The folder of a finished run."""
    return training_command.train(tiny(), phantom_cases, penso(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="session")
def untrained(tiny, tmp_path_factory):
    """The folder of a run whose network has random weights."""
    folder, recipe = tmp_path_factory.mktemp("untrained"), tiny()
    keras.utils.set_random_seed(1)
    prediction.network(recipe).save_weights(folder / runs.BEST)
    write_json(
        folder / runs.RECORD, {"package": "dense_unet", "recipe": flat(recipe), "structures": {3: "LV", 1: "RV", 2: "Myo"}}
    )
    return folder
