"""Two steps on the phantom, then predict, then one row of a table; reruns and resumption through the command."""

import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import replace

import keras
import numpy as np
import pytest

from acdc_segmenter_tf import predict as prediction
from acdc_segmenter_tf import train as training_command
from acdc_segmenter_tf.recipe import UNET2D_MODIFIED
from shared.datasets import IGNORED
from shared.errors import InputError
from shared.files import read_csv
from shared.learning.batches import Batches
from shared.learning.examples import Slices
from shared.learning.prepared import store
from shared.scans import volume
from tests.experiments import baumgartner, open_run

TINY_SETS = ["--set", "width=2", "--set", "image_shape=36,36", "--set", "batch_size=2", "--set", "precision=float32",
             "--set", "steps=12", "--set", "validate_every=3"]  # fmt: skip


@pytest.mark.parametrize("experiment", ["unet2d_modified_wxent", "unet2d_modified_dice", "fcn8_wxent", "unet3d_modified_wxent"])
def test_two_steps_then_predict_then_rows(tiny, phantom_cases, tmp_path, experiment):
    recipe = tiny(experiment, steps=2, batch_size=1 if "3d" in experiment else 2)
    folder = training_command.train(recipe, phantom_cases, baumgartner(tmp_path, experiment))
    rows = read_csv(folder / "cases.csv")
    assert [(row["case"], row["structure"]) for row in rows] == [
        (f"patient005_{phase}", structure) for phase in ("ED", "ES") for structure in ("RV", "Myo", "LV")
    ]
    assert all(0 <= row["dice"] <= 1 and row["reference_ml"] > 0 for row in rows)
    for case in phantom_cases[-2:]:
        predicted, scan = volume.read(folder / "predictions" / f"{case.name}.nii.gz"), volume.read(case.image)
        assert predicted.array.shape == scan.array.shape and set(np.unique(predicted.array)) <= {0, 1, 2, 3}
        np.testing.assert_allclose(predicted.affine, scan.affine, atol=1e-4)
    record = json.loads((folder / "run.json").read_text())
    assert record["split"]["validation"] == ["patient005"] and len(record["split"]["train"]) == 4
    assert record["recipe"]["network"] == recipe.network and record["result"]["segmenter"]["best_step"] == 2
    for name in ("best.weights.h5", "summary.md", "figures/best_median_worst.png", "figures/learning_curve.png"):
        assert (folder / name).stat().st_size > 0


def test_training_reduces_the_loss_on_the_phantom(tiny, phantom_cases, tmp_path):
    recipe = tiny(width=8, image_shape=(52, 52), batch_size=4, steps=160, validate_every=40, warmup_steps=0)
    folder = training_command.train(recipe, phantom_cases, baumgartner(tmp_path))
    losses = [row["loss"] for row in read_csv(folder / "history.csv")]
    assert losses[-1] < 0.7 * losses[0]


def command(root, workdir, *more):
    return [sys.executable, "-W", "ignore", "-m", "acdc_segmenter_tf.train", "--dataset", "acdc", "--data-root", str(root),
            "--preset", "quick", "--workdir", str(workdir), *TINY_SETS, *more]  # fmt: skip


