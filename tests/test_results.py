"""The committed results: today's recipes can read the runs that made them."""

import importlib
from pathlib import Path

import pytest

from shared import recipes, runs

ROOT = Path(__file__).parents[1]
RUNS = [path.parent.relative_to(ROOT) for path in sorted((ROOT / "results").rglob(runs.RECORD))]


@pytest.mark.parametrize("folder", RUNS, ids=str)
def test_the_recipe_of_a_committed_run_is_read_as_it_was_written(folder):
    recipe, structures = runs.load_recipe(ROOT / folder, importlib.import_module(f"{folder.parts[1]}.recipe").Recipe)
    written = runs.read_record(ROOT / folder)["recipe"]
    assert recipes.flat(recipe) == {name: tuple(value) if isinstance(value, list) else value for name, value in written.items()}
    assert structures
