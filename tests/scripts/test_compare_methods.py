"""The comparison script on toy hearts: runs that are missing, label maps of other programs, walls, and what it refuses."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from propagation import masks
from propagation.recipe import PROPAGATION
from shared.comparison import cost
from shared.files import read_csv, read_json, write_csv, write_json
from shared.scans import volume
from shared.scans.volume import from_array
from tests import toy_hearts

ROOT = Path(__file__).parents[2]
PICTURES = ("paired", "bland_altman", "curves", "overlay")


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """The root of a toy data set, and its cases."""
    root = tmp_path_factory.mktemp("toys") / "acdc"
    return root, toy_hearts.write_acdc(root)


@pytest.fixture
def script(monkeypatch):
    """The script as a module, which draws nothing."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import compare_methods

    from shared.scoring import plots

    for name in PICTURES:
        monkeypatch.setattr(plots, name, lambda *arguments, **options: None)
    return compare_methods


@pytest.fixture
def finish(toys, tmp_path):
    """Finish the run of a method in the folder runs, with label maps that differ from the references by `change`."""

    def finished(script, key, change=np.copy, **more):
        method = script.METHODS[key]
        return toy_hearts.finish_run(tmp_path / "runs", method.package, method.experiments["acdc"], toys[1], change, **more)

    return finished


@pytest.fixture
def run(script, toys, tmp_path):
    """Call the script; return its folder."""

    def called(*arguments, dataset="acdc"):
        data = ("--data-root", str(toys[0])) if dataset == "acdc" else ()
        script.main(["--dataset", dataset, "--preset", "quick", "--workdir", str(tmp_path / "runs"), *data, *arguments])
        return tmp_path / "runs" / "comparison" / f"{dataset}-quick-common"

    return called


@pytest.fixture
def refused(run, capsys):
    """The one line with which the script ends."""

    def words(*arguments, **more):
        with pytest.raises(SystemExit) as raised:
            run(*arguments, **more)
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
        assert raised.value.code == 2 and len(lines) == 1 and lines[0].startswith("error: ")
        return lines[0]

    return words


def test_every_paper_is_compared_by_experiments_that_exist(script):
    import reproduce_table

    assert {method.package for method in script.METHODS.values()} == {each.package for each in reproduce_table.PAPERS.values()}
    for method in script.METHODS.values():
        assert set(method.experiments.values()) <= set(method.train.METHOD.recipes), method.name
        assert list(method.train.METHOD.presets) == ["paper", "medium", "quick"], method.name


@pytest.mark.parametrize("dataset", ["acdc", "lasc", "phantom"])
def test_a_report_needs_neither_data_nor_runs(script, dataset, tmp_path, capsys):
    script.main(["--dataset", dataset, "--preset", "quick", "--report-only", "--workdir", str(tmp_path)])
    folder = tmp_path / "comparison" / f"{dataset}-quick-common"
    names = [method.name for method in script.METHODS.values() if dataset in method.experiments and not method.finds_walls]
    rows = read_csv(folder / "methods.csv")
    assert [(row["method"], row["state"]) for row in rows] == [(name, "not run") for name in names]
    printed, text = capsys.readouterr().out, (folder / "comparison.md").read_text()
    assert f"| {names[0]} | not run | - |" in printed and f"--dataset {dataset}" in text and "Nothing was run yet." in text
    assert (folder / "wall").is_dir() == (dataset != "lasc")


def test_the_command_works_from_another_folder(tmp_path):
    command = [sys.executable, str(ROOT / "scripts/compare_methods.py"), "--dataset", "lasc", "--preset", "quick"]
    nothing = {name: value for name, value in os.environ.items() if name != "CARDIAC_DATA"}
    ended = subprocess.run([*command, "--report-only"], cwd=tmp_path, capture_output=True, text=True, env=nothing)
    assert ended.returncode == 0 and not ended.stderr, ended.stderr
    assert (tmp_path / "runs/comparison/lasc-quick-common/comparison.tex").exists()
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=nothing)
    assert refused.returncode == 2 and "no lasc data" in refused.stderr and len(refused.stderr.splitlines()) == 1


def test_runs_and_other_programs_stand_in_one_table(script, run, finish, toys, tmp_path):
    finish(script, "unet2d", toy_hearts.shifted)
    toy_hearts.write_maps(tmp_path / "theirs", [case for case in toys[1] if case.patient in ("patient005", "patient010")])
    folder = run("--methods", "fcn8,unet2d", "--report-only", "--also", f"nnunet={tmp_path / 'theirs'}")
    text = (folder / "comparison.md").read_text()
    assert "| FCN-8 | not run |" in text and "| nnunet | 1.000 (0.000) |" in text
    dice = {(row["method"], row["structure"]): row["dice"] for row in read_csv(folder / "summaries.csv") if row["phase"] == "all"}
    assert dice["2D U-Net (mod.)", "RV"] == 0.75 and dice["nnunet", "RV"] == 1
    (pair,) = [row for row in read_csv(folder / "tests.csv") if (row["measure"], row["structure"]) == ("dice", "RV")]
    assert (pair["first"], pair["second"], pair["difference"]) == ("2D U-Net (mod.)", "nnunet", -0.25)
    assert "(6 train, 2 validation, 2 test)." in text
    assert "same 4 volumes of the 2 test patients" in text and "What nnunet was trained on is not known here." in text
    assert "commit c0ffee, two cores; its settings are not those of the preset: " in text
    assert not (folder / "wall").exists()


