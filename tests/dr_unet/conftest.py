"""A small phantom in LASC's layout, recipes that train in seconds, and one finished run of every method."""

import pytest

from dr_unet import train as training_command
from dr_unet.recipe import RECIPES, quick
from shared import datasets, phantom
from shared.recipes import replace
from tests.experiments import vesal

TINY = {"width": 2, "localiser_width": 2, "precision": "float32", "epochs": 2, "localiser_epochs": 2, "batch_size": 3,
        "localiser_batch_size": 3, "patience": 5}  # fmt: skip
GRIDS = {  # whole scans of 50 x 40 x 55 mm, and of the phantom of ACDC the middle
    "LA": {"spacing_mm": (2.5, 2.5, 3.75), "image_shape": (24, 24, 16), "localiser_factors": (1, 1, 2),
           "localiser_shape": (24, 24, 8), "crop_shape": (16, 16, 16)},
    "heart": {"spacing_mm": (5.0, 5.0, 10.0), "image_shape": (32, 32, 16), "localiser_factors": (2, 2, 1),
              "localiser_shape": (16, 16, 16), "crop_shape": (24, 24, 16)},
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny():
    """The quick recipe of an experiment, on coarser grids and narrower."""

    def shrunk(experiment, **changes):
        recipe = quick(RECIPES[experiment])
        grids = GRIDS["LA" if recipe.preparation.structures == ("LA",) else "heart"]
        return replace(recipe, **{**TINY, **grids, "input_factors": (1, 1, 1), **changes})

    return shrunk


@pytest.fixture(scope="session")
def lasc_root(tmp_path_factory):
    """LASC layout, ten patients: two are held out, and of the others the five folds validate two or one."""
    return phantom.write_lasc(tmp_path_factory.mktemp("phantom") / "lasc", cases=10, seed=3, size=(80, 64))


@pytest.fixture(scope="session")
def lasc_cases(lasc_root):
    return datasets.find("lasc", lasc_root)


@pytest.fixture(scope="session")
def multi_stage(tiny, lasc_cases, tmp_path_factory):
    """A finished multi-stage run on the left atrium."""
    return training_command.train(tiny("multi_stage_f8"), lasc_cases, vesal(tmp_path_factory.mktemp("multi_stage")))
