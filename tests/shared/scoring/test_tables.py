"""cases.csv -> tables: cells by hand, folds pooled, the paper's digits kept, Markdown, CSV and LaTeX."""

import csv
import math
from dataclasses import replace

import pytest

from shared import files
from shared.errors import InputError
from shared.scoring import tables
from shared.scoring.published import BY_EYE, NATIVE, Cell, Column, Row, Table, printed
from shared.scoring.tables import Comparison

NAN = float("nan")


def row(patient, phase, structure, dice=0.9, assd_mm=1.0, ml=10.0, reference_ml=10.0):
    return {"case": f"{patient}_{phase}", "patient": patient, "phase": phase, "group": "", "structure": structure, "dice": dice,
            "jaccard": 0.5, "sensitivity": 0.5, "hausdorff_mm": 5.0, "assd_mm": assd_mm, "volume_ml": ml,
            "reference_ml": reference_ml}  # fmt: skip


TABLE = Table(
    title="Some table",
    dataset="acdc",
    folds=(0,),
    scorings=(NATIVE,),
    columns=(Column("dice", phase="ED"), Column("assd_mm", phase="ED"), Column("hausdorff_mm")),
    rows=(
        Row("Net A", "net_a", printed((0.95, 0.02), (0.40, 0.30), None), "LV"),
        Row("Net B", "net_b", printed((0.90, 0.05), (0.60, 0.20), (6.0, 1.0)), "LV"),
        Row("Net A", "net_a", printed((0.85, 0.01), (1.00, 0.20), (7.0, 1.5)), "RV"),
    ),
)
ROWS = [
    row("p1", "ED", "LV", 0.9, 1.0),
    row("p1", "ES", "LV", 0.1),
    row("p2", "ED", "LV", 0.8, NAN),
    row("p2", "ED", "RV", 0.7, 2.0),
]


def compared(table, scores):
    """The table's comparisons where the only finished runs are those of net_a, with these scores."""
    return tables.compare(table, {row: scores for row in table.rows if row.experiment == "net_a"})


def test_compare():
    found = compared(TABLE, ROWS)
    assert [each.texts[:2] for each in found] == [
        ("Net A, LV", "ED Dice"), ("Net A, LV", "ED ASSD (mm)"), ("Net B, LV", "ED Dice"), ("Net B, LV", "ED ASSD (mm)"),
        ("Net B, LV", "HD (mm)"), ("Net A, RV", "ED Dice"), ("Net A, RV", "ED ASSD (mm)"), ("Net A, RV", "HD (mm)"),
    ]  # fmt: skip
    dice, assd = found[0], found[1]
    assert (dice.ours.value, dice.ours.std) == pytest.approx((0.85, 0.05)) and dice.n == 2
    assert assd.ours == Cell(1.0, 0.0) and assd.n == 1  # the undefined one is left out
    assert dice.texts == ("Net A, LV", "ED Dice", "0.950 (0.020)", "0.850 (0.050)", "-0.100", "2")
    assert assd.texts == ("Net A, LV", "ED ASSD (mm)", "0.40 (0.30)", "1.00 (0.00)", "+0.60", "1")
    for each in found[2:5]:
        assert each.ours is None and each.n == 0 and each.texts[3:] == ("not run", "", "")
    assert found[7].texts[2:] == ("7.00 (1.50)", "5.00 (0.00)", "-2.00", "1")


def test_compare_where_columns_name_the_structure():
    columns = (Column("dice", structure="LV"), Column("dice", structure="RV"))
    table = replace(TABLE, columns=columns, rows=(Row("Net A", "net_a", printed((0.5, 0.1), (0.6, 0.1))),))
    lv, rv = compared(table, ROWS)
    assert (lv.texts[:2], rv.texts[:2]) == (("Net A", "LV Dice"), ("Net A", "RV Dice"))
    assert lv.ours.value == pytest.approx(0.6) and lv.n == 3  # both phases pooled
    assert rv.ours.value == 0.7 and rv.n == 1


