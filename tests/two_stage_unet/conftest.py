"""Recipes that train in seconds, and a finished run of all four steps."""

import keras
import pytest

from shared import runs
from shared.files import write_json
from shared.recipes import flat, replace
from shared.runs import Experiment
from two_stage_unet import predict as prediction
from two_stage_unet import train as training_command
from two_stage_unet.recipe import RECIPES, quick

TINY = {"structures": ("RV", "Myo", "LV"), "coarse_mm": 8.0, "fine_mm": 6.0, "net1_width": 2, "net2_width": 2, "unet3d_width": 2,
        "slices": 3, "iterations": (4, 4, 4, 4), "unet3d_iterations": 4, "validate_every": 2, "edges": (16,), "cubes": (2,),
        "net1_edge": 16, "stacks": 2, "unet3d_edge": 16, "test_parts": 5, "folds": 2, "precision": "float32"}  # fmt: skip


@pytest.fixture(scope="session")
def tiny():
    """The quick recipe of an experiment, coarser, narrower and shorter."""

    def shrunk(experiment="two_stage", **changes):
        return replace(quick(RECIPES[experiment]), **{**TINY, **changes})

    return shrunk


def experiment_in(workdir, name="two_stage", **more):
    return Experiment(package="two_stage_unet", name=name, dataset="acdc", workdir=workdir, **more)


@pytest.fixture(scope="session")
def finished(tiny, phantom_cases, tmp_path_factory):
    """The folder of a finished run of all four steps."""
    return training_command.train(tiny(), phantom_cases, experiment_in(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="session")
def untrained(tiny, tmp_path_factory):
    """The folder of a run whose networks have random weights."""
    folder, recipe = tmp_path_factory.mktemp("untrained"), tiny(steps=(1, 4))
    keras.utils.set_random_seed(0)
    for name, stage in (("net1", "step1"), ("net2", "")):
        (folder / stage).mkdir(exist_ok=True)
        prediction.network(recipe, name).save_weights(folder / stage / runs.BEST)
    structures = {1: "RV", 2: "Myo", 3: "LV"}
    write_json(folder / runs.RECORD, {"package": "two_stage_unet", "recipe": flat(recipe), "structures": structures})
    return folder
