"""The committed results: today's recipes can read the runs that made them, and their scores are as they were written."""

import importlib
from pathlib import Path

import pytest

from shared import held_out, recipes, runs

ROOT = Path(__file__).parents[1]
RUNS = [path.parent.relative_to(ROOT) for path in sorted((ROOT / "results").rglob(runs.RECORD))]


@pytest.mark.parametrize("folder", RUNS, ids=str)
def test_the_recipe_of_a_committed_run_is_read_as_it_was_written(folder):
    record = runs.read_record(ROOT / folder)
    recipe, structures = runs.load_recipe(ROOT / folder, importlib.import_module(f"{record['package']}.recipe").Recipe)
    written = record["recipe"]
    assert recipes.flat(recipe) == {name: tuple(value) if isinstance(value, list) else value for name, value in written.items()}
    assert structures


@pytest.mark.parametrize("folder", RUNS, ids=str)
def test_the_scores_of_a_committed_run_are_as_it_wrote_them(folder):
    tables = runs.read_record(ROOT / folder)["tables"]
    for name in (name for name in tables if name.startswith(("cases", "scores_"))):
        assert held_out.read_scores(ROOT / folder, name, ["dice"])
    assert held_out.CASES in tables
