"""A run says everything, goes on where it was killed, and refuses what it cannot do."""

import json
import math

import numpy as np
import pytest

from propagation import along_axis
from propagation import train as training_command
from shared import datasets, phantom
from shared.datasets import splits
from shared.errors import InputError
from shared.files import read_csv
from shared.scans import volume

RESULTS = ("best.weights.h5", "history.csv", "initialization/best.weights.h5", "initialization/history.csv", "cases.csv",
           "cases_resampled.csv", "cases_without_propagation.csv", "slices.csv", "bases.csv")  # fmt: skip


def test_a_run_says_everything(finished, phantom_cases):
    record = json.loads((finished / "run.json").read_text())
    assert (len(record["split"]["train"]), len(record["split"]["test"])) == (4, 1)
    assert record["structures"] == {"1": "BV"}
    for stage, steps in (("initialization", 4), ("propagation", 4)):
        assert (record["result"][stage]["steps"], record["result"][stage]["best_step"]) == (steps, steps)  # the last weights
    by_name = {case.name: case for case in phantom_cases}
    rows = read_csv(finished / "cases.csv")
    assert [row["phase"] for row in rows] == ["ED", "ES"] and {row["case"] for row in rows} <= by_name.keys()
    for row in rows:
        case = by_name[row["case"]]
        scan = volume.read(case.image)
        predicted = volume.read_labels(finished / "predictions" / f"{case.name}.nii.gz").array
        reference = training_command.on_disk(case, scan, training_recipe(finished)).array
        assert predicted.shape == scan.array.shape
        assert row["reference_ml"] > 0 and set(np.unique(reference)) == {0, 1}
        together, both = np.count_nonzero(predicted & reference), np.count_nonzero(predicted) + np.count_nonzero(reference)
        assert row["dice"] == pytest.approx(2 * together / both)
    summary = (finished / "summary.md").read_text()
    for words in ("| with propagation |", "| without |", "| reference |", "The base is the reference's.", "s a volume."):
        assert words in summary
    for name in ("along_axis.png", "long_axis.png", "best_median_worst.png", "learning_curve.png"):
        assert (finished / "figures" / name).stat().st_size > 0


def training_recipe(folder):
    from propagation.recipe import Recipe
    from shared import runs

    return runs.load_recipe(folder, Recipe)[0]


def test_killed_anywhere_it_ends_with_the_same_bytes(finished, tiny, phantom_cases, tmp_path, monkeypatch):
    from shared.learning import checkpoints, training

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
            training_command.train(tiny(), phantom_cases, tmp_path, dataset="acdc", command="train")
    folder = training_command.train(tiny(), phantom_cases, tmp_path, dataset="acdc", command="train")
    for name in RESULTS:
        assert (folder / name).read_bytes() == (finished / name).read_bytes(), name
    modified = (folder / "best.weights.h5").stat().st_mtime_ns
    assert training_command.train(tiny(), phantom_cases, tmp_path, dataset="acdc") == folder
    assert (folder / "best.weights.h5").stat().st_mtime_ns == modified


def test_the_initialization_network_alone(finished, tiny, phantom_cases, tmp_path):
    folder = training_command.train(tiny("initialization"), phantom_cases, tmp_path, dataset="acdc", experiment="initialization")
    assert (folder / "best.weights.h5").read_bytes() == (finished / "initialization/best.weights.h5").read_bytes()
    assert "| with propagation |" not in (folder / "summary.md").read_text()
    alone, ablation = read_csv(folder / "cases_resampled.csv"), read_csv(finished / "cases_without_propagation.csv")
    assert [row["dice"] for row in alone] == [row["dice"] for row in ablation]


def test_stacom_volunteers(tiny, tmp_path):
    root = phantom.write_stacom(tmp_path / "stacom", patients=5, seed=1, frames=2)
    recipe = tiny(size=96, spacing_mm=1.5, initialization_steps=2, propagation_steps=2)
    folder = training_command.train(recipe, datasets.find("stacom", root), tmp_path, dataset="stacom")
    (row,) = read_csv(folder / "cases.csv")
    assert (row["phase"], row["structure"]) == ("ED", "BV") and row["reference_ml"] > 20


def test_five_folds_of_three_volunteers():
    cases = [
        datasets.Case(patient=f"v{n}", phase="ED", image=None, label=None, group="", structures={1: "BV"}) for n in range(15)
    ]
    held_out = [splits.k_fold(cases, 5, fold, 0).test for fold in range(5)]
    assert [len(part) for part in held_out] == [3] * 5 and len(set().union(*held_out)) == 15