def test_the_command_killed_and_run_again_gives_the_same_bytes(phantom_root, tmp_path, capsys):
    folder = "acdc_segmenter_tf/unet2d_modified_wxent-quick/acdc/fold0"
    subprocess.run(command(phantom_root, tmp_path / "a"), check=True, capture_output=True)
    often = "from shared.learning import training; training.CHECKPOINT_S = 0.0; from acdc_segmenter_tf.train import main; main()"
    first = command(phantom_root, tmp_path / "b")
    first[first.index("-m") : first.index("-m") + 2] = ["-c", often]
    killed = subprocess.Popen(first, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while killed.poll() is None and not (tmp_path / "b" / folder / "checkpoint.npz").exists():
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    resumed = subprocess.run(command(phantom_root, tmp_path / "b"), check=True, capture_output=True, text=True)
    assert "going on from step" in resumed.stdout
    compared = [
        "best.weights.h5",
        "history.csv",
        "cases.csv",
        *(f"predictions/patient005_{phase}.nii.gz" for phase in ("ED", "ES")),
    ]
    for name in compared:
        assert (tmp_path / "a" / folder / name).read_bytes() == (tmp_path / "b" / folder / name).read_bytes(), name
    arguments = command(phantom_root, tmp_path / "b")
    arguments = arguments[arguments.index("--dataset") :]
    training_command.main(arguments)
    assert capsys.readouterr().out.startswith("done: ")
    with pytest.raises(SystemExit) as ended:
        training_command.main([*arguments, "--seed", "1"])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and "another seed" in error and len(error.splitlines()) == 1


def test_all_folds_are_run_and_pooled(phantom_root, tmp_path, capsys):
    shorter = ["--set", "steps=1", "--set", "validation_modulus=2", "--fold", "all"]
    arguments = command(phantom_root, tmp_path, *shorter)
    training_command.main(arguments[arguments.index("--dataset") :])
    target = tmp_path / "acdc_segmenter_tf/unet2d_modified_wxent-quick/acdc"
    assert capsys.readouterr().out.splitlines()[-2] == f"pooled 2 folds: {target / 'summary.md'}"
    rows = read_csv(target / "cases.csv")
    assert list(rows[0])[:2] == ["fold", "case"]
    assert [(row["fold"], row["patient"]) for row in rows[::6]] == [
        (0, "patient002"), (0, "patient004"), (1, "patient001"), (1, "patient003"), (1, "patient005"),
    ]  # fmt: skip
    assert [{**row} for row in rows[:12]] == [{"fold": 0, **row} for row in read_csv(target / "fold0" / "cases.csv")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset", "lasc"], "no lasc data in "),
        (["--dataset", "acdc", "--data-root", "/nowhere"], "no such folder"),
        (["--dataset", "lasc", "--data-root", "{root}"], "no LASC scans"),
        (["--dataset", "acdc", "--data-root", "{root}", "--set", "widht=3"], "--set widht=3"),
        (["--dataset", "acdc", "--data-root", "{root}", "--set", "width=wide"], "width: expected a whole number from 1"),
        (["--dataset", "acdc", "--data-root", "{root}", "--set", "image_shape=211,211"], "(16n + 4) x (16n + 4)"),
        (["--dataset", "acdc", "--data-root", "{root}", "--set", "loss=hinge"], "hinge"),
        (["--dataset", "acdc", "--data-root", "{root}", "--set", "structures=LA"], "no label for LA"),
        (["--dataset", "acdc", "--data-root", "{root}", "--fold", "5"], "expected 0 to 4"),
        (["--dataset", "acdc", "--data-root", "{root}", "--fold", "all", "--set", "validation_modulus=9"], "no more than "),
        (["--dataset", "acdc", "--data-root", "{root}", "--fold", "x"], "--fold: expected a whole number from 0"),
        (["--dataset", "acdc", "--data-root", "{root}", "--fold", "1.5"], "10000 or all, found '1.5'"),
        (["--dataset", "acdc", "--data-root", "{root}", "--fold", "3", "--set", "batch_size=1000"], "fewer than one batch"),
        (["--dataset", "acdc", "--data-root", "{root}", "--experiment", "unet3d_wxent", "--set", "flip=true"], "only 2D"),
    ],
)  # fmt: skip
def test_bad_arguments_end_in_one_line_and_status_2(arguments, words, phantom_root, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("CARDIAC_DATA", raising=False)
    arguments = [argument.format(root=phantom_root) for argument in arguments]
    with pytest.raises(SystemExit) as ended:
        training_command.main([*arguments, "--workdir", str(tmp_path)])
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert words in captured.err and len(captured.err.splitlines()) == 1


def rates(recipe, steps):
    optimizer, found = training_command.optimizer(recipe), []
    for step in steps:
        optimizer.iterations.assign(step)
        found.append(float(keras.ops.convert_to_numpy(optimizer.learning_rate)))
    return found


def test_what_augmentation_draws_says_nothing_about_the_example(tiny, tmp_path):
    """A thousand examples as training draws them: which slice it is, its angle, its crop, its mirroring."""
    image = np.broadcast_to(np.arange(50, dtype=np.float32), (4, 4, 50))
    examples = Slices([store(tmp_path, "numbered", lambda: {"image": image, "label": 0 * image})])
    draw = training_command.augmentation(tiny(image_shape=(36, 36), rotation_deg=180.0, scale_crop_px=10, flip=True))
    batches = Batches(examples, 10, 0, draw)
    images, _, parameters = (np.concatenate(parts) for parts in zip(*(batches[step] for step in range(100)), strict=True))
    yy, yx, offset_y, xy, xx, offset_x = parameters.T[:6]
    drawn = [images[:, 0, 0, 0], np.arctan2(xy, xx), np.hypot(xy, xx), np.sign(xx * yy - xy * yx), offset_x]
    assert all(np.ptp(each) > 0 for each in drawn)
    assert np.abs(np.corrcoef(drawn)[0, 1:]).max() < 0.13  # four standard deviations of 1000 independent pairs


def test_schedule_is_the_authors():
    found = rates(UNET2D_MODIFIED, (0, 49, 50, 1000, UNET2D_MODIFIED.steps))
    np.testing.assert_allclose(found, [0.001, 0.001, 0.01, 0.01, 0.01], rtol=1e-6)


def test_quick_schedule_falls_to_its_end(tiny):
    falling = 1e-4 + (0.01 - 1e-4) * (1 + math.cos(math.pi * 0.75)) / 2
    np.testing.assert_allclose(rates(tiny(steps=100), (75, 100)), [falling, 1e-4], rtol=1e-4)


def test_optimizer_is_the_recipes():
    optimizer = training_command.optimizer(UNET2D_MODIFIED)
    assert isinstance(optimizer, keras.optimizers.Adam) and not optimizer.weight_decay
    assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.9, 0.999, 1e-8)


