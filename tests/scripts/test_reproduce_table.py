"""The table script: says "not run" without runs, and otherwise puts the paper's numbers beside those of cases.csv."""

import subprocess
import sys
from pathlib import Path

import pytest

from acdc_segmenter_tf import train
from acdc_segmenter_tf.recipe import PUBLISHED
from shared import runs
from shared.files import read_csv, write_csv, write_text

ROOT = Path(__file__).parents[2]


def script(*arguments, cwd=ROOT):
    command = [sys.executable, "-W", "ignore", str(ROOT / "scripts/reproduce_table.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def case_rows():
    """Two patients at ED and ES: our volumes are the reference's, but for patient B's end-systolic LV."""
    rows = []
    for patient, factor in (("A", 1.0), ("B", 2.0)):
        for phase, volume_ml in (("ED", 100.0), ("ES", 40.0)):
            for structure in ("RV", "Myo", "LV"):
                reference = volume_ml * factor
                ours = reference + (10 if (patient, phase, structure) == ("B", "ES", "LV") else 0)
                rows.append({
                    "case": f"{patient}_{phase}", "patient": patient, "phase": phase, "group": "", "structure": structure,
                    "dice": 0.9 if phase == "ED" else 0.8, "jaccard": 0.7, "sensitivity": 0.9,
                    "hausdorff_mm": 5.0 if patient == "A" else float("nan"), "assd_mm": 0.5, "volume_ml": ours,
                    "reference_ml": reference,
                })  # fmt: skip
    return rows


@pytest.fixture
def workdir(tmp_path):
    folder = runs.folder_of(tmp_path, "acdc_segmenter_tf", "unet2d_modified_wxent", "paper", "acdc", 0)
    write_csv(folder / "cases.csv", case_rows())
    write_text(folder / "summary.md", "")
    return tmp_path


@pytest.mark.parametrize("number", PUBLISHED)
def test_report_only_needs_neither_data_nor_runs(number, tmp_path):
    ended = script("baumgartner2017", number, "--report-only", "--workdir", tmp_path, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    rows = read_csv(tmp_path / "tables" / f"baumgartner2017_table{number}.csv")
    expected = sum(value is not None for *_, values in PUBLISHED[number]["rows"] for value in values)
    assert len(rows) == expected and {row["ours"] for row in rows} == {"not run"}
    assert "not run" in ended.stdout and "6-neighbour" in ended.stdout and "python -m acdc_segmenter_tf.train" in ended.stdout
    assert (tmp_path / "tables" / f"baumgartner2017_table{number}.tex").read_text().count(r"\\") == expected + 1


def test_ours_difference_and_n_stand_beside_the_papers(workdir):
    assert script("baumgartner2017", 2, "--report-only", "--workdir", workdir).returncode == 0
    rows = {(row["row"], row["measure"]): row for row in read_csv(workdir / "tables/baumgartner2017_table2.csv")}
    dice = rows["2D U-Net (mod.), LV", "ED Dice"]
    assert (dice["paper"], dice["ours"], dice["difference"], dice["n"]) == ("0.966 (0.017)", "0.900 (0.000)", -0.066, 2)
    assert rows["2D U-Net (mod.), LV", "ES HD (mm)"]["n"] == 1  # one of the two is undefined
    assert rows["FCN-8, LV", "ED Dice"]["ours"] == "not run"


def test_clinical_measures_come_from_the_rows(workdir):
    assert script("baumgartner2017", 3, "--report-only", "--workdir", workdir).returncode == 0
    rows = {(row["row"], row["measure"]): row["ours"] for row in read_csv(workdir / "tables/baumgartner2017_table3.csv")}
    # LV: EF 60 % in both patients, ours 60 and (200 - 90) / 200 = 55: differences 0 and -5, their sample std 5 / sqrt 2
    assert rows["LV", "EF bias [LoA] (%)"] == "-2.50 [-9.43; 4.43]"
    assert rows["LV", "ES volume bias [LoA] (ml)"] == "5.00 [-8.86; 18.86]"
    assert rows["LV", "ED corr volume"] == "1.000"
    assert rows["RV", "ES volume bias [LoA] (ml)"] == "0.00 [0.00; 0.00]"


def test_what_is_missing_is_run_and_drawn(phantom_root, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import reproduce_table

    asked = []

    def fake(arguments):
        asked.append(arguments)
        tiny = {"width": 2, "image_shape": "36,36", "batch_size": 2, "steps": 2, "precision": "float32"}
        train.main([*arguments, *(text for field, value in tiny.items() for text in ("--set", f"{field}={value}"))])

    paper = reproduce_table.PAPERS["baumgartner2017"]
    stand_in = type("Train", (), {"main": staticmethod(fake)})
    monkeypatch.setitem(reproduce_table.PAPERS, "baumgartner2017", type(paper)(**{**vars(paper), "train": stand_in}))
    arguments = ["baumgartner2017", "3", "--data-root", str(phantom_root), "--preset", "quick", "--workdir", str(tmp_path)]
    reproduce_table.main(arguments)
    reproduce_table.main(arguments)
    assert len(asked) == 1 and asked[0][asked[0].index("--experiment") + 1] == "unet2d_modified_wxent"
    assert (tmp_path / "tables/baumgartner2017_table3_quick.png").stat().st_size > 10_000
    assert "not run" not in (tmp_path / "tables/baumgartner2017_table3_quick.md").read_text()


def test_a_table_that_does_not_exist(tmp_path):
    ended = script("baumgartner2017", 9, "--workdir", tmp_path)
    assert ended.returncode == 2 and "no table 9" in ended.stderr and len(ended.stderr.splitlines()) == 1
