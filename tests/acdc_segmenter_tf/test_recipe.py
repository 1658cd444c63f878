"""The recipe's published tables hold together with each other and with the paper's text."""

import statistics

import pytest

from acdc_segmenter_tf.recipe import PRESETS, PUBLISHED, RECIPES


def cells(number):
    table = PUBLISHED[number]
    for label, experiment, structure, values in table["rows"]:
        assert len(values) == len(table["columns"])
        for (column_structure, phase, measure), value in zip(table["columns"], values, strict=True):
            yield (label, experiment, column_structure or structure, phase, measure), value


def test_every_table_is_complete_and_of_known_experiments():
    assert {number: sum(1 for _ in cells(number)) for number in PUBLISHED} == {1: 18, 2: 72, 3: 18}
    assert {key[1] for number in PUBLISHED for key, _ in cells(number)} <= set(RECIPES)


def test_every_table_is_scored_natively_on_the_one_validation_set():
    for table in PUBLISHED.values():
        assert (table["dataset"], table["folds"]) == ("acdc", (0,))
        assert table["scores"] == (("", "cases.csv", "at native resolution"),)


def test_table_2_is_the_weighted_row_of_table_1():
    """Which is why the architectures are trained with the weighted loss: ED and ES of 20 patients average to the pooled 40."""
    table_1, table_2 = dict(cells(1)), dict(cells(2))
    for structure in ("LV", "RV", "Myo"):
        for measure, rounding in (("dice", 0.001), ("assd_mm", 0.01)):
            phases = [table_2["2D U-Net (mod.)", "unet2d_modified_wxent", structure, phase, measure][0] for phase in ("ED", "ES")]
            pooled = table_1["Weighted cross entropy", "unet2d_modified_wxent", structure, "", measure][0]
            assert statistics.mean(phases) == pytest.approx(pooled, abs=rounding)


def test_limits_of_agreement_lie_evenly_about_the_bias():
    for _, value in cells(3):
        if isinstance(value, tuple):
            bias, low, high = value
            assert (low + high) / 2 == pytest.approx(bias, abs=0.011)


def test_a_perfect_network_is_not_outdone():
    for number in (1, 2):
        for (*_, measure), (mean, std) in cells(number):
            assert 0 < mean < (1 if measure == "dice" else 20) and std > 0


@pytest.mark.parametrize("experiment", RECIPES)
def test_presets_change_no_number_of_the_method(experiment):
    paper, quick = (PRESETS[name](RECIPES[experiment]) for name in ("paper", "quick"))
    assert paper is RECIPES[experiment]
    changed = {name for name, value in vars(paper).items() if getattr(quick, name) != value}
    assert changed <= {"width", "image_shape", "batch_size", "steps", "final_learning_rate", "validate_every", "precision"}
