"""A run from the phantom to its tables; what is learned and scored; runs that stop and go on."""

import dataclasses
import importlib

import numpy as np
import pytest

from dense_unet import basal, slicewise
from dense_unet import train as training_command
from dense_unet.recipe import RECIPES
from shared import datasets, runs
from shared.errors import InputError
from shared.files import read_csv
from shared.learning import prepared, training
from shared.recipes import replace
from shared.runs import read_record
from shared.scans import volume
from tests.dense_unet.rings import LV, MYO
from tests.experiments import penso

GIVEN = RECIPES["dense_half_wce"].preparation


@pytest.fixture(scope="session")
def open_cases(phantom_cases, tmp_path_factory):
    """The phantom with a basal slice whose wall is open over a third, and before it one that is open over more than half."""
    root, opened = tmp_path_factory.mktemp("open"), []
    for case in phantom_cases:
        labels = volume.read_labels(case.label)
        for place, share in ((0, 0.6), (1, 0.3)):
            z = basal_slices(labels)[place]
            middle = [np.mean(axis) for axis in np.nonzero(labels.array[..., z] == LV)]
            x, y = np.indices(labels.array.shape[:2])
            angle = np.arctan2(y - middle[1], x - middle[0]) / (2 * np.pi) % 1
            wall = labels.array[..., z] == MYO
            labels.array[..., z][wall & (angle < share)] = 0
        path = root / case.label.name
        volume.write(labels, path)
        opened.append(dataclasses.replace(case, label=path))
    return opened


def basal_slices(labels):
    """The slices with LV, from the base."""
    return np.flatnonzero((labels.array == LV).any(axis=(0, 1)))


def removed(case, least):
    """The places from the base of the slices with LV that are removed."""
    scan = datasets.load_image(case)
    reference = datasets.load_reference(case, scan)
    kept = slicewise.surroundings(case, scan, reference).kept(least)
    return np.flatnonzero(~kept[basal_slices(reference)]).tolist()


# A run ----------------------------------------------------------------------------------------------------------------------


def test_a_run_has_its_tables_and_pictures(finished, phantom_cases):
    record = read_record(finished, "result", "split", "structures")
    assert list(record["result"]) == ["segmenter"] and record["structures"] == {"3": "LV", "1": "RV", "2": "Myo"}
    test = [case.name for case in phantom_cases if case.patient in record["split"]["test"]]
    rows = read_csv(finished / "cases.csv")
    assert list(dict.fromkeys(row["case"] for row in rows)) == test and len(rows) == 6
    found = {path.name for path in (finished / "figures").iterdir()}
    assert found == {"best_median_worst.png", "learning_curve.png"}  # one patient has no limits of agreement
    assert {row["phase"] for row in read_csv(finished / "scores_slices.csv")} == {"ED", "ES"}
    assert [row["val_dice"] for row in read_csv(finished / "history.csv")] and len(read_csv(finished / "history.csv")) == 2
    assert "count: 0 of " in (finished / "summary.md").read_text()