# Prepared cases -------------------------------------------------------------------------------------------------------------


def test_prepared_cases_begin_at_the_base_and_keep_the_cavity(tiny, phantom_cases, tmp_path):
    recipe = tiny(size=48, spacing_mm=2.5)
    case = phantom_cases[0]
    path = training_command.store(recipe, [case], {case.name: "x"}, tmp_path)[case.name]
    label = np.load(path)["label"]
    wall, cavity = (label == value for value in (1, 2))
    labelled = training_command.masks.load(case, recipe.rv_wall_mm)
    ml = np.prod(labelled.scan.spacing_mm) / 1000
    # the voxels' volume is the reference's, but for half a slice of the base that linear interpolation cannot see
    slice_ml = (labelled.classes.array[..., labelled.base] > 0).sum() * ml
    assert 0.93 < (label > 0).sum() * 2.5**3 / 1000 / ((labelled.classes.array > 0).sum() * ml - slice_ml / 2) < 1.07
    assert wall.any() and cavity.any()
    middle = [np.mean(np.nonzero(wall)[axis]) for axis in (0, 1)]
    assert np.abs(np.array(middle) - 23.5).max() < 2  # the heart is in the middle of its square


# The comparison -------------------------------------------------------------------------------------------------------------


def compared(found):
    reference = np.zeros((6, 6, 8), np.uint8)
    reference[1:5, 1:5, 2:6] = 1
    make = volume.from_array
    case = datasets.Case(patient="a", phase="ED", image=None, label=None, group="", structures={})
    return along_axis.Compared(case, make(reference), make(reference), {name: make(mask) for name, mask in found.items()},
                               make(reference), 2, 3, 1.0)  # fmt: skip


def test_dice_slice_by_slice():
    half = np.zeros((6, 6, 8), np.uint8)
    half[1:5, 1:3, 2:4] = 1  # half of the wall in slices 2 and 3, nothing in 4 and 5
    rows = along_axis.slice_rows(compared({"without": half}))
    assert [row["slice"] for row in rows] == [0, 1, 2, 3] and [row["position"] for row in rows] == pytest.approx(
        [0, 1 / 3, 2 / 3, 1]
    )
    assert [row["dice"] for row in rows] == pytest.approx([2 / 3, 2 / 3, 0, 0])
    assert [row["next_slice_dice"] for row in rows][:2] == [1, 0]
    assert all(math.isnan(row["next_slice_dice"]) for row in rows[2:])  # nothing there, and the last has no next
    assert [row["reference_next_slice_dice"] for row in rows[:3]] == [1, 1, 1]
    lines = along_axis.method_lines(rows)
    assert "| without | 0.333 | 0.000 | 2 of 4 | 0.500 |" in lines and "| reference | | | | 1.000 |" in lines


def test_the_first_method_is_the_runs_own():
    masks = {"with propagation": np.ones((6, 6, 8), np.uint8), "without": np.zeros((6, 6, 8), np.uint8)}
    assert compared(masks).own.array.all() and not compared({"without": masks["without"]}).own.array.any()


def test_how_far_the_found_base_is_off():
    bases = [{"reference": 8, "automatic": automatic, "slice_mm": 1.25} for automatic in (8, 10, 0, 16)]
    line = along_axis.base_line(bases)
    assert "5.6 mm off on average (median 6.2 mm), within 5 mm in 2 and within 10 mm in 4 of 4 scans" in line


# Bad input ------------------------------------------------------------------------------------------------------------------


def test_a_reference_without_a_heart_is_named(tiny, phantom_cases, tmp_path):
    broken = []
    for case in phantom_cases:
        labels = volume.read_labels(case.label)
        path = tmp_path / f"{case.name}.nii.gz"
        volume.write(labels.with_array(labels.array * (case.name != "patient003_ED")), path)
        broken.append(datasets.Case(**{**vars(case), "label": path}))
    with pytest.raises(InputError, match="patient003_ED.nii.gz: no LV cavity"):
        training_command.train(tiny(), broken, tmp_path / "runs", dataset="acdc")


def test_the_command_ends_in_one_line(phantom_root, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        training_command.main(["--dataset", "acdc", "--data-root", str(phantom_root), "--workdir", str(tmp_path), "--fold", "5"])
    assert ended.value.code == 2 and capsys.readouterr().err == "error: --fold 5: expected 0 to 4\n"
