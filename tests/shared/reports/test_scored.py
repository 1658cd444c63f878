"""The cases of a report: the numbers of cases.csv at their places, and what is remarked on."""

import numpy as np

from shared.reports import scored
from shared.reports.scored import of_methods, of_scores, remark
from shared.runs import REPORT
from shared.scans import volume


def row(case, structure, dice, volume_ml=10.0, reference_ml=10.0, **more):
    return {"case": case, "structure": structure, "dice": dice, "assd_mm": 1 - dice, "hausdorff_mm": 9 * dice,
            "volume_ml": volume_ml, "reference_ml": reference_ml, **more}  # fmt: skip


ROWS = [
    row("p2", "LV", 0.9, phase="ED", group=""),
    row("p2", "RV", 0.8, phase="ED", group=""),
    row("p1", "LV", 0.4, phase="ES", group=""),
]


def test_a_line_per_case_with_its_measures_by_structure():
    columns, (first, second) = of_scores(ROWS, {"p1": None, "p2": None})
    measures = [f"{structure} {measure}" for measure in ("Dice", "ASSD mm", "HD mm") for structure in ("LV", "RV")]
    assert [column.title for column in columns] == ["phase", "mean Dice", *measures]
    assert (first.name, second.name) == ("p1", "p2")
    np.testing.assert_allclose(second.values[1:], [0.85, 0.9, 0.8, 0.1, 0.2, 8.1, 7.2])
    np.testing.assert_allclose(first.values[1:], [0.4, 0.4, np.nan, 0.6, np.nan, 3.6, np.nan])
    assert first.remark == "Dice below 0.5: LV" and second.remark == ""


def test_one_structure_has_no_mean_beside_it():
    columns, (entry,) = of_scores([row("p", "LA", 0.75)], {"p": None})
    assert [column.title for column in columns] == ["LA Dice", "LA ASSD mm", "LA HD mm"] and entry.values == [0.75, 0.25, 6.75]


def test_methods_stand_side_by_side():
    rows = [{**each, "method": method, "dice": each["dice"] - less} for method, less in (("A", 0), ("B", 0.35)) for each in ROWS]
    columns, (first, second) = of_methods(rows, lambda name: None)
    assert [column.title for column in columns] == ["phase", "A, mean Dice", "B, mean Dice"]
    np.testing.assert_allclose([*first.values[1:], *second.values[1:]], [0.4, 0.05, 0.85, 0.5])
    assert first.remark == "below 0.5: A, B"


def test_remarks_tell_missed_from_invented_from_bad():
    rows = [row("p", "LV", 0, volume_ml=0), row("p", "RV", 0, reference_ml=0), row("p", "Myo", 0.3), row("p", "LA", 0.7),
            row("p", "RA", 1, volume_ml=0, reference_ml=0)]  # fmt: skip
    assert remark(rows) == "not found: LV; found, but not in the reference: RV; Dice below 0.5: Myo"


def test_the_page_of_a_run(tmp_path):
    labels = np.zeros((8, 8, 2), np.uint8)
    labels[2:5, 2:5] = 3
    scan = volume.from_array(np.arange(128.0).reshape(8, 8, 2), (1, 1, 5))
    drawing = scored.drawing(scan, scan.with_array(labels), scan.with_array(0 * labels), {3: "LV"}, 1)
    scored.write(tmp_path, "# Title\n\ntext", [row("p", "LV", 0.9)], {3: "LV"}, {"p": drawing})
    text = (tmp_path / REPORT).read_text()
    assert "<h1>Title</h1>" in text and "<p>text</p>" in text and text.count('<path class="s0"') == 1
    again = (tmp_path / REPORT).read_bytes()
    scored.write(tmp_path, "# Title\n\ntext", [row("p", "LV", 0.9)], {3: "LV"}, {"p": drawing})
    assert (tmp_path / REPORT).read_bytes() == again
