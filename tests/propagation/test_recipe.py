"""The paper's numbers, spelled out a second time."""

import pytest

from propagation.recipe import DEFAULT, PRESETS, PUBLISHED, RECIPES

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
    found = vars(RECIPES[experiment])
    assert {name: found[name] for name in PAPER | CHOSEN} == PAPER | CHOSEN
    assert found["method"] == experiment


def test_volumes_of_the_databases():
    recipe = RECIPES[DEFAULT]
    assert 12 * recipe.variants * recipe.instants == 11_160  # paper 2.5: of twelve subjects
    assert 12 * recipe.variants * recipe.initialization_instants == 3_720


@pytest.mark.parametrize("experiment", RECIPES)
def test_quick_changes_no_number_of_the_method(experiment):
    paper, quick = (PRESETS[name](RECIPES[experiment]) for name in ("paper", "quick"))
    assert paper is RECIPES[experiment]
    changed = {name for name, value in vars(paper).items() if getattr(quick, name) != value}
    size = {f"{network}_{part}" for network in ("initialization", "propagation") for part in ("groups", "channels", "steps")}
    assert changed <= size | {"normalisation", "variants", "validate_every", "learning_rate", "final_learning_rate", "momentum",
                              "precision", "batch_size", "mask_lag"}  # fmt: skip


def test_published_numbers():
    (table,) = PUBLISHED.values()
    assert {label: values for label, _, _, values in table["rows"]} == {
        "with propagation, v1": [0.7851], "with propagation, v2": [0.7817],
    }  # fmt: skip
    assert table["patients"] == {label: label[-2:] for label, *_ in table["rows"]}
    assert {experiment for _, experiment, _, _ in table["rows"]} <= RECIPES.keys()
