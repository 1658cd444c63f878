"""The paper's numbers, its tables, and what each preset and option does."""

import numpy as np
import pytest

from dense_unet import model, recipe
from dense_unet import predict as prediction
from dense_unet.recipe import DEFAULT, DENSE, PRESETS, PUBLISHED, RECIPES, quick
from shared import recipes
from shared.errors import InputError
from tests.wrong_values import accepted, refused_types


def test_the_papers_numbers():
    paper = RECIPES[DEFAULT]
    assert (paper.width, paper.preparation.size, paper.rotation_deg) == (48, 176, 15.0)
    assert (paper.validation_share, paper.test_share, paper.preparation.paper_pixel_mm) == (0.15, 0.15, (0.59, 0.70))
    assert (paper.dense_layers, paper.growth, paper.batch_size, paper.learning_rate, paper.epochs) == ((4,) * 4, 16, 8, 1e-4, 150)


def test_what_sets_the_experiments_apart():
    found = {name: (r.network, r.preparation.surrounded, r.dice_weight) for name, r in RECIPES.items()}
    assert found == {
        "dense_half_wce": ("dense", 0.5, 0.0), "dense_half_wce_dice": ("dense", 0.5, 0.2),
        "dense_closed_wce": ("dense", 1.0, 0.0), "dense_closed_wce_dice": ("dense", 1.0, 0.2),
        "plain_half_wce": ("plain", 0.5, 0.0),
    }  # fmt: skip
    for name, each in RECIPES.items():
        short = quick(each)
        assert (short.network, short.dice_weight, short.preparation) == (each.network, each.dice_weight, each.preparation), name


def test_the_networks_of_recipe_and_model_are_the_same():
    assert (recipe.NETWORKS, recipe.UPSAMPLING) == (model.NETWORKS, model.UPSAMPLING)


@pytest.mark.parametrize(("changes", "count"), [
    ({}, 15_148_036), ({"network": "plain"}, 14_262_020), ({"growth": 12}, 14_916_164), ({"upsampling": "width"}, 23_060_100),
    ({"dense_layers": (4, 3, 2, 1)}, 14_645_284),
])  # fmt: skip
def test_options_reach_the_network(changes, count):
    assert prediction.network(recipes.replace(DENSE, **changes)).count_params() == count


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("experiment", RECIPES)
def test_every_experiment_can_be_built_in_every_preset(experiment, preset):
    assert prediction.network(recipes.replace(PRESETS[preset](RECIPES[experiment]), width=1)).count_params() > 0


def cells(number, label, experiment=None):
    (row,) = [row for row in PUBLISHED[number].rows if row.label == label]
    assert experiment is None or row.experiment == experiment
    return dict(zip([column.title for column in PUBLISHED[number].columns], row.cells, strict=True))


def test_table_1_and_what_the_paper_says_of_it():
    a, both = cells(1, "A (at least 50 %), WCE", DEFAULT), cells(1, "A (at least 50 %), WCE+Dice", "dense_half_wce_dice")
    assert (a["LV Dice"].value, a["LV HD median (mm)"].value, a["LV sensitivity"].value) == (0.944, 7.2, 0.948)
    assert both["LV sensitivity"].value == 0.966 > a["LV sensitivity"].value  # contradiction 3
    assert both["Myo HD median (mm)"].value == 5.8 < a["Myo HD median (mm)"].value
    for structure in ("RV", "Myo"):  # why the weights are mild
        assert a[f"{structure} sensitivity"].value < a[f"{structure} Dice"].value
    assert cells(1, "B (100 %), WCE", "dense_closed_wce")["LV HD median (mm)"].value == 6.2
    assert len(PUBLISHED[1].scorings) == 2


def test_table_2_and_the_rows_that_are_only_quoted():
    basal = cells(2, "B (100 %), FCN", "dense_closed_wce")
    assert [cell.value for cell in basal.values()] == [0.959, 5.0, 0.873, 4.5]
    quoted = [row for table in PUBLISHED.values() for row in table.rows if not row.experiment]
    assert len(quoted) == 3 and all("corrected by a physician" in row.label for row in quoted)


def test_table_3_has_limits_at_two_sigma():
    found = cells(3, "FCN", DEFAULT)
    cell = found["LV ED volume bias [2 sigma] (ml)"]
    assert (cell.value, cell.limits) == (-1, (-13, 11))
    assert (found["Myo ES R^2 mass"].value, found["Myo ED mass bias [2 sigma] (g)"].limits) == (0.92, (-20, 32))
    assert found["RV ES volume bias [2 sigma] (ml)"].value == 6  # contradiction 4


@pytest.mark.parametrize("field", recipes.flat(DENSE))
def test_wrong_values_are_refused_in_one_line(field):
    for changed in accepted(DENSE, field):
        prepared = changed.preparation
        assert prepared.size % 16 == 0 and changed.gamma[0] <= changed.gamma[1] and np.isfinite(changed.learning_rate)


def test_no_field_takes_a_strange_type():
    assert refused_types(DENSE) == []


@pytest.mark.parametrize(("changes", "words"), [
    ({"size": 100}, "size: expected a multiple of 16"), ({"gamma": (2.0, 1.0)}, "gamma: expected the smaller number first"),
    ({"surrounded": 1.5}, "surrounded: expected a number of at least 0 and at most 1"),
    ({"paper_pixel_mm": (0.7, 0.6)}, "paper_pixel_mm: expected the smaller number first"),
    ({"dense_layers": (4, 4)}, "dense_layers: expected 4 values"),
])  # fmt: skip
def test_recipes_that_cannot_be(changes, words):
    with pytest.raises(InputError, match=words):
        recipes.replace(DENSE, **changes)
