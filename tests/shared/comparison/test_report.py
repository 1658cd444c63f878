"""The tables: what stands in them for toy hearts, a method that was not run, differences that are shown or not."""

import dataclasses

from shared.comparison import report, scored
from shared.comparison.cost import Cost, Prediction
from shared.comparison.entrants import Entrant
from shared.files import read_csv

PREDICTION = Prediction(1234567, 2.34, 0.517, "patient005_ED", "two cores", "digest")


def written(contest, **costs):
    """What is printed, and the Markdown as title -> lines."""
    printed = report.write(contest, scored.evaluate(contest), costs, ["A fact."])
    sections = (contest.folder / report.PAGE).read_text().split("\n## ")
    return printed, {part.splitlines()[0]: part.splitlines() for part in sections}


def test_the_page_by_hand(contest):
    printed, page = written(contest, exact=Cost(3700.0, PREDICTION), shifted=Cost(90.0))
    first = page["All methods"]
    assert first[2] == (
        "| method | Dice mean | Dice RV | Dice Myo | Dice LV "
        "| mean rank (Dice) | parameters | training | s per volume | memory (GiB) |"
    )
    assert first[4].startswith("| exact | 1.000 (0.000) | 1.000 (0.000) |")
    assert first[4].endswith(f"| 1.00 | 1,234,567 | {report.duration(3700.0)} | 2.3 | 0.52 |")
    assert "| 0.750 (0.000) |" in first[5] and first[5].endswith(f"| - | {report.duration(90.0)} | - | - |")
    assert first[7] == "| absent | not run | not run | not run | not run | - | - | - | - | - |"
    assert first[2:8] == printed.splitlines()[2:8]
    lv = page["LV, ED"]
    assert lv[2] == "| method | Dice | HD (mm) | ASSD (mm) | n | n of distances |"
    assert lv[4] == "| exact | 1.000 (0.000) | 0.00 (0.00) | 0.00 (0.00) | 2 | 2 |"
    assert lv[6].startswith("| short | 0.941 (0.000) | 20.00 (0.00) |") and lv[7] == "| absent | not run | - | - | - | - |"
    # LV: 2.88 ml at ED and 1.6 ml at ES; without the apex 2.56 and 1.28, so EF is 50 and not 44.4 %
    volumes = page["LV: agreement with the reference"]
    assert volumes[2] == "| method | EF, bias (%) | ED volume, bias (ml) | ES volume, bias (ml) |"
    assert volumes[6] == "| short | 5.6 [5.6; 5.6] | -0.3 [-0.3; -0.3] | -0.3 [-0.3; -0.3] |"
    assert volumes[7] == "| absent | not run | - | - |"
    groups = page["Dice by diagnosis"]
    assert groups[2] == "| structure | method | HCM (n = 2) | MINF (n = 2) |"
    assert page["Dice by position, slice by slice"][2] == "| structure | method | base (n = 4) | middle (n = 4) | apex (n = 4) |"
    text = (contest.folder / report.PAGE).read_text()
    assert "A fact." in text and "6-neighbour" in text and "Holm" in text and "nan" not in text
    assert "in a process of its own. Measured on: two cores." in text


def test_two_patients_show_no_difference(contest):
    _, page = written(contest)
    differences = page["Mean over structures: difference in Dice, line - column"]
    assert differences[2] == "|  | exact | shifted | short |"
    assert differences[4] == "| exact |  | no difference shown | no difference shown |"
    ranks = page["Mean ranks"]
    assert ranks[2].startswith("| method | Dice mean | Dice RV |") and ranks[4].startswith("| exact | 1.00 |")


def test_too_few_patients_for_so_many_methods_are_said(contest):
    """With n patients the smallest p is 2 / 2^n, which Holm multiplies by the number of pairs."""
    written(contest)
    text = (contest.folder / report.PAGE).read_text()
    assert " With 2 patients and 3 pairs of methods none can be shown: the corrected p is at least 1.\n" in text
    pairs = [{"n": n, "first": "a", "second": second} for n, second in ((7, "b"), (6, "c"), (7, "d"))]
    assert report.in_vain(pairs[:2]) == ""  # 2 * 2 / 128 = 0.03
    assert report.in_vain([{**pair, "n": 6} for pair in pairs]).endswith("6 patients and 3 pairs of methods none can be shown: "
                                                                        "the corrected p is at least 0.094.")  # fmt: skip
    assert report.in_vain([]) == ""


def test_a_difference_that_is_shown_has_its_interval_from_both_sides():
    row = {"measure": "dice", "structure": "LV", "first": "a", "second": "b", "difference": 0.02, "low": 0.01, "high": 0.04,
           "verdict": "a is better"}  # fmt: skip
    (grid,) = report.difference_grids([row], ["b", "absent", "a"])
    assert (grid.header, list(grid.rows)) == (
        ["", "b", "a"],
        [["b", "", "-0.020 [-0.040; -0.010]"], ["a", "+0.020 [0.010; 0.040]", ""]],
    )


def test_files(contest):
    printed, _ = written(contest, exact=Cost(3700.0, PREDICTION))
    names = ["agreements", "breakdown", "cases", "methods", "ranks", "slices", "summaries", "tests"]
    assert sorted(path.stem for path in contest.folder.glob("*.csv")) == names
    assert printed.endswith(f"wrote {contest.folder}/comparison.md; beside it are comparison.tex, "
                            "8 tables as CSV, and 0 pictures in figures")  # fmt: skip
    methods = read_csv(contest.folder / "methods.csv")
    assert [row["state"] for row in methods] == ["run", "run", "run", "not run"]
    assert (methods[0]["parameters"], methods[0]["training_s"], methods[0]["hardware"]) == (1234567, 3700, "two cores")
    tests = read_csv(contest.folder / "tests.csv")
    assert len(tests) == 3 * 4 * 3 and {row["verdict"] for row in tests} == {"no difference shown"}
    assert len(read_csv(contest.folder / "cases.csv")) == 36
    tex = (contest.folder / report.FLOATS).read_text()
    assert tex.count(r"\begin{table}") == tex.count(r"\end{table}") > 15
    assert r"\caption{Toys. LV, ED.}" in tex and r"absent & not run & - & - & - & - \\" in tex and r"EF, bias (\%)" in tex


def test_nothing_was_run(contest):
    written(contest)
    nobody = dataclasses.replace(contest, entrants=[Entrant(key="absent", name="absent")], cases=[])
    printed, page = written(nobody)
    assert "| absent | not run | - | - | - | - | - |" in printed and list(page)[1:] == ["All methods"]
    assert [path.name for path in contest.folder.glob("*.csv")] == ["methods.csv"]  # nothing of the earlier comparison
