"""What a table may say: wrong columns, cells and rows are refused where a recipe is imported, and titles are put together."""

from dataclasses import replace

import numpy as np
import pytest

from shared.scoring.published import MEASURES, NATIVE, Cell, Column, Row, Scoring, Table, printed
from shared.scoring.scores import of_masks

TABLE = Table(title="Some table", dataset="acdc", folds=(0,), scorings=(NATIVE,), columns=(Column("dice"),),
              rows=(Row("Net", "net", printed((0.9, 0.1)), "LV"),))  # fmt: skip


def test_cells_as_they_are_printed():
    found = printed((0.95, 0.03), 0.97249, (-0.45, -9.68, 8.78), None, (-2, -15, 11))
    assert found == (Cell(0.95, std=0.03), Cell(0.97249), Cell(-0.45, limits=(-9.68, 8.78)), None, Cell(-2, limits=(-15, 11)))
    assert [cell.text(3) for cell in found[:2]] == ["0.950 (0.030)", "0.972"]
    assert found[2].text(2) == "-0.45 [-9.68; 8.78]" and found[4].text(0) == "-2 [-15; 11]"
    assert [cell.decimals for cell in found if cell] == [2, 5, 2, 0]
    assert Cell(0.5, std=0.0).text(1) == "0.5 (0.0)"


@pytest.mark.parametrize(("column", "title", "digits"), [
    (Column("dice"), "Dice", 3),
    (Column("assd_mm", phase="ED"), "ED ASSD (mm)", 2),
    (Column("jaccard", structure="PA"), "PA Jaccard", 3),
    (Column("hausdorff_slice_mm", structure="mean"), "mean HD slice-wise (mm)", 2),
    (Column("hausdorff_mm", "median", structure="RV"), "RV HD median (mm)", 2),
    (Column("ef", "correlation"), "corr EF", 3),
    (Column("volume", "r_squared", phase="ES"), "ES R^2 volume", 3),
    (Column("ef", "agreement"), "EF bias [LoA] (%)", 2),
    (Column("mass", "agreement_2_sigma", "Myo", "ED"), "Myo ED mass bias [2 sigma] (g)", 2),
])  # fmt: skip
def test_columns_in_words(column, title, digits):
    assert (column.title, column.digits) == (title, digits)


def test_a_row_names_its_structure_once():
    assert [Row(label, "net", (), structure).title for label, structure in (("Net", "LV"), ("Net", ""), ("LV", "LV"))] == [
        "Net, LV", "Net", "LV",
    ]  # fmt: skip


def test_every_score_is_a_measure_of_a_case():
    columns = of_masks(np.ones((2, 2, 1), bool), np.ones((2, 2, 1), bool), (1, 1, 1)).keys()
    assert {name for name, measure in MEASURES.items() if not measure.clinical} == columns - {"volume_ml", "reference_ml"}


@pytest.mark.parametrize(("fields", "words"), [
    ({"measure": "dise"}, "expected a key of MEASURES"),
    ({"measure": "dice", "statistic": "average"}, "one of STATISTICS"),
    ({"measure": "dice", "phase": "diastole"}, "ED, ES or no phase"),
    ({"measure": "dice", "statistic": "correlation"}, "this statistic is not for this measure"),
    ({"measure": "volume", "phase": "ED"}, "this statistic is not for this measure"),
    ({"measure": "volume", "statistic": "agreement"}, "expected a phase for a volume"),
    ({"measure": "ef", "statistic": "agreement", "phase": "ED"}, "none for an ejection fraction"),
])  # fmt: skip
def test_columns_that_cannot_be_computed(fields, words):
    with pytest.raises(ValueError, match=words):
        Column(**fields)


@pytest.mark.parametrize(("changes", "words"), [
    ({"rows": (Row("Net", "net", printed(0.9, 0.8), "LV"),)}, "Some table, Net, LV: 2 cells for 1 columns"),
    ({"rows": (Row("Net", "net", printed(0.9)),)}, "Net, Dice: expected a structure of either the row or the column"),
    ({"columns": (Column("dice", structure="LV"),)}, "Net, LV, LV Dice: expected a structure of either"),
    ({"rows": (Row("Net", "net", printed((0.9, 0.8, 1)), "LV"),)}, "is of another statistic"),
    ({"columns": (Column("dice", "median"),)}, "is of another statistic"),
    ({"columns": (Column("ef", "agreement"),)}, "is of another statistic"),
    ({"columns": (Column("asd_mm"),), "rows": (Row("Net", "net", printed(0.9), "WH"),)}, "not a measure of all structures"),
])  # fmt: skip
def test_rows_that_do_not_fit_their_columns(changes, words):
    with pytest.raises(ValueError, match=words):
        replace(TABLE, **changes)


def test_a_mean_may_be_printed_without_std():
    assert replace(TABLE, rows=(Row("Net", "net", printed(0.9), "LV"),)).rows[0].cells == (Cell(0.9),)


# The tables that are still to come ------------------------------------------------------------------------------------------


def test_columns_per_structure_of_two_measures_and_a_row_of_another_file():
    """Wang 2018, table 2: the first network alone is scored too, into a file of its own."""
    structures = ("LV", "Myo", "RV", "LA", "RA", "AA", "PA")
    columns = tuple(Column(measure, structure=name) for measure in ("dice", "jaccard") for name in structures)
    rows = (
        Row("Net1", "two_stage", printed(*[0.8] * 14), file="cases_net1.csv"),
        Row("Net1+Net2", "two_stage", printed(*[0.9] * 14)),
    )
    assert replace(TABLE, columns=columns, rows=rows).columns[9].title == "RV Jaccard"


def test_agreement_of_volumes_and_mass_at_both_phases_and_scores_per_slice():
    """Penso 2020: table 3, where a physician's corrections are only quoted; and table 2 with medians, scored slice by slice."""
    columns = tuple(
        Column(measure, statistic, structure, phase)
        for measure, structure in (("volume", "LV"), ("volume", "RV"), ("mass", "Myo"))
        for phase in ("ED", "ES")
        for statistic in ("r_squared", "agreement_2_sigma")
    )
    cells = printed(*(0.99, (-1, -13, 11)) * 6)
    clinical = replace(TABLE, columns=columns, rows=(Row("FCN+corr", "", cells), Row("FCN", "dense", cells)))
    assert clinical.columns[-1].title == "Myo ES mass bias [2 sigma] (g)"
    basal = replace(TABLE, scorings=(Scoring("cases_basal.csv", "in the basal slice"),), rows=TABLE.rows[:0],
                    columns=(Column("dice", structure="LV"), Column("hausdorff_mm", "median", "LV")))  # fmt: skip
    assert [column.title for column in basal.columns] == ["LV Dice", "LV HD median (mm)"]