def test_a_row_of_one_patient():
    columns, cells = (Column("dice", structure="LV"),), printed(0.5)
    table = replace(TABLE, columns=columns, rows=tuple(Row(who, "net_a", cells, patient=who) for who in ("p1", "p2", "p3")))
    one, two, three = compared(table, ROWS)
    assert (one.texts[2:4], one.n) == (("0.500", "0.500 (0.400)"), 2) and two.ours == Cell(0.8, 0.0)
    assert three.texts[3] == "not run"


def test_mean_is_of_a_cases_structures_and_undefined_where_one_of_them_is():
    rows = [row("p1", "ED", "LV", 0.9, 1.0), row("p1", "ED", "RV", 0.6, 2.0), row("p2", "ED", "LV", 0.8, NAN),
            row("p2", "ED", "RV", 0.2, 3.0), row("p2", "ES", "LV", 0.1, 5.0)]  # fmt: skip
    cell, n = tables.measured(rows, Column("dice", structure="mean", phase="ED"))
    assert (cell.value, cell.std, n) == pytest.approx(((0.75 + 0.5) / 2, 0.125, 2))
    assert tables.measured(rows, Column("assd_mm", structure="mean", phase="ED")) == (Cell(1.5, 0.0), 1)
    cell, n = tables.measured(rows, Column("assd_mm", structure="mean"))
    assert (cell.value, cell.std, n) == pytest.approx((3.25, 1.75, 2))


def test_the_whole_heart_is_the_overlap_of_all_structures_together():
    """LV: 10 ml against 6, 4 of them shared; RV: 20 against 30, 15 shared; nothing at all in a second case."""
    rows = [row("p1", "ED", "LV", 8 / 16, ml=10.0, reference_ml=6.0), row("p1", "ED", "RV", 30 / 50, ml=20.0, reference_ml=30.0),
            row("p2", "ED", "LV", 1.0, ml=0.0, reference_ml=0.0)]  # fmt: skip
    assert tables.measured(rows[:2], Column("dice", structure="WH"))[0].value == pytest.approx(38 / 66)
    assert tables.measured(rows[:2], Column("jaccard"), "WH")[0].value == pytest.approx(19 / (66 - 19))
    assert tables.measured(rows[2:], Column("dice", structure="WH")) == (Cell(1.0, 0.0), 1)
    whole = replace(TABLE, columns=(Column("jaccard"),), rows=(Row("A", "net_a", printed(0.5), structure="WH"),))
    assert tables.columns_of(whole) == ["jaccard", "dice", "volume_ml", "reference_ml"]
    assert tables.columns_of(replace(TABLE, columns=TABLE.columns[:1], rows=TABLE.rows[:0])) == ["dice"]


def test_median():
    rows = [row(f"p{i}", "ED", "LV", dice) for i, dice in enumerate((0.9, 0.2, NAN, 0.8))]
    assert tables.measured(rows, Column("dice", "median"), "LV") == (Cell(0.8), 3)


def test_folds_that_score_the_same_cases_count_each():
    rows = [{"fold": fold, **row("p1", phase, "LV", dice, ml=ml, reference_ml=100 if phase == "ED" else 50)}
            for fold, dice, ml in ((0, 0.9, 80), (2, 0.7, 60)) for phase in ("ED", "ES")]  # fmt: skip
    cell, n = tables.measured(rows, Column("dice", structure="mean", phase="ED"))
    assert (cell.value, cell.std, n) == pytest.approx((0.8, 0.1, 2))
    assert tables.measured(rows, Column("dice", structure="LV"))[1] == 4
    assert tables.ejection_fractions(rows) == ([0, 0], [50, 50])
    assert tables.measured(rows, Column("volume", "agreement", phase="ES"), "LV")[0].value == (30 + 10) / 2


def test_a_number_of_ours_where_the_paper_has_none():
    rows = (Row("A", "net_a", (BY_EYE,), "LV"), Row("B", "net_b", (BY_EYE,), "LV"))
    ours, not_run = compared(replace(TABLE, columns=(Column("dice", phase="ED"),), rows=rows), ROWS)
    assert ours.texts == ("A, LV", "ED Dice", "by eye", "0.850 (0.050)", "", "2")
    assert not_run.texts == ("B, LV", "ED Dice", "by eye", "not run", "", "")


