"""The table script: says "not run" without runs, and otherwise puts the paper's numbers beside those of cases.csv."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from acdc_segmenter_tf import train
from acdc_segmenter_tf.recipe import PUBLISHED
from shared import runs
from shared.files import read_csv, write_csv, write_text

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch):
    """The script as a module; its `main` takes the arguments of the command."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import reproduce_table

    return reproduce_table


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
def test_report_only_needs_neither_data_nor_runs(script, number, tmp_path, capsys):
    script.main(["baumgartner2017", str(number), "--report-only", "--workdir", str(tmp_path)])
    printed = capsys.readouterr().out
    rows = read_csv(tmp_path / "tables" / f"baumgartner2017_table{number}.csv")
    expected = sum(value is not None for *_, values in PUBLISHED[number]["rows"] for value in values)
    assert len(rows) == expected and {row["ours"] for row in rows} == {"not run"}
    assert "not run" in printed and "6-neighbour" in printed and "python -m acdc_segmenter_tf.train" in printed
    assert (tmp_path / "tables" / f"baumgartner2017_table{number}.tex").read_text().count(r"\\") == expected + 1


def test_the_command_works_from_another_folder(tmp_path):
    command = [sys.executable, str(ROOT / "scripts/reproduce_table.py"), "baumgartner2017"]
    ended = subprocess.run([*command, "1", "--report-only"], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0 and not ended.stderr, ended.stderr
    assert (tmp_path / "runs/tables/baumgartner2017_table1.md").exists()
    refused = subprocess.run([*command, "9"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 2 and "no table 9" in refused.stderr and len(refused.stderr.splitlines()) == 1


def table(script, number, workdir):
    script.main(["baumgartner2017", str(number), "--report-only", "--workdir", str(workdir)])
    return {(row["row"], row["measure"]): row for row in read_csv(workdir / f"tables/baumgartner2017_table{number}.csv")}


def test_ours_difference_and_n_stand_beside_the_papers(script, workdir):
    rows = table(script, 2, workdir)
    dice = rows["2D U-Net (mod.), LV", "ED Dice"]
    assert (dice["paper"], dice["ours"], dice["difference"], dice["n"]) == ("0.966 (0.017)", "0.900 (0.000)", -0.066, 2)
    assert rows["2D U-Net (mod.), LV", "ES HD (mm)"]["n"] == 1  # one of the two is undefined
    assert rows["FCN-8, LV", "ED Dice"]["ours"] == "not run"


def test_clinical_measures_come_from_the_rows(script, workdir):
    ours = {key: row["ours"] for key, row in table(script, 3, workdir).items()}
    # LV: EF 60 % in both patients, ours 60 and (200 - 90) / 200 = 55: differences 0 and -5, their sample std 5 / sqrt 2
    assert ours["LV", "EF bias [LoA] (%)"] == "-2.50 [-9.43; 4.43]"
    assert ours["LV", "ES volume bias [LoA] (ml)"] == "5.00 [-8.86; 18.86]"
    assert ours["LV", "ED corr volume"] == "1.000"
    assert ours["RV", "ES volume bias [LoA] (ml)"] == "0.00 [0.00; 0.00]"


def test_what_is_missing_is_run_and_drawn(script, phantom_root, tmp_path, monkeypatch):
    asked = []

    def narrowed(arguments):
        asked.append(arguments)
        tiny = {"width": 2, "image_shape": "36,36", "batch_size": 2, "steps": 2, "precision": "float32"}
        train.main([*arguments, *(text for field, value in tiny.items() for text in ("--set", f"{field}={value}"))])

    paper = script.PAPERS["baumgartner2017"]
    monkeypatch.setitem(script.PAPERS, "baumgartner2017", replace(paper, train=SimpleNamespace(main=narrowed)))
    arguments = ["baumgartner2017", "3", "--data-root", str(phantom_root), "--preset", "quick", "--workdir", str(tmp_path)]
    script.main(arguments)
    script.main(arguments)
    assert len(asked) == 1 and asked[0][asked[0].index("--experiment") + 1] == "unet2d_modified_wxent"
    assert (tmp_path / "tables/baumgartner2017_table3_quick.png").stat().st_size > 10_000
    assert "not run" not in (tmp_path / "tables/baumgartner2017_table3_quick.md").read_text()
