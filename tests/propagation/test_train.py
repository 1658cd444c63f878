"""A run says everything, goes on where it was killed, and refuses what it cannot do."""

import json

import numpy as np
import pytest

from propagation import along_axis, masks
from propagation import train as training_command
from shared import datasets, phantom
from shared.datasets import splits
from shared.errors import InputError
from shared.files import read_csv
from shared.held_out import RESAMPLED
from shared.learning import checkpoints, training
from shared.scans import volume
from tests.experiments import open_run, zheng

RESULTS = ("best.weights.h5", "history.csv", "initialization/best.weights.h5", "initialization/history.csv", "cases.csv",
           "cases_resampled.csv", "cases_without_propagation.csv", "slices.csv", "bases.csv")  # fmt: skip


def test_a_run_says_everything(finished, phantom_cases):
    record = json.loads((finished / "run.json").read_text())
    assert (len(record["split"]["train"]), len(record["split"]["test"])) == (4, 1)
    assert record["structures"] == {"1": "BV"}
    for stage, steps in (("initialization", 4), ("propagation", 4)):
        assert (record["result"][stage]["steps"], record["result"][stage]["best_step"]) == (steps, steps)  # the last weights
    by_name, rv_wall_mm = {case.name: case for case in phantom_cases}, record["recipe"]["rv_wall_mm"]
    rows = read_csv(finished / "cases.csv")
    assert [row["phase"] for row in rows] == ["ED", "ES"] and {row["case"] for row in rows} <= by_name.keys()
    for row in rows:
        case = by_name[row["case"]]
        scan = datasets.load_image(case)
        predicted = volume.read_labels(finished / "predictions" / f"{case.name}.nii.gz").array
        reference = masks.wall_on(case, scan, datasets.load_reference(case, scan), rv_wall_mm).array
        assert predicted.shape == scan.array.shape
        assert row["reference_ml"] > 0 and set(np.unique(reference)) == {0, 1}
        together, both = np.count_nonzero(predicted & reference), np.count_nonzero(predicted) + np.count_nonzero(reference)
        assert row["dice"] == pytest.approx(2 * together / both)
    summary = (finished / "summary.md").read_text()
    for words in ("| with propagation |", "| without |", "| reference |", "The base is the reference's.", "s per volume."):
        assert words in summary
    for name in ("along_axis.png", "long_axis.png", "best_median_worst.png", "learning_curve.png"):
        assert (finished / "figures" / name).stat().st_size > 0


def test_scoring_reads_no_file_again(finished, tiny, phantom_cases, monkeypatch):
    experiment, case = zheng(finished.parents[3]), phantom_cases[0]
    scan = datasets.load_image(case)
    reference = datasets.load_reference(case, scan)
    scorer = training_command.scorer(tiny(), open_run(experiment, phantom_cases))
    for name in ("read", "read_grey", "read_labels"):
        monkeypatch.setattr(volume, name, None)
    native, further = scorer.predict(case, scan, reference)
    assert native.array.shape == scorer.reference(case, scan, reference).array.shape == scan.array.shape
    assert further.keys() == {RESAMPLED, along_axis.ALONE}


def test_killed_anywhere_it_ends_with_the_same_bytes(finished, tiny, phantom_cases, tmp_path, monkeypatch):
    saves = []
    save = checkpoints.save

    def killed(*arguments):
        save(*arguments)
        saves.append(1)
        if len(saves) in (1, 3):
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save", killed)
    monkeypatch.setattr(training, "CHECKPOINT_S", 0.0)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            training_command.train(tiny(), phantom_cases, zheng(tmp_path, command="train"))
    folder = training_command.train(tiny(), phantom_cases, zheng(tmp_path, command="train"))
    for name in RESULTS:
        assert (folder / name).read_bytes() == (finished / name).read_bytes(), name
    modified = (folder / "best.weights.h5").stat().st_mtime_ns
    assert training_command.train(tiny(), phantom_cases, zheng(tmp_path)) == folder
    assert (folder / "best.weights.h5").stat().st_mtime_ns == modified


def test_the_initialization_network_alone(finished, tiny, phantom_cases, tmp_path):
    folder = training_command.train(tiny("initialization"), phantom_cases, zheng(tmp_path, "initialization"))
    assert (folder / "best.weights.h5").read_bytes() == (finished / "initialization/best.weights.h5").read_bytes()
    assert "| with propagation |" not in (folder / "summary.md").read_text()
    alone, ablation = read_csv(folder / "cases_resampled.csv"), read_csv(finished / "cases_without_propagation.csv")
    assert [row["dice"] for row in alone] == [row["dice"] for row in ablation]


def test_stacom_volunteers(tiny, tmp_path):
    root = phantom.write_stacom(tmp_path / "stacom", patients=5, seed=1, frames=2)
    recipe = tiny(size=96, spacing_mm=1.5, initialization_steps=2, propagation_steps=2)
    folder = training_command.train(recipe, datasets.find("stacom", root), zheng(tmp_path, dataset="stacom"))
    (row,) = read_csv(folder / "cases.csv")
    assert (row["phase"], row["structure"]) == ("ED", "BV") and row["reference_ml"] > 20


def test_five_folds_of_three_volunteers():
    cases = [
        datasets.Case(patient=f"v{n}", phase="ED", image=None, label=None, group="", structures={1: "BV"}) for n in range(15)
    ]
    held_out = [splits.k_fold(cases, 5, fold, 0).test for fold in range(5)]
    assert [len(part) for part in held_out] == [3] * 5 and len(set().union(*held_out)) == 15


# Bad input ------------------------------------------------------------------------------------------------------------------


def test_a_reference_without_a_heart_is_named(tiny, phantom_cases, tmp_path):
    broken = []
    for case in phantom_cases:
        labels = volume.read_labels(case.label)
        path = tmp_path / f"{case.name}.nii.gz"
        volume.write(labels.with_array(labels.array * (case.name != "patient003_ED")), path)
        broken.append(datasets.Case(**{**vars(case), "label": path}))
    with pytest.raises(InputError, match="patient003_ED.nii.gz: no LV cavity"):
        training_command.train(tiny(), broken, zheng(tmp_path / "runs"))


def test_the_command_ends_in_one_line(phantom_root, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        training_command.main(["--dataset", "acdc", "--data-root", str(phantom_root), "--workdir", str(tmp_path), "--fold", "5"])
    assert ended.value.code == 2 and capsys.readouterr().err == "error: --fold 5: expected 0 to 4\n"
