"""The recipe's published tables hold together with each other and with the paper's text."""

import statistics

import numpy as np
import pytest

from acdc_segmenter_tf import losses
from acdc_segmenter_tf import predict as prediction
from acdc_segmenter_tf import train as training_command
from acdc_segmenter_tf.model import NETWORKS
from acdc_segmenter_tf.recipe import LOSSES, NETWORKS_2D, NETWORKS_3D, PRESETS, PUBLISHED, RECIPES, UNET2D_MODIFIED
from shared.errors import InputError
from shared.recipes import flat, replace
from shared.scoring.published import Scoring
from tests.wrong_values import accepted, refused_types


def cells(number):
    table = PUBLISHED[number]
    for row in table.rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            yield (row.label, row.experiment, column.structure or row.structure, column.phase, column.measure), cell


def test_every_table_is_complete_and_of_known_experiments():
    assert {number: sum(1 for _ in cells(number)) for number in PUBLISHED} == {1: 18, 2: 72, 3: 18}
    assert {key[1] for number in PUBLISHED for key, _ in cells(number)} <= set(RECIPES)


def test_every_table_is_scored_natively_on_the_one_validation_set():
    for table in PUBLISHED.values():
        assert (table.dataset, table.folds) == ("acdc", (0,))
        assert table.scorings == (Scoring("cases.csv", "at native resolution"),)


def test_table_2_is_the_weighted_row_of_table_1():
    """Which is why the architectures are trained with the weighted loss: ED and ES of 20 patients average to the pooled 40."""
    table_1, table_2 = dict(cells(1)), dict(cells(2))
    for structure in ("LV", "RV", "Myo"):
        for measure, rounding in (("dice", 0.001), ("assd_mm", 0.01)):
            phases = [table_2["2D U-Net (mod.)", "unet2d_modified_wxent", structure, phase, measure] for phase in ("ED", "ES")]
            pooled = table_1["Weighted cross entropy", "unet2d_modified_wxent", structure, "", measure]
            assert statistics.mean(cell.value for cell in phases) == pytest.approx(pooled.value, abs=rounding)


def test_limits_of_agreement_lie_evenly_about_the_bias():
    for _, cell in cells(3):
        if cell and cell.limits:
            assert sum(cell.limits) / 2 == pytest.approx(cell.value, abs=0.011)


def test_a_perfect_network_is_not_outdone():
    for number in (1, 2):
        for (*_, measure), cell in cells(number):
            assert 0 < cell.value < (1 if measure == "dice" else 20) and cell.std > 0


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("experiment", RECIPES)
def test_presets_change_no_number_of_the_method(preset, experiment):
    paper, shorter = (PRESETS[name](RECIPES[experiment]) for name in ("paper", preset))
    assert paper is RECIPES[experiment]
    changed = {name for name, value in flat(paper).items() if flat(shorter)[name] != value}
    shortened = {"width", "image_shape", "batch_size", "steps", "final_learning_rate", "validate_every", "precision"}
    turned = {"rotation_deg"} if preset == "medium" and not paper.preparation.is_3d else set()
    assert changed - turned <= shortened
    assert turned <= changed and (not turned or shorter.rotation_deg == 15)  # that of the authors' later code


# Ranges ---------------------------------------------------------------------------------------------------------------------


def test_names_are_those_of_the_code():
    assert {*NETWORKS_2D, *NETWORKS_3D} == set(NETWORKS)
    assert all(losses.of(replace(UNET2D_MODIFIED, loss=name)) for name in LOSSES)


def test_every_field_refuses_what_is_no_value(tiny):
    assert refused_types(tiny()) == []


@pytest.mark.parametrize("field", flat(UNET2D_MODIFIED))
def test_a_recipe_that_is_not_refused_can_train(field, tiny):
    for recipe in accepted(tiny(), field):
        if field in ("network", "width", "structures", "image_shape"):
            try:
                prediction.network(recipe)
            except InputError as error:  # only the network knows which extents it takes
                assert field == "image_shape" and "takes extents of" in str(error)
        training_command.optimizer(recipe)
        assert np.isfinite(float(losses.of(recipe)(np.ones((1, 2, 2)), np.ones((1, 2, 2, 4), np.float32))))
        draw = training_command.augmentation(recipe)
        assert draw is None or np.isfinite(draw(np.random.default_rng(0))).all()


@pytest.mark.parametrize(("changes", "words"), [
    ({"spacing_mm": (1.0, 1.0, 5.0)}, "spacing_mm: expected 2 values for the network unet2d_modified, found 1.0,1.0,5.0"),
    ({"network": "unet3d"}, "spacing_mm: expected 3 values for the network unet3d"),
    ({"scale_crop_px": 35}, "scale_crop_px: expected less than"),
])  # fmt: skip
def test_fields_that_do_not_go_together(changes, words, tiny):
    with pytest.raises(InputError) as refused:
        replace(tiny(), **changes)
    assert str(refused.value).startswith(words)


def test_3d_networks_have_no_random_transforms(tiny):
    with pytest.raises(InputError, match="rotation_deg: expected 0 or false for unet3d_modified"):
        tiny("unet3d_modified_wxent", rotation_deg=5.0)