def test_a_row_without_experiment_is_quoted():
    rows = (Row("Theirs", "", printed((0.505, 0.821))), Row("B", "net_b", printed((1, 1))))
    quoted, not_run = compared(replace(TABLE, columns=(Column("asd_mm", structure="mean"),), rows=rows), ROWS)
    assert quoted.texts == ("Theirs", "mean ASD (mm)", "0.505 (0.821)", "only quoted", "", "")
    assert not_run.texts[3] == "not run"


def test_the_papers_digits_are_kept():
    for paper, texts in ((Cell(25.569, 21.1), ("25.569 (21.100)", "1.000 (2.000)", "-24.569")),
                         (Cell(5.7, 3.05), ("5.70 (3.05)", "1.00 (2.00)", "-4.70"))):  # fmt: skip
        assert Comparison(Row("a", "b", (paper,)), Column("hausdorff_mm"), paper, Cell(1, 2), 3).texts[2:5] == texts


def test_ejection_fractions_come_from_pairs_of_cases():
    rows = [
        row("p1", "ED", "LV", ml=100, reference_ml=100), row("p1", "ES", "LV", ml=40, reference_ml=50),
        row("p2", "ES", "LV", ml=80, reference_ml=60), row("p2", "ED", "LV", ml=100, reference_ml=80),
        row("p3", "ED", "LV", ml=90, reference_ml=90),  # no ES
        row("p4", "ED", "LV", ml=0, reference_ml=90), row("p4", "ES", "LV", ml=0, reference_ml=45),  # nothing found
        row("p1", "ED", "RV", ml=1, reference_ml=1), row("p1", "ES", "RV", ml=1, reference_ml=1),
    ]  # fmt: skip
    assert tables.doubtful_function(rows) == ["The predicted LV is empty at ED or ES: no EF in 1 of 3 patients: p4."]
    ours, reference = tables.ejection_fractions([r for r in rows if r["structure"] == "LV"])
    assert ours[:2] == pytest.approx([60, 20]) and math.isnan(ours[2]) and reference == pytest.approx([50, 25, 50])
    cell, n = tables.measured(rows, Column("ef", "agreement"), "LV")
    std = math.sqrt(2) * 7.5  # of 10 and -5, sample
    assert (cell.value, *cell.limits, n) == pytest.approx((2.5, 2.5 - 1.96 * std, 2.5 + 1.96 * std, 2))
    cell, n = tables.measured(rows, Column("ef", "correlation"), "LV")
    assert (cell, n) == (Cell(pytest.approx(1)), 2)
    # ES volumes differ by -10, 20 and -45: mean -35/3, squared deviations sum to 25/9 + 9025/9 + 10000/9
    std = math.sqrt(19050 / 9 / 2)
    for statistic, sigmas in (("agreement", 1.96), ("agreement_2_sigma", 2)):
        cell, n = tables.measured(rows, Column("volume", statistic, phase="ES"), "LV")
        assert (cell.value, *cell.limits, n) == pytest.approx((-35 / 3, -35 / 3 - sigmas * std, -35 / 3 + sigmas * std, 3))
    assert tables.measured(rows, Column("volume", "correlation", phase="ED"), "LV")[1] == 4


def test_mass_is_the_volume_of_the_myocardium_at_a_phase():
    rows = [row(patient, phase, "Myo", ml=ml * (1 + (phase == "ES")), reference_ml=reference_ml)
            for patient, ml, reference_ml in (("p1", 100, 100), ("p2", 120, 100), ("p3", 150, 130))
            for phase in ("ED", "ES")]  # fmt: skip
    cell, n = tables.measured(rows, Column("mass", "agreement_2_sigma", phase="ED"), "Myo")
    std = 1.05 * math.sqrt(400 / 3)  # of 0, 20 and 20 ml
    assert (cell.value, *cell.limits, n) == pytest.approx((14, 14 - 2 * std, 14 + 2 * std, 3))
    r, _ = tables.measured(rows, Column("volume", "correlation", phase="ES"), "Myo")
    cell, n = tables.measured(rows, Column("mass", "r_squared", phase="ES"), "Myo")
    assert cell.value == pytest.approx(r.value**2) and cell.std is None and n == 3
    assert cell.value < 0.9  # so that a square and its root differ


