"""What prepared cases are kept by: any field of any paper's preparation, so that none is read that was prepared otherwise."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from shared.recipes import flat, replace
from shared.runs import Experiment
from tests.experiments import open_run

ROOT = Path(__file__).parents[1]
MODULES = [importlib.import_module(f"{path.parent.name}.recipe") for path in sorted(ROOT.glob("*/recipe.py"))]
FIELDS = [
    pytest.param(module, field, id=f"{module.__package__}-{field}")
    for module in MODULES
    for field in flat(next(iter(module.RECIPES.values())).preparation)
]


def other(value):
    """A value of the same kind that a recipe takes too."""
    if isinstance(value, tuple):
        return tuple(map(other, value))
    return f"{value}2" if isinstance(value, str) else 2 * value if isinstance(value, int) else value / 2 or 1.0


@pytest.mark.parametrize(("module", "field"), FIELDS)
def test_a_field_of_the_preparation_changes_the_key(module, field, phantom_cases, tmp_path):
    run = open_run(Experiment(package=module.__package__, name="any", dataset="acdc", workdir=tmp_path), phantom_cases[:1])
    voxels = np.ones((1, 1, 1))

    def path_of(preparation):
        (path,) = run.prepared("train", preparation, lambda case: {"image": voxels, "label": voxels})
        return path

    given = next(iter(module.RECIPES.values())).preparation
    changed = replace(given, **{field: other(flat(given)[field])})
    assert path_of(given) == path_of(replace(given)) != path_of(changed)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__package__)
def test_no_group_has_a_field_of_the_recipes_own_name(module):
    recipe = next(iter(module.RECIPES.values()))
    own = vars(recipe).keys() - {"preparation"}
    assert not own & flat(recipe.preparation).keys() and own | flat(recipe.preparation).keys() == flat(recipe).keys()
