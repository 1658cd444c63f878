"""The table script: says "not run" without runs, and otherwise puts the paper's numbers beside those of cases.csv."""

import argparse
import subprocess
import sys
import types
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from acdc_segmenter_tf import train
from acdc_segmenter_tf.recipe import PUBLISHED
from shared.files import read_csv, read_json, write_csv, write_json, write_text
from shared.runs import Experiment
from shared.scoring.published import NATIVE, Column, Row, Scoring, Table, printed

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch):
    """The script as a module; its `main` takes the arguments of the command."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import reproduce_table

    changed = reproduce_table.changed
    scores_alone = lambda *given: changed(*given) if (given[2] / "run.json").exists() else []  # noqa: E731  # most runs here
    monkeypatch.setattr(reproduce_table, "changed", scores_alone)
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
    folder = Experiment(package="acdc_segmenter_tf", name="unet2d_modified_wxent", dataset="acdc", workdir=tmp_path).folder
    write_csv(folder / "cases.csv", case_rows())
    write_text(folder / "summary.md", "")
    return tmp_path


@pytest.mark.parametrize("number", PUBLISHED)
def test_report_only_needs_neither_data_nor_runs(script, number, tmp_path, capsys):
    script.main(["baumgartner2017", str(number), "--report-only", "--workdir", str(tmp_path)])
    printed = capsys.readouterr().out
    rows = read_csv(tmp_path / "tables" / f"baumgartner2017_table{number}.csv")
    expected = sum(cell is not None for row in PUBLISHED[number].rows for cell in row.cells)
    rows_of_paper = sum(any(row.cells) for row in PUBLISHED[number].rows)  # each with a line that says "not run"
    assert len(rows) == expected and {row["ours"] for row in rows} == {"not run"}
    assert "not run" in printed and "6-neighbour" in printed and "python -m acdc_segmenter_tf.train" in printed
    assert (tmp_path / "tables" / f"baumgartner2017_table{number}.tex").read_text().count(r"\\") == 1 + 2 * rows_of_paper


def test_the_list_names_every_table(script, capsys):
    with pytest.raises(SystemExit) as ended:
        script.main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    assert [line.split(":")[0] for line in lines] == [
        f"{name} {n}" for name, paper in script.PAPERS.items() for n in paper.published
    ]
    assert "baumgartner2017 3: Clinical measures, 2D U-Net (mod.) (20 patients; EF in %, volumes in ml); 3 rows, acdc" in lines


def test_a_report_of_a_folder_that_is_not_there_is_refused(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "scripts/reproduce_table.py"),
        "baumgartner2017",
        "1",
        "--report-only",
        "--workdir",
        "typo",
    ]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (2, "error: --workdir typo: no such folder, so that nothing was run there\n")
    assert list(tmp_path.iterdir()) == []


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


# Folds, ways of scoring and quoted rows -------------------------------------------------------------------------------------


MADE_UP = Table(
    title="Made up",
    dataset="acdc",
    folds=(0, 1, 2),
    scorings=(Scoring("cases_resampled.csv", "on a coarse grid"), replace(NATIVE, suffix="_native")),
    columns=(Column("dice", structure="LV"), Column("dice", structure="mean")),
    rows=(
        Row("Net A", "net_a", printed((0.9, 0.1), (0.8, 0.1))),
        Row("Net A by itself", "net_a", printed(0.7, 0.6), file="cases_alone.csv"),
        Row("Net B", "net_b", printed((0.9, 0.1), (0.8, 0.1))),
        Row("Theirs", "", printed((0.9, 0.1), (0.8, 0.1))),
    ),
)


@dataclass(frozen=True)
class MadeUp:
    width: int
    steps: tuple[int, ...]
    structures: tuple[str, ...]


@pytest.fixture
def made_up(script, monkeypatch):
    """A paper with one table of three folds; the commands that it was asked to train."""
    asked = []
    method = types.SimpleNamespace(
        package="made_up_net",
        recipes={"net_a": MadeUp(1, (2, 3), ("LV",)), "net_b": MadeUp(4, (2, 3), ("LV",))},
        presets={"paper": lambda recipe: recipe, "quick": lambda recipe: replace(recipe, steps=(2, 2))},
        folds=lambda recipe: 3,
    )
    monkeypatch.setitem(script.PAPERS, "made_up", script.Paper(method, {1: MADE_UP}, asked.append))
    return asked


def finish(workdir, fold, lv, rv, experiment="net_a", **settings):
    """A finished run with one patient; on the coarse grid Dice is half as large, by itself it is a tenth."""
    folder = Experiment(package="made_up_net", name=experiment, dataset="acdc", fold=fold, workdir=workdir).folder
    for file, factor in (("cases.csv", 1), ("cases_resampled.csv", 0.5), ("cases_alone.csv", 0.1)):
        rows = [
            {"case": "A", "patient": "A", "phase": "", "structure": s, "dice": d * factor} for s, d in (("LV", lv), ("RV", rv))
        ]
        write_csv(folder / file, rows)
    write_json(folder / "run.json", {"recipe": {"width": 1, "steps": [2, 3], "structures": ["RV"], **settings}})
    write_text(folder / "summary.md", "")


def made_up_tables(script, workdir, *arguments):
    """Suffix -> (the rows by row and measure, the caption and all else of the Markdown)."""
    script.main(["made_up", "1", "--report-only", "--workdir", str(workdir), *arguments])
    found = {}
    for suffix in ("", "_native"):
        fold = "_fold2" if arguments == ("--fold", "2") else ""
        path = workdir / f"tables/made_up_table1{fold}{suffix}"
        rows = {(row["row"], row["measure"]): (row["ours"], row["n"]) for row in read_csv(path.with_suffix(".csv"))}
        found[suffix] = rows, path.with_suffix(".md").read_text()
    return found


def test_finished_folds_are_pooled_and_named(script, made_up, tmp_path):
    finish(tmp_path, 0, lv=0.9, rv=0.5)
    finish(tmp_path, 2, lv=0.7, rv=0.3)
    tables = made_up_tables(script, tmp_path)
    native, text = tables["_native"]
    # LV 0.9 and 0.7; the case means are 0.7 and 0.5
    assert (native["Net A", "LV Dice"], native["Net A", "mean Dice"]) == (("0.800 (0.100)", 2), ("0.600 (0.100)", 2))
    assert native["Net B", "LV Dice"][0] == "not run" and native["Theirs", "LV Dice"][0] == "only quoted"
    assert "counted are net_a on acdc: folds 0, 2 of 3." in text and "Scored at native resolution." in text
    coarse, text = tables[""]
    assert (coarse["Net A", "LV Dice"], coarse["Net A", "mean Dice"]) == (("0.400 (0.050)", 2), ("0.300 (0.050)", 2))
    for rows in (native, coarse):
        assert rows["Net A by itself", "LV Dice"] == ("0.080 (0.010)", 2)
    assert "Scored on a coarse grid." in text and "counted are net_a on acdc: folds 0, 2 of 3." in text
    assert "--experiment net_b --fold all --data-root DIR" in text and "None" not in text
    finish(tmp_path, 1, lv=0.8, rv=0.4)
    assert "counted" not in made_up_tables(script, tmp_path)[""][1]


def test_a_run_with_other_settings_than_the_presets_says_so_and_how_to_rerun_it(script, made_up, tmp_path):
    finish(tmp_path, 0, lv=0.9, rv=0.5, steps=[9, 3])
    finish(tmp_path, 1, lv=0.9, rv=0.5)
    text = made_up_tables(script, tmp_path)[""][1]
    assert "Not with the settings of the preset: net_a on acdc, fold 0: steps=9,3." in text
    assert "--experiment net_a --fold all --set steps=9,3 --data-root DIR" in text


def test_tables_of_other_data_or_splits_have_files_of_their_own(script):
    given = {"preset": "quick", "dataset": "lasc", "split": "a/mine.json", "fold": "all"}
    assert script.parts_of(argparse.Namespace(**given)) == ["quick", "lasc", "mine"]
    own = {"preset": "paper", "dataset": None, "split": "", "fold": 2}
    assert script.parts_of(argparse.Namespace(**own)) == ["fold2"]


def test_the_caption_explains_the_statistics_of_its_table(script):
    usual = script.legend(MADE_UP)
    assert usual.startswith("Cells: mean (population std), correlation, or bias [95 % limits of agreement, 1.96 sample std]; ")
    columns = (Column("hausdorff_mm", "median"), Column("volume", "agreement_2_sigma", phase="ED"))
    assert "sample std], median, or bias [limits at 2 sample std]; diff" in script.legend(
        replace(MADE_UP, columns=columns, rows=())
    )


def test_one_fold_is_chosen(script, made_up, tmp_path, capsys):
    finish(tmp_path, 0, lv=0.9, rv=0.5)
    finish(tmp_path, 2, lv=0.7, rv=0.3)
    rows, text = made_up_tables(script, tmp_path, "--fold", "2")["_native"]
    assert rows["Net A", "LV Dice"] == ("0.700 (0.000)", 1)
    assert "preset on acdc, fold 2" in text and "counted" not in text
    assert "--experiment net_a --fold 2 --data-root DIR" in text
    assert made_up_tables(script, tmp_path, "--fold", "all")[""][1] == made_up_tables(script, tmp_path)[""][1]
    for fold, words in (("first", "first"), ("3", "--fold 3: expected 0 to 2")):
        with pytest.raises(SystemExit) as raised:
            made_up_tables(script, tmp_path, "--fold", fold)
        assert raised.value.code == 2 and words in capsys.readouterr().err


def test_a_table_by_its_word_on_a_split_that_is_given(script, tmp_path):
    """Wang 2018 judges by eye what each step is for: our numbers stand alone."""
    folder = Experiment(package="two_stage_unet", name="without_step_2", dataset="lasc", split="common", workdir=tmp_path).folder
    write_csv(folder / "cases.csv", [{"case": "A", "patient": "A", "phase": "", "structure": "LA", "dice": 0.75, "assd_mm": 1.5}])
    write_text(folder / "summary.md", "")
    script.main(["wang2018", "steps", "--dataset", "lasc", "--split", "common", "--report-only", "--workdir", str(tmp_path)])
    found = {(row["row"], row["measure"]): row for row in read_csv(tmp_path / "tables/wang2018_steps_lasc_common.csv")}
    without = found["without step 2", "mean Dice"]
    assert (without["paper"], without["ours"]) == ("by eye", "0.750 (0.000)") and without["difference"] != without["difference"]
    assert found["all steps", "mean Dice"]["ours"] == "not run"
    text = (tmp_path / "tables/wang2018_steps_lasc_common.md").read_text()
    assert "wang2018 steps: " in text and "on lasc, split common" in text and "counted" not in text
    assert "--experiment without_step_2 --split common --data-root DIR" in text


def test_rows_of_two_data_sets_have_runs_of_their_own(script, tmp_path, monkeypatch):
    """Wang 2018, table 4: CT above, MR below, each with a whole heart that is scored together."""
    for dataset, ml, dice in (("mmwhs_ct", 30.0, 0.6), ("mmwhs_mr", 10.0, 0.9)):
        folder = Experiment(package="two_stage_unet", name="two_stage", dataset=dataset, workdir=tmp_path).folder
        one = {"case": "A", "patient": "A", "phase": "", "jaccard": 0.5, "asd_mm": 1.5, "reference_ml": 10.0}
        rows = [
            {**one, "structure": "LV", "dice": dice, "volume_ml": ml},
            {**one, "structure": "RV", "dice": 0.8, "volume_ml": 10.0},
        ]
        write_csv(folder / "cases.csv", rows)
        write_text(folder / "summary.md", "")
    script.main(["wang2018", "4", "--report-only", "--workdir", str(tmp_path)])
    found = {(row["row"], row["measure"]): row for row in read_csv(tmp_path / "tables/wang2018_table4.csv")}
    assert found["CT, Net1 + Net2, LV", "Dice"]["ours"] == "0.6000 (0.0000)"
    assert found["MR, Net1 + Net2, LV", "Dice"]["ours"] == "0.9000 (0.0000)"
    assert found["CT, Net1 + Net2, WH", "Dice"]["ours"] == "0.667 (0.000)"  # (0.6 * 40 + 0.8 * 20) / 60
    assert found["MR, Net1 + Net2, WH", "Dice"]["ours"] == "0.8500 (0.0000)"
    assert found["CT, Net1 + Net2, WH", "ASD (mm)"]["ours"] == "only quoted"
    text = (tmp_path / "tables/wang2018_table4.md").read_text()
    assert "counted are two_stage on mmwhs_ct: fold 0 of 3; two_stage on mmwhs_mr: fold 0 of 3." in text
    assert "--dataset mmwhs_ct --experiment two_stage" in text and "--dataset mmwhs_mr --experiment two_stage" in text


def test_missing_folds_are_run(script, made_up, tmp_path, capsys):
    finish(tmp_path, 0, lv=0.9, rv=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script.datasets, "find", lambda dataset, root: [])
        patch.setattr(script, "picture", lambda path, done, roots, reference_of: made_up.append(done))
        script.main(["made_up", "1", "--data-root", "DIR", "--workdir", str(tmp_path)])
    *commands, drawn = made_up
    assert [(c[c.index("--experiment") + 1], c[c.index("--fold") + 1]) for c in commands] == [
        ("net_a", "1"), ("net_a", "2"), ("net_b", "0"), ("net_b", "1"), ("net_b", "2"),
    ]  # fmt: skip
    assert all(c[c.index("--dataset") + 1] == "acdc" for c in commands) and list(drawn) == [("net_a", "acdc", 0)]
    assert (
        "needs 6 runs, 5 of them missing: net_a on acdc fold 1, net_a on acdc fold 2, net_b on acdc fold 0"
        in capsys.readouterr().out
    )


def test_a_run_that_lacks_a_patient_is_refused(script, made_up, tmp_path, capsys):
    finish(tmp_path, 0, lv=0.9, rv=0.5)
    path = tmp_path / "made_up_net/net_a/acdc/fold0/run.json"
    write_json(path, read_json(path) | {"split": {"train": ["C"], "validation": ["A", "B"], "test": ["A", "B"]}})
    with pytest.raises(SystemExit) as ended:
        made_up_tables(script, tmp_path)
    assert (
        ended.value.code == 2
        and "cases_resampled.csv: not the scores of the patients that the run held out, such as B; " in capsys.readouterr().err
    )


def test_a_run_of_another_split_of_the_same_name_is_refused(script, made_up, tmp_path, capsys):
    """What it would be trained on now is another split, so that nothing is trained, and no table made."""
    folder = Experiment(package="made_up_net", name="net_a", dataset="acdc", split="mine.json", workdir=tmp_path).folder
    split = {"train": ["C", "D"], "validation": ["B"], "test": ["A"]}
    write_csv(folder / "cases.csv", [{"case": "A", "patient": "A", "phase": "", "structure": "LV", "dice": 0.9}])
    write_json(folder / "run.json", {"recipe": {"width": 1, "steps": [2, 3], "structures": ["RV"]}, "split": split})
    write_text(folder / "summary.md", "")
    for name, given in (("same", {**split, "train": ["D", "C"]}), ("other", {**split, "validation": ["D"], "train": ["B", "C"]})):
        write_json(tmp_path / name / "mine.json", given)
    with pytest.raises(SystemExit) as ended:
        script.main(
            ["made_up", "1", "--split", str(tmp_path / "other/mine.json"), "--data-root", "DIR", "--workdir", str(tmp_path)]
        )
    assert ended.value.code == 2 and "a run with other patients on the train side" in capsys.readouterr().err
    assert not made_up and not (tmp_path / "tables").exists()
    script.splits.check_made_on(script.splits.in_file(tmp_path / "same/mine.json"), split, folder)  # the order does not count


def test_a_rerun_has_the_seed_the_backend_and_the_operations_of_the_run(script, made_up, tmp_path):
    finish(tmp_path, 0, lv=0.9, rv=0.5)
    path = tmp_path / "made_up_net/net_a/acdc/fold0/run.json"
    write_json(path, read_json(path) | {"seed": 3, "backend": "jax", "deterministic": False})
    text = made_up_tables(script, tmp_path)[""][1]
    again = "--dataset acdc --experiment net_a --fold all --seed 3 --nondeterministic --data-root DIR"
    assert f"- `KERAS_BACKEND=jax python -m made_up_net.train {again}`" in text
    assert "- `python -m made_up_net.train --dataset acdc --experiment net_b --fold all --data-root DIR`" in text


def test_names_of_rows_are_the_papers_and_not_the_presets(script):
    assert script.named("paper") == []
    assert script.named("medium") == ["Rows are named as in the paper; ours have the sizes of the medium preset."]


def test_a_split_that_is_given_has_no_folds(script, made_up, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        made_up_tables(script, tmp_path, "--split", "common", "--fold", "1")
    assert ended.value.code == 2 and "--fold 1: a split that is given has no folds" in capsys.readouterr().err
    assert not (tmp_path / "tables").exists()


def test_what_is_missing_is_run_and_drawn(script, phantom_root, tmp_path, monkeypatch):
    asked = []

    def narrowed(arguments):
        asked.append(arguments)
        tiny = {"width": 2, "image_shape": "36,36", "batch_size": 2, "steps": 2, "precision": "float32"}
        train.main([*arguments, *(text for field, value in tiny.items() for text in ("--set", f"{field}={value}"))])

    paper = script.PAPERS["baumgartner2017"]
    monkeypatch.setitem(script.PAPERS, "baumgartner2017", replace(paper, train=narrowed))
    arguments = ["baumgartner2017", "3", "--data-root", str(phantom_root), "--preset", "quick", "--workdir", str(tmp_path)]
    script.main(arguments)
    script.main(arguments)
    assert len(asked) == 1 and asked[0][asked[0].index("--experiment") + 1] == "unet2d_modified_wxent"
    assert (tmp_path / "tables/baumgartner2017_table3_quick.png").stat().st_size > 10_000
    assert "not run" not in (tmp_path / "tables/baumgartner2017_table3_quick.md").read_text()


def test_a_row_of_one_patient_counts_that_patient_alone(script, tmp_path):
    folders = [
        Experiment(package="propagation", name="propagation", dataset="stacom", fold=fold, workdir=tmp_path).folder
        for fold in range(5)
    ]
    for fold, folder in enumerate(folders):
        row = {
            "case": f"v{fold}_ED",
            "patient": f"v{fold}",
            "phase": "ED",
            "group": "",
            "structure": "BV",
            "dice": 0.5 + fold / 10,
        }
        write_csv(folder / "cases_resampled.csv", [row])
        write_text(folder / "summary.md", "")
    script.main(["zheng2018", "1", "--report-only", "--workdir", str(tmp_path)])
    rows = read_csv(tmp_path / "tables/zheng2018_table1.csv")
    assert [(row["paper"], row["ours"].split()[0], row["n"]) for row in rows] == [(0.7851, "0.6000", 1), (0.7817, "0.7000", 1)]