def test_an_ejection_fraction_that_cannot_be_right_is_said_below_the_table():
    rows = [row("p1", "ED", "LV", ml=60, reference_ml=90), row("p1", "ES", "LV", ml=70, reference_ml=95),
            row("p2", "ED", "LV", ml=60, reference_ml=90), row("p2", "ES", "LV", ml=0, reference_ml=40),
            row("p1", "ED", "Myo", ml=60), row("p1", "ES", "Myo", ml=70)]  # fmt: skip
    assert tables.summarise(rows)[-3:] == [
        "The predicted LV is larger at ES than at ED in 1 of 2 patients: p1.",
        "The predicted LV is empty at ED or ES: no EF in 1 of 2 patients: p2.",
        "The reference LV is larger at ES than at ED in 1 of 2 patients: p1.",
    ]
    assert math.isnan(tables.ejection_fractions(rows[:4])[0][1])


def test_texts_of_every_kind():
    (paper,) = printed(0.972)
    found = Comparison(Row("LV", "net_a", (paper,), "LV"), Column("ef", "correlation"), paper, Cell(0.9), 20)
    assert found.texts == ("LV", "corr EF", "0.972", "0.900", "-0.072", "20")


def test_summarise():
    lines = tables.summarise(ROWS)
    assert lines[2] == "| LV | all | 3 | 0.600 (0.356) | 0.800 | 0.100 to 0.900 | 1.00 (0.00) | 5.00 (0.00) |"
    assert [text.split("|")[1:4] for text in lines[2:8]] == [
        [" LV ", " all ", " 3 "], [" LV ", " ED ", " 2 "], [" LV ", " ES ", " 1 "],
        [" RV ", " all ", " 1 "], [" RV ", " ED ", " 1 "], [" RV ", " ES ", " 0 "],
    ]  # fmt: skip
    assert lines[-1].startswith("Distances are undefined in 1 of 4 rows")
    assert "undefined" not in "".join(tables.summarise(ROWS[:2]))