@pytest.mark.parametrize("content", [None, "", "[1, 2]", '{"train": ["a"], "validation": ["a"], "test": ["b"]}'])
def test_a_report_reads_the_split(refused, tmp_path, content):
    """Else a misspelt name would look like a split that nobody has run."""
    if content is not None:
        (tmp_path / "split.json").write_text(content)
    assert "split.json: " in refused("--split", str(tmp_path / "split.json"), "--report-only", dataset="phantom")


def test_walls_have_a_table_of_their_own(script, run, finish, toys):
    """The wall that the label map of a method means, from the reference's base on, against the one that the reference means."""
    thickness = PROPAGATION.preparation.rv_wall_mm
    finish(script, "unet2d")

    def wall(labels):
        reference = from_array(labels, toy_hearts.SPACING_MM)
        return masks.wall_on(toys[1][0], reference, reference, thickness).array

    own = finish(script, "propagation", lambda labels: toy_hearts.without_apex(wall(labels)), structures={"1": "BV"})
    folder = run("--methods", "unet2d,propagation", "--report-only")
    rows = read_csv(folder / "wall" / "cases.csv")
    assert {row["structure"] for row in rows} == {"BV"}
    exact, short = ([row for row in rows if row["method"] == name] for name in ("2D U-Net (mod.)", "propagation"))
    assert [row["dice"] for row in exact] == [1] * 4 and all(0.5 < row["dice"] < 0.95 for row in short)
    assert {row["method"] for row in read_csv(folder / "cases.csv")} == {"2D U-Net (mod.)"}
    text = (folder / "wall" / "comparison.md").read_text()
    assert f"a ring of {thickness:g} mm outside the RV's cavity" in text and "BV, ED" in text
    before = (folder / "wall" / "tests.csv").read_bytes()
    write_csv(own / "cases.csv", [row for row in rows if row.pop("method") == "propagation"])  # a run is scored by the same rule
    shutil.rmtree(own / "predictions")
    run("--methods", "unet2d,propagation", "--report-only")
    assert (folder / "wall" / "tests.csv").read_bytes() == before


def test_small_files_of_runs_make_the_same_tables(script, run, finish, toys):
    """As in results/, where runs have no label maps: all numbers stay, but for those of slices; walls cannot be made."""
    finish(script, "fcn8")
    gone = finish(script, "unet2d", toy_hearts.shifted)
    folder = run("--methods", "fcn8,unet2d,propagation", "--report-only")
    kept = ("agreements", "ranks", "summaries", "tests")
    before = {name: (folder / f"{name}.csv").read_bytes() for name in kept}
    write_csv(gone / "cases.csv", [row for row in read_csv(folder / "cases.csv") if row.pop("method") == "2D U-Net (mod.)"])
    shutil.rmtree(gone / "predictions")
    shutil.rmtree(folder / "scores")
    assert run("--methods", "fcn8,unet2d,propagation", "--report-only") == folder
    assert {name: (folder / f"{name}.csv").read_bytes() for name in kept} == before
    assert {row["method"] for row in read_csv(folder / "slices.csv")} == {"FCN-8"}
    assert "\n2D U-Net (mod.): label maps are gone; the scores are those in cases.csv" in (folder / "comparison.md").read_text()
    wall = (folder / "wall" / "comparison.md").read_text()
    assert "| 2D U-Net (mod.) |" not in wall and "The label maps of 2D U-Net (mod.) are gone" in wall


@pytest.fixture
def trained(script, finish, monkeypatch):
    """The training commands that the script asked for; each finishes its run at once. Predictions are not measured."""
    asked = []
    for key, method in list(script.METHODS.items()):

        def main(arguments, key=key):
            asked.append(arguments)
            finish(script, key, toy_hearts.shifted, structures={"1": "BV"} if key == "propagation" else None)

        train = SimpleNamespace(METHOD=method.train.METHOD, main=main)
        predict = SimpleNamespace(__name__="net.predict", load=lambda folder: None)
        monkeypatch.setitem(script.METHODS, key, dataclasses.replace(method, train=train, predict=predict))
    monkeypatch.setattr(cost, "of_one", lambda module, folder, case: (1.5, 0.25))
    monkeypatch.setattr(cost, "parameters_of", lambda segmenter: 4321)
    monkeypatch.setattr(cost.provenance, "hardware", lambda: "two cores")
    return asked


