"""The paper's numbers, spelled out a second time."""

import numpy as np
import pytest

from propagation import model
from propagation import predict as prediction
from propagation import train as training_command
from propagation.recipe import DEFAULT, NORMS, PRESETS, PROPAGATION, PUBLISHED, RECIPES
from shared.errors import InputError
from shared.recipes import flat, replace
from tests.wrong_values import accepted, refused_types

PAPER = {
    "size": 128,
    "spacing_mm": 1.25,
    "slope": 0.25,
    "variants": 31,
    "instants": 30,
    "initialization_instants": 10,
    "initialization_margin": 1 / 6,
    "batch_size": 1,
    "initialization_steps": 300_000,
    "propagation_steps": 600_000,
    "learning_rate": 1e-4,
    "folds": 5,
    "normalisation": "batch",
}
CHOSEN = {
    "initialization_groups": (8, 5, 4),
    "initialization_channels": (64, 48, 32),
    "propagation_groups": (8, 5),
    "propagation_channels": (64, 48),
    "kernel": 5,
    "rotation_deg": 180.0,
    "gaussian_noise": 0.1,
    "impulse_noise": 0.01,
    "percentiles": (5.0, 95.0),
    "final_learning_rate": 1e-4,
    "momentum": 0.0,
    "binary_input": False,
    "mask_lag": 0,
}


@pytest.mark.parametrize("experiment", RECIPES)
def test_numbers_of_the_paper_and_ours(experiment):
    found = flat(RECIPES[experiment])
    assert {name: found[name] for name in PAPER | CHOSEN} == PAPER | CHOSEN
    assert found["method"] == experiment


def test_volumes_of_the_databases():
    recipe = RECIPES[DEFAULT]
    assert 12 * recipe.variants * recipe.instants == 11_160  # paper 2.5: of twelve subjects
    assert 12 * recipe.variants * recipe.initialization_instants == 3_720


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("experiment", RECIPES)
def test_presets_change_no_number_of_the_method(preset, experiment):
    paper, shorter = (PRESETS[name](RECIPES[experiment]) for name in ("paper", preset))
    assert paper is RECIPES[experiment]
    changed = {name for name, value in flat(paper).items() if flat(shorter)[name] != value}
    size = {f"{network}_{part}" for network in ("initialization", "propagation") for part in ("groups", "channels", "steps")}
    assert changed <= size | {"normalisation", "variants", "validate_every", "learning_rate", "final_learning_rate", "momentum",
                              "precision", "batch_size", "mask_lag"}  # fmt: skip


def test_published_numbers():
    (table,) = PUBLISHED.values()
    assert {row.label: [cell.value for cell in row.cells] for row in table.rows} == {
        "with propagation, v1": [0.7851], "with propagation, v2": [0.7817],
    }  # fmt: skip
    assert all(row.patient == row.label[-2:] and row.experiment in RECIPES for row in table.rows)


# Ranges ---------------------------------------------------------------------------------------------------------------------


def test_names_are_those_of_the_code():
    assert set(NORMS) == set(model.NORMS)


def test_every_field_refuses_what_is_no_value(tiny):
    assert refused_types(tiny()) == []


BUILT = ("size", "initialization_groups", "initialization_channels", "propagation_groups", "propagation_channels", "kernel",
         "slope", "normalisation", "gaussian_noise", "impulse_noise")  # fmt: skip


@pytest.mark.parametrize("field", flat(PROPAGATION))
def test_a_recipe_that_is_not_refused_can_train(field, tiny):
    for recipe in accepted(tiny(), field):
        if field in BUILT:
            prediction.network(recipe, prediction.INITIALIZATION)
            prediction.network(recipe, prediction.PROPAGATION)
        drawn = training_command.turn(recipe)(np.random.default_rng(0))
        assert np.isfinite(drawn).all()


@pytest.mark.parametrize(("changes", "words"), [
    ({"method": "both"}, "method: expected one of propagation, initialization, found both"),
    ({"size": 30}, "size: expected a multiple of 4, found 30"),
    ({"propagation_groups": (1,)},
     "propagation_groups: expected 2 values separated by commas, each a whole number from 1 to 64, found 1"),
    ({"normalisation": "layer"}, "normalisation: expected one of batch, instance, found layer"),
    ({"percentiles": (95.0, 5.0)}, "percentiles: expected a lower number before a higher one, found 95.0,5.0"),
    ({"initialization_instants": 31}, "initialization_instants: expected at most the 30 instants, found 31"),
])  # fmt: skip
def test_what_a_recipe_refuses(changes, words):
    with pytest.raises(InputError) as refused:
        replace(PROPAGATION, **changes)
    assert str(refused.value) == words