def test_tables_are_written(tmp_path):
    comparisons = compared(TABLE, ROWS)
    text = tables.markdown("A title", "A caption.", comparisons)
    tables.write_tables(tmp_path / "tables", "table2", "A title", "A caption.", comparisons, text)
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["table2.csv", "table2.md", "table2.tex"]

    markdown = (tmp_path / "tables" / "table2.md").read_text().splitlines()
    assert markdown[0] == "# A title" and "A caption." in markdown
    table = [text for text in markdown if text.startswith("|")]
    assert table[:7] == [
        "| row |  | ED Dice | ED ASSD (mm) | HD (mm) | n |",
        "|---|---|---|---|---|---|",
        "| Net A, LV | paper | 0.950 (0.020) | 0.40 (0.30) |  |  |",
        "|  | ours | 0.850 (0.050) | 1.00 (0.00) |  | 2, 1 |",
        "|  | ours - paper | -0.100 | +0.60 |  |  |",
        "| Net B, LV | paper | 0.900 (0.050) | 0.60 (0.20) | 6.00 (1.00) |  |",
        "|  | not run |  |  |  |  |",
    ]
    assert len(table) == 10 and {text.count("|") for text in table} == {7}

    with open(tmp_path / "tables" / "table2.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert [tuple(r.values()) for r in found] == [each.texts for each in comparisons]
    assert list(found[0]) == ["row", "measure", "paper", "ours", "difference", "n"]

    latex = (tmp_path / "tables" / "table2.tex").read_text()
    assert r"Net A, LV & paper & 0.950 (0.020) & 0.40 (0.30) &  &  \\" in latex.splitlines()
    assert r" & ours & 0.850 (0.050) & 1.00 (0.00) &  & 2, 1 \\" in latex.splitlines()
    assert latex.count(r"\begin") == latex.count(r"\end") == 2 and "A title" in latex and "A caption." in latex


ESCAPED = {
    "%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "<": "$<$", ">": "$>$",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
}  # fmt: skip


@pytest.mark.parametrize("character", ESCAPED)
def test_latex_escapes(character):
    found = Comparison(Row(f"a{character}b", "c", printed(0.5)), Column("dice"), Cell(0.5), None, 0)
    latex = tables.latex(f"d{character}e", f"f{character}g", [found])
    for pair in ("ab", "de", "fg"):
        assert ESCAPED[character].join(pair) in latex


# The file of scores -----------------------------------------------------------------------------------------------------------

SCORES = "case,patient,phase,structure,dice\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column case, patient, phase; found an empty file"),
        (b"case,patient,phase,structure\na,a,,LV\n", "no column dice"),
        (SCORES.encode(), "a header and no rows"),
        (SCORES.encode() + b"a,a,,LV,0.5\nb,b,,LV\n", "line 3 does not have the 5 cells"),
        (SCORES.encode() + b"a,a,,LV,0,5\n", "line 2 does not have the 5 cells"),  # a comma for the decimal point
        (SCORES.encode() + b"a,a,,LV,0.5\nb,b,,LV,n/a\n", "line 3, column dice: expected a number or nothing, found 'n/a'"),
        (SCORES.encode() + b"a,a,,LV,7.5\n", "a, LV: Dice 7.5, expected 0 to 1"),
        (SCORES.encode() + b"a,a,,LV,\n", "a, LV: Dice nan, expected 0 to 1"),  # a Dice is always defined
        (SCORES.encode() + b"a,a,,LV,1\na,a,,RV,1\na,a,,LV,1\n", "a, LV: two rows"),
        (SCORES.replace(",", ";").encode() + b"a;a;;LV;0.5\n", "found case;patient"),
        (b"case,patient,phase,structure,dice,dice\na,a,,LV,1,1\n", "two columns have the same name"),
        (b"\xff\xfe\x00c", "expected a table in CSV format"),
        (SCORES.encode() + b'"a,a,,LV,0.5\n', "expected a table in CSV format"),
    ],
)
def test_a_damaged_table_of_scores_is_refused(tmp_path, content, message):
    (tmp_path / "cases.csv").write_bytes(content)
    with pytest.raises(InputError) as raised:
        tables.read_cases(tmp_path / "cases.csv", ["dice"])
    assert message in str(raised.value) and str(raised.value).startswith(f"{tmp_path / 'cases.csv'}: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("column", "value", "words"), [
    ("hausdorff_mm", -500, "hausdorff_mm -500, expected no negative number"),
    ("reference_ml", -1e-9, "reference_ml -1e-09, expected no negative number"),
    ("jaccard", 1.5, "Jaccard 1.5, expected 0 to 1"), ("sensitivity", -0.5, "sensitivity -0.5, expected 0 to 1"),
    ("hausdorff_mm", "", ""), ("sensitivity", "", ""), ("assd_mm", 0, ""), ("volume_ml", 4000, ""),
])  # fmt: skip
def test_numbers_that_cannot_be(column, value, words, tmp_path):
    (tmp_path / "cases.csv").write_text(f"case,patient,phase,structure,{column}\na,a,,LV,{value}\n")
    if not words:
        assert len(tables.read_cases(tmp_path / "cases.csv", [column])) == 1
        return
    with pytest.raises(InputError) as raised:
        tables.read_cases(tmp_path / "cases.csv", [column])
    assert str(raised.value) == f"{tmp_path / 'cases.csv'}: a, LV: {words}; make the file again"


def test_a_bar_in_a_text_ends_no_cell():
    assert tables.markdown_lines(["a|b", "c"], [["1", "|"]]) == [r"| a\|b | c |", "|---|---|", r"| 1 | \| |"]


def test_a_column_that_nobody_asked_for_may_hold_anything(tmp_path):
    (tmp_path / "cases.csv").write_text(SCORES + "a,a,,LV,n/a\n")
    assert tables.read_cases(tmp_path / "cases.csv", iter(()))[0]["dice"] == "n/a"


def test_a_table_that_a_spreadsheet_saved(tmp_path):
    (tmp_path / "cases.csv").write_bytes(b"\xef\xbb\xbf" + SCORES.strip().encode() + b",hausdorff_mm\r\na,a,,LV,1,\r\n")
    (found,) = tables.read_cases(tmp_path / "cases.csv", ["dice", "hausdorff_mm"])
    assert found["case"] == "a" and found["dice"] == 1 and math.isnan(found["hausdorff_mm"])
    with pytest.raises(InputError, match="nowhere.csv: expected a table"):
        files.read_csv(tmp_path / "nowhere.csv")
