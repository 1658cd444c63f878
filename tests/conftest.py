"""Fixtures that several tests share: a small phantom data set, and recipes that train in seconds."""

import pytest

from acdc_segmenter_tf.recipe import RECIPES, quick
from shared import datasets, phantom
from shared.recipes import replace


@pytest.fixture(scope="session")
def phantom_root(tmp_path_factory):
    """ACDC layout, five patients (one of each group), of which patient005 validates."""
    root = tmp_path_factory.mktemp("phantom") / "acdc"
    phantom.write_acdc(root, patients=5, seed=7)
    return root


@pytest.fixture(scope="session")
def phantom_cases(phantom_root):
    return datasets.find("acdc", phantom_root)


@pytest.fixture
def tiny():
    return shrunk


def shrunk(experiment="unet2d_modified_wxent", **changes):
    """The quick recipe of an experiment, narrowed until a step takes a fraction of a second."""
    recipe = quick(RECIPES[experiment])
    shape = (20, 20, 28) if recipe.preparation.is_3d else (36, 36)
    if recipe.network == "fcn8":
        shape = (32, 32)
    defaults = {"width": 2, "image_shape": shape, "steps": 4, "validate_every": 2, "batch_size": 2, "precision": "float32"}
    return replace(recipe, **{**defaults, **changes})