def test_selection_dice_counts_a_class_absent_in_both_as_zero():
    labels = np.array([[[0, 1], [2, 3]], [[0, 0], [0, 1]]])
    predicted = np.array([[[0, 1], [2, 3]], [[0, 0], [1, 1]]])
    np.testing.assert_allclose(training_command.selection_dice(labels, predicted, 4), [1.0, (2 / 3) / 3])


def test_selection_dice_leaves_ignored_pixels_out():
    labels = np.array([[[0, 1], [IGNORED, IGNORED]]])
    predicted = np.array([[[0, 1], [1, 2]]])
    np.testing.assert_allclose(training_command.selection_dice(labels, predicted, 3), [0.5])  # of class 2 there is nothing


def test_a_case_annotated_in_part_trains_and_scores_there_alone(tiny, phantom_cases, tmp_path):
    """The network sees the same heart, and half of it, of label 7, counts nowhere."""
    cases = []
    for case in phantom_cases:
        reference = volume.read(case.label)
        partly = reference.array.copy()
        partly[partly.shape[0] // 2 :] = 7
        volume.write(reference.with_array(partly), tmp_path / f"{case.name}.nii.gz")
        cases.append(replace(case, label=tmp_path / f"{case.name}.nii.gz", ignore=7))
    folder = training_command.train(tiny(steps=2), cases, baumgartner(tmp_path / "runs"))
    assert json.loads((folder / "run.json").read_text())["ignore"] == 7
    rows = {(row["case"], row["structure"]): row for row in read_csv(folder / "cases.csv")}
    for case in cases[-2:]:
        labels, predicted = volume.read(case.label), volume.read(folder / "predictions" / f"{case.name}.nii.gz")
        for value, name in case.structures.items():
            row = rows[case.name, name]
            found = (predicted.array == value) & (labels.array != 7)
            assert row["reference_ml"] == pytest.approx((labels.array == value).sum() * labels.voxel_ml)
            assert row["volume_ml"] == pytest.approx(found.sum() * labels.voxel_ml)
            both = found.sum() + (labels.array == value).sum()
            assert row["dice"] == pytest.approx(2 * (found & (labels.array == value)).sum() / both)


def test_image_and_label_of_different_grids_are_refused(tiny, phantom_cases, tmp_path):
    scan = volume.read(phantom_cases[0].image)
    volume.write(scan.with_array(np.zeros(scan.array.shape, np.uint8)[:-1]), tmp_path / "label.nii.gz")
    broken = [replace(phantom_cases[0], label=tmp_path / "label.nii.gz"), *phantom_cases[1:]]
    with pytest.raises(InputError, match="label.nii.gz: shape"):
        training_command.train(tiny(), broken, baumgartner(tmp_path / "runs"))


def test_labels_of_another_meaning_are_prepared_again(tiny, phantom_cases, tmp_path):
    """The files are the same and what their values are called has changed, as in a corrected dataset.json."""
    case, preparation = phantom_cases[0], tiny().preparation
    renamed = replace(case, structures={1: "LV", 2: "Myo", 3: "RV"})

    def label(case):
        run = open_run(baumgartner(tmp_path), [case])
        (path,) = run.prepared("train", preparation, lambda case: training_command.prepared(case, preparation))
        return np.load(path)["label"]

    np.testing.assert_array_equal(label(renamed), np.array([0, 3, 2, 1])[label(case)])
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_case_without_foreground_trains_and_scores(tiny, phantom_cases, tmp_path):
    cases = []
    for case in phantom_cases:
        label = case.label
        if case.phase == "ES":
            label = tmp_path / f"{case.name}.nii.gz"
            reference = volume.read(case.label)
            volume.write(reference.with_array(np.zeros_like(reference.array)), label)
        cases.append(replace(case, label=label))
    folder = training_command.train(tiny(steps=2), cases, baumgartner(tmp_path / "runs"))
    empty = [row for row in read_csv(folder / "cases.csv") if row["phase"] == "ES"]
    for row in empty:  # nothing found where nothing is: Dice 1, distance 0; something found: Dice 0, distance undefined
        assert (
            (row["dice"], row["assd_mm"]) == (1, 0) if row["volume_ml"] == 0 else row["dice"] == 0 and math.isnan(row["assd_mm"])
        )


def test_loading_a_run_that_is_not_one(tmp_path):
    with pytest.raises(InputError, match="no checkpoint there|not a run of this package .no such file"):
        prediction.load(tmp_path)
    for content in ("{}", "[]", "no run", '{"recipe": []}', '{"recipe": {"width": 3}, "structures": {}}'):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(InputError, match="run.json: not a run of this package"):
            prediction.load(tmp_path)
