"""Recipes that train in seconds, and a finished run."""

import pytest

from propagation import train as training_command
from propagation.recipe import RECIPES, quick
from shared.recipes import replace
from tests.experiments import zheng

TINY = {"size": 32, "spacing_mm": 5.0, "initialization_groups": (1, 1, 1), "initialization_channels": (2, 2, 2),
        "propagation_groups": (1, 1), "propagation_channels": (2, 2), "variants": 2, "instants": 6, "initialization_instants": 2,
        "initialization_steps": 4, "propagation_steps": 4, "validate_every": 2, "precision": "float32"}  # fmt: skip


@pytest.fixture(scope="session")
def tiny():
    """The quick recipe of an experiment, coarser, narrower and shorter."""

    def shrunk(experiment="propagation", **changes):
        return replace(quick(RECIPES[experiment]), **{**TINY, **changes})

    return shrunk


@pytest.fixture(scope="session")
def finished(tiny, phantom_cases, tmp_path_factory):
    """The folder of a finished run of both networks."""
    return training_command.train(tiny(), phantom_cases, zheng(tmp_path_factory.mktemp("run"), command="train"))