def test_what_is_missing_is_run_once(script, run, trained, finish, capsys):
    finish(script, "fcn8")
    folder = run("--methods", "fcn8,unet2d,two_stage")
    experiments = [command[command.index("--experiment") + 1] for command in trained]
    assert experiments == ["unet2d_modified_wxent", "two_stage"]
    assert all(command[command.index("--split") + 1] == "common" and "quick" in command for command in trained)
    printed = capsys.readouterr().out
    assert "3 runs are compared, 2 of them missing: unet2d, two_stage" in printed
    assert "python -m two_stage_unet.train --dataset acdc --experiment two_stage --preset quick --split common" in printed
    rows = read_csv(folder / "methods.csv")
    assert [(row["parameters"], row["training_s"], row["prediction_s"]) for row in rows] == [(4321, 90, 1.5)] * 3
    run("--methods", "fcn8,unet2d,two_stage")
    assert len(trained) == 2 and sorted(read_json(folder / "cost.json")) == ["fcn8", "two_stage", "unet2d"]


def test_what_cannot_be_scored_is_refused_before_anything_is_trained(script, refused, trained, toys, finish, tmp_path):
    cases = [case for case in toys[1] if case.patient in ("patient005", "patient010")]
    toy_hearts.write_maps(tmp_path / "theirs", cases)
    path = tmp_path / "theirs" / "patient010_ES.nii.gz"
    labels = volume.read_labels(path)
    volume.write(from_array(labels.array[:, :-1], labels.spacing_mm), path)
    also = ("--also", f"nnunet={tmp_path / 'theirs'}")
    assert "patient010_ES.nii.gz: shape (14, 11, 8) differs" in refused(*also)
    path.unlink()
    assert "no prediction for 1 of 4 references, first patient010_ES" in refused(*also)
    folder = finish(script, "fcn8")
    write_json(folder / "run.json", read_json(folder / "run.json") | {"split": {"train": [], "validation": [], "test": []}})
    assert "other patients on the train side" in refused("--methods", "fcn8,unet2d")
    assert not trained and not list((tmp_path / "runs").rglob("comparison.md"))


@pytest.mark.parametrize(("arguments", "words"), [
    (["--methods", "fcn8,none"], "--methods none: expected all, or some of fcn8, unet2d,"),
    (["--methods", ""], "--methods : expected all"),
    (["--also", "nnunet"], "--also nnunet: expected NAME=FOLDER"),
    (["--also", "a b=x"], "expected NAME=FOLDER"),
    (["--also", "fcn8=x"], "--also fcn8: the name is taken"),
    (["--also", "net=x", "--also", "NET=y"], "--also NET: the name is taken"),
    (["--also", "net=absent"], "absent: no such folder"),
    (["--split", "absent.json"], "absent.json: cannot be read"),
])  # fmt: skip
def test_wrong_arguments_are_one_line(refused, arguments, words, tmp_path):
    assert words in refused(*arguments)
    assert not (tmp_path / "runs" / "comparison").exists()


def test_blanks_between_methods_do_not_matter(run):
    rows = read_csv(run("--methods", "fcn8, unet2d ,fcn8", "--report-only") / "methods.csv")
    assert [row["method"] for row in rows] == ["FCN-8", "2D U-Net (mod.)"]


def test_data_sets_and_methods_that_do_not_fit(refused):
    assert "--methods fcn8: expected all, or some of dr_unet" in refused("--methods", "fcn8", dataset="lasc")
    assert "no method is compared on it; expected acdc," in refused(dataset="stacom")


@pytest.mark.slow
def test_a_comparison_from_scans_to_tables(phantom_root, tmp_path, monkeypatch):
    """With a network that is trained, a prediction that is measured, and pictures that are drawn."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import compare_methods

    method = compare_methods.METHODS["unet2d"]
    tiny = {"width": 2, "image_shape": "36,36", "batch_size": 2, "steps": 2, "precision": "float32"}
    fields = [text for field, value in tiny.items() for text in ("--set", f"{field}={value}")]
    train = SimpleNamespace(METHOD=method.train.METHOD, main=lambda arguments: method.train.main([*arguments, *fields]))
    monkeypatch.setitem(compare_methods.METHODS, "unet2d", dataclasses.replace(method, train=train))
    places = ["--data-root", str(phantom_root), "--workdir", str(tmp_path)]
    compare_methods.main(["--dataset", "acdc", "--methods", "unet2d", "--preset", "quick", *places])
    folder = tmp_path / "comparison" / "acdc-quick-common"
    (row,) = read_csv(folder / "methods.csv")
    assert row["parameters"] > 1000 and row["prediction_s"] > 1 and 0.2 < row["memory_gib"] < 10 and row["hardware"]
    text = (folder / "comparison.md").read_text()
    changed = "width=2, image_shape=36,36, batch_size=2, steps=2, precision=float32"
    assert f"its settings are not those of the preset: {changed}" in text
    assert len(list((folder / "figures").glob("*.png"))) == 8  # one patient: no agreement
