"""The paper's numbers, its tables, and what each preset and option does."""

import statistics

import pytest

from shared import recipes
from shared.scoring.published import BY_EYE
from two_stage_unet import model
from two_stage_unet import predict as prediction
from two_stage_unet.recipe import ACTIVATIONS, DEFAULT, NET1, NORMALISATIONS, PRESETS, PUBLISHED, RECIPES, TWO_STAGE, quick

PAPER = RECIPES[DEFAULT]


def test_the_papers_numbers():
    assert (PAPER.steps, PAPER.iterations, PAPER.edges, PAPER.slices) == ((1, 2, 3, 4), (3200,) * 4, (64, 128, 256), 9)
    assert (PAPER.learning_rate, PAPER.final_learning_rate, PAPER.dropout) == (1e-4, 1e-4, 0.2)
    assert (PAPER.preparation.coarse_mm, PAPER.preparation.fine_mm) == (3.0, 0.0)
    assert RECIPES["unet3d"].preparation.coarse_mm == 2.0
    assert PAPER.unet3d_iterations == sum(PAPER.iterations) == 12_800


@pytest.mark.parametrize(
    ("name", "count"), [("net1", 12_899_096), ("net2", 11_236_680), ("joint", 24_135_776), ("unet3d", 19_078_792)]
)
def test_networks_of_the_paper_have_the_counted_parameters(name, count):
    assert prediction.network(TWO_STAGE, name).count_params() == count


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("experiment", RECIPES)
def test_every_experiment_can_be_built_in_every_preset(experiment, preset):
    recipe = PRESETS[preset](RECIPES[experiment])
    assert prediction.network(recipes.replace(recipe, net1_width=1, net2_width=1, unet3d_width=1)).count_params() > 0


def test_names_are_those_of_the_code():
    assert (set(ACTIVATIONS), set(NORMALISATIONS)) == (set(model.ACTIVATIONS), set(model.NORMS))


def test_quick_is_the_same_experiment():
    for name, recipe in RECIPES.items():
        assert (quick(recipe).method, quick(recipe).steps) == (recipe.method, recipe.steps), name


@pytest.mark.parametrize(("table", "means"), [(2, (0.7515, 0.8015, 0.8688)), (3, (0.8914, 0.9024, 0.9120))])
def test_means_of_the_published_dice(table, means):
    """The sheet's own means over the seven structures: a typing error in a cell would show."""
    for row, mean in zip(PUBLISHED[table].rows, means, strict=True):
        dice = [cell.value for cell, column in zip(row.cells, PUBLISHED[table].columns, strict=True) if column.measure == "dice"]
        assert statistics.mean(dice) == pytest.approx(mean, abs=6e-5)
        assert row.experiment in RECIPES and (row.file == NET1) == (row.label == "Net1")


def test_jaccard_is_never_above_dice():
    for table in PUBLISHED.values():
        for row in table.rows:
            values = {}
            for cell, column in zip(row.cells, table.columns, strict=True):
                if cell and cell != BY_EYE:
                    values[column.measure, column.structure] = cell.value
            assert all(values["jaccard", name] < dice for (measure, name), dice in values.items() if measure == "dice")


def test_the_challenges_table():
    """The printed whole heart is not the mean of the seven structures, which the sheet works out."""
    rows = {(row.label[:2], row.structure, bool(row.experiment)): row for row in PUBLISHED[4].rows}
    assert len(rows) == 2 * (7 + 2) and {row.dataset for row in PUBLISHED[4].rows if row.experiment} == {"mmwhs_ct", "mmwhs_mr"}
    for modality, mean in (("CT", 0.7906), ("MR", 0.8227)):
        dice = [rows[modality, name, True].cells[0].value for name in ("LV", "Myo", "RV", "LA", "RA", "AA", "PA")]
        assert statistics.mean(dice) == pytest.approx(mean, abs=5e-5)
    assert rows["MR", "WH", False].cells[2].value == 2.4718 and rows["CT", "AA", True].cells[1].value == 0.8113


@pytest.mark.parametrize(("changes", "name", "count"), [
    ({"slice_block": "single"}, "net2", 11_170_888), ({"net1_width": 8}, "net1", 3_225_552),
    ({"net2_width": 16}, "net2", 2_810_280), ({"unet3d_width": 16}, "unet3d", 4_773_192),
    ({"net1_width": 32}, "net1", 51_590_184),
])  # fmt: skip
def test_options_reach_the_networks(changes, name, count):
    assert prediction.network(recipes.replace(TWO_STAGE, **changes), name).count_params() == count


def test_the_region_decides_on_the_channels_of_net2():
    for region, channels in (("foreground", 2), ("expected_label", 2), ("softmax", 9)):
        assert prediction.network(recipes.replace(TWO_STAGE, region=region, net2_width=1)).input_shape[-1] == channels