def test_stopped_it_ends_with_the_same_bytes(finished, tiny, phantom_cases, tmp_path, monkeypatch):
    fitted, calls = training.Loop.learn, []

    def interrupted(self, step, inputs, targets):
        if step == 5 and not calls:
            calls.append(step)
            raise KeyboardInterrupt
        fitted(self, step, inputs, targets)

    monkeypatch.setattr(training.Loop, "learn", interrupted)
    monkeypatch.setattr(training, "CHECKPOINT_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        training_command.train(tiny(), phantom_cases, penso(tmp_path))
    folder = training_command.train(tiny(), phantom_cases, penso(tmp_path))
    for file in ("cases.csv", "scores_slices.csv", "history.csv"):
        assert (folder / file).read_bytes() == (finished / file).read_bytes()
    one, other = (read_record(each)["weights"] for each in (folder, finished))
    assert one == other


def test_it_learns_with_the_border_term_and_dice(tiny, phantom_cases, tmp_path):
    changes = {"class_weights": "unet_map", "dice_weight": 0.2, "width": 4, "epochs": 4, "learning_rate": 5e-3}
    folder = training_command.train(tiny(**changes), phantom_cases, penso(tmp_path))
    losses = [row["loss"] for row in read_csv(folder / "history.csv")]
    assert losses[-1] < 0.9 * losses[0]


# What counts ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("least", "places"), [(basal.HALF, [0]), (basal.CLOSED, [0, 1])])
def test_removed_slices_are_not_learned(least, places, open_cases):
    for case in open_cases:
        assert removed(case, least) == places
        channels = training_command.prepared(case, replace(GIVEN, surrounded=least))
        slices = datasets.load_image(case).array.shape[2]
        assert channels["image"].shape == channels["label"].shape == (176, 176, slices - len(places))


def test_removed_slices_are_not_scored(open_cases, tiny, tmp_path):
    recipe = tiny("dense_closed_wce", epochs=1)
    folder = training_command.train(recipe, open_cases, penso(tmp_path, "dense_closed_wce"))
    test = [case for case in open_cases if case.patient in read_record(folder)["split"]["test"]]
    for case in test:
        scan = datasets.load_image(case)
        reference = datasets.load_reference(case, scan)
        at_base = basal_slices(reference)
        kept = np.delete(np.arange(scan.array.shape[2]), at_base[:2])
        counted = np.count_nonzero(reference.array[..., kept] == LV) * scan.voxel_ml
        (row,) = [row for row in read_csv(folder / "cases.csv") if (row["case"], row["structure"]) == (case.name, "LV")]
        assert row["reference_ml"] == pytest.approx(counted)
        predicted = volume.read_labels(folder / "predictions" / f"{case.name}.nii.gz").array
        assert row["volume_ml"] == pytest.approx(np.count_nonzero(predicted[..., kept] == LV) * scan.voxel_ml)
        basal_row = [row for row in read_csv(folder / "scores_basal.csv") if row["case"].startswith(case.name)][0]
        assert basal_row["slice"] == at_base[2]
    summary = (folder / "summary.md").read_text()
    assert "closed around the LV count: 4 of " in summary and "(ED 2, ES 2)" in summary
    rows = read_csv(folder / "slices.csv")
    assert sum(row["kept_by_a"] == 0 for row in rows) == 2 and sum(row["kept_by_b"] == 0 for row in rows) == 4


def test_one_phase_and_structures_without_lv_are_trained_and_scored(tiny, phantom_cases, tmp_path):
    """No slice has LV then, so all are kept and there is no base."""
    cases = [case for case in phantom_cases if case.phase == "ED"]
    recipe = tiny("plain_half_wce", epochs=1, structures=("RV",))
    folder = training_command.train(recipe, cases, penso(tmp_path, "plain_half_wce"))
    assert [(row["phase"], row["structure"]) for row in read_csv(folder / "cases.csv")] == [("ED", "RV")]
    assert runs.is_done(folder)


@pytest.mark.parametrize("value", [MYO, None])
def test_a_reference_without_lv_is_learned_whole(value, phantom_cases, tmp_path):
    case = phantom_cases[0]
    labels = volume.read_labels(case.label)
    labels.array[labels.array != (value or 0)] = 0
    volume.write(labels, tmp_path / "labels.nii.gz")
    channels = training_command.prepared(dataclasses.replace(case, label=tmp_path / "labels.nii.gz"), GIVEN)
    assert channels["label"].shape[2] == labels.array.shape[2]
    assert set(np.unique(channels["label"])) == ({0, 3} if value else {0})


# Split, validation ----------------------------------------------------------------------------------------------------------


def test_patients_of_the_split(phantom_cases):
    split = training_command.METHOD.split(RECIPES["dense_half_wce"], phantom_cases, 0)
    assert [len(split.of(phantom_cases, side)) for side in ("train", "validation", "test")] == [6, 2, 2]  # ED and ES together


def test_validation_is_the_mean_over_volumes(tmp_path):
    """Of two volumes, one is found and the other half: Dice 1, and 2 * 4 / (4 + 8)."""
    labels = np.zeros((16, 16, 3), np.uint8)
    labels[:4, 0, 0] = 1
    whole = prepared.store(tmp_path, "whole", lambda: {"image": labels[..., :1] / 4, "label": labels[..., :1]})
    more = np.concatenate([labels, labels[..., :1]], axis=2)
    more[:4, 1, 1], more[8, 8, 2] = 1, datasets.IGNORED
    images = np.where(more == datasets.IGNORED, 1, labels[..., [0, 1, 2, 1]] / 4)
    half = prepared.store(tmp_path, "half", lambda: {"image": images, "label": more})

    class Sees:
        def predict_on_batch(self, images):
            return np.concatenate([np.full_like(images, 0.1), images], axis=-1)

    found = training_command.validate(Sees(), [whole, half], 3)
    # the second volume has slices with 4, 4, 0 and 4 pixels of class 1, of which those of the first slice are found
    assert found == {"val_dice": pytest.approx((1 + 2 * 4 / (4 + 12)) / 2)}


def test_some_volumes_are_spread_over_all():
    paths = list(range(30))
    assert training_command.spread(paths, 3) == [5, 15, 25] and training_command.spread(paths, 99) == paths


# Commands -------------------------------------------------------------------------------------------------------------------


def test_tables_of_the_script(finished, tmp_path, monkeypatch, capsys):
    script = importlib.import_module("scripts.reproduce_table")
    for experiment in ("dense_half_wce", "dense_closed_wce"):
        folder = penso(tmp_path, experiment).folder
        folder.parent.mkdir(parents=True)
        folder.symlink_to(finished)
    for number in (1, 2, 3):
        script.main(["penso2020", str(number), "--report-only", "--workdir", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "only quoted" in printed and "slice by slice, in 2D" in printed and "in the most basal slice" in printed
    rows = {(row["row"], row["measure"]): row for row in read_csv(tmp_path / "tables/penso2020_table2.csv")}
    basal_rows = [row["dice"] for row in read_csv(finished / "scores_basal.csv") if row["structure"] == "LV"]
    ours = rows["A (at least 50 %), FCN", "LV Dice"]
    assert (ours["n"], ours["paper"]) == (2, 0.909) and ours["ours"].startswith(f"{np.mean(basal_rows):.3f} (")
    third = (tmp_path / "tables/penso2020_table3.md").read_text()
    assert "| LV ED volume bias [2 sigma] (ml) |" in third and "| -1.00 [-13.00; 11.00] |" in third
    assert "limits at 2 sample std" in third and "Not with the settings of the preset: dense_half_wce on acdc, fold 0: " in third
    assert (tmp_path / "tables/penso2020_table1_slices.csv").exists()


def test_an_unknown_fold_is_refused(phantom_root, tmp_path, capsys):
    with pytest.raises(SystemExit):
        training_command.main(["--dataset", "acdc", "--data-root", str(phantom_root), "--fold", "1", "--workdir", str(tmp_path)])
    assert "--fold 1: expected 0 to 0" in capsys.readouterr().err


def test_too_few_patients_are_refused(phantom_cases, tiny, tmp_path):
    with pytest.raises(InputError, match="no patient left on the train side"):
        training_command.train(tiny(), phantom_cases[:4], penso(tmp_path))
