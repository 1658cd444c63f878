"""The tables of the prediction commands, which later commands add to."""

from pathlib import Path

from shared import files, prediction_tables
from shared.datasets import acdc
from shared.scoring import function

ACDC = acdc.STRUCTURES


def row(lv_ml, scan="a.nii", rv_ml=50.0, doubt=0.1):
    volumes = {"scan": scan, "frame": 1, "RV_ml": rv_ml, "Myo_ml": 80.0, "LV_ml": lv_ml}
    return {**volumes, "doubt": doubt, "reasons": "LV volume 12 ml; more"}


def test_a_second_command_keeps_the_rows_of_the_first(tmp_path):
    out = tmp_path / "out"
    first = [row(100, scan="001.nii"), row(50, scan="b.nii")]
    prediction_tables.write_tables(first, [function.measured(*first, ACDC)], out)
    prediction_tables.write_tables([row(70, scan="c.nii")], [], out)
    prediction_tables.write_tables([row(60, scan="elsewhere/b.nii")], [], out)  # the label map out/b.nii.gz was replaced
    rows = files.read_csv(out / "volumes.csv")
    assert [(r["scan"], r["frame"], r["LV_ml"]) for r in rows] == [
        ("001.nii", 1, 100),
        ("c.nii", 1, 70),
        ("elsewhere/b.nii", 1, 60),
    ]
    assert not (out / "function.csv").exists()  # its only row was of the label map that was replaced


def test_function_rows_of_other_scans_stay(tmp_path):
    for name, es_ml in (("a", 40), ("b", 50), ("a", 60)):
        pair = [row(100, scan=f"{name}_ed.nii"), row(es_ml, scan=f"{name}_es.nii", rv_ml=20)]
        prediction_tables.write_tables(pair, [function.measured(*pair, ACDC)], tmp_path)
    rows = files.read_csv(tmp_path / "function.csv")
    assert [(r["ed_scan"], r["LV_ef_percent"], r["ed_frame"]) for r in rows] == [("b_ed.nii", 50, 1), ("a_ed.nii", 40, 1)]
    assert len(files.read_csv(tmp_path / "volumes.csv")) == 4


def test_tables_beside_one_label_map_are_of_that_label_map(tmp_path):
    prediction_tables.write_tables(
        [row(1, scan="a.nii")], [function.measured(row(9), row(5, scan="b"), ACDC)], tmp_path / "seg.nii.gz"
    )
    prediction_tables.write_tables([row(2, scan="b.nii")], [], tmp_path / "seg.nii.gz")
    assert [r["scan"] for r in files.read_csv(tmp_path / "seg_volumes.csv")] == ["b.nii"]
    assert not (tmp_path / "seg_function.csv").exists()


def test_rows_of_label_maps_that_will_be_made_again_go_first(tmp_path):
    volumes, functions = prediction_tables.table_paths(tmp_path)
    files.write_csv(
        volumes, [{"scan": name, "frame": 1, "doubt": 0.1, "reasons": "", "LV_ml": 1.0} for name in ("x/a.nii", "b.nii")]
    )
    files.write_csv(functions, [{"ed_scan": "x/a.nii", "es_scan": "c.nii", "LV_ef_percent": 50.0}])
    prediction_tables.forget(tmp_path, [Path("new.nii")])
    assert len(files.read_csv(volumes)) == 2 and len(files.read_csv(functions)) == 1
    prediction_tables.forget(tmp_path, [Path("y/a.nii")])  # of another folder, with a label map of the same name
    assert [row["scan"] for row in files.read_csv(volumes)] == ["b.nii"] and not functions.exists()
    prediction_tables.forget(tmp_path, [Path("b.nii")])
    assert not volumes.exists()
