"""Every method trains, predicts and scores; killed and rerun to the same bytes; localisers are lent where they fit."""

import json
import math
import shutil
import sys
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from dr_unet import predict as prediction
from dr_unet import train as training_command
from dr_unet.gcam import Region
from dr_unet.recipe import PUBLISHED
from shared import datasets, ensembles, held_out
from shared.errors import InputError
from shared.files import read_csv, write_csv, write_text
from shared.learning import augment, checkpoints, training
from shared.learning.batches import Batches
from shared.learning.examples import Volumes
from shared.learning.prepared import store
from shared.scans import preprocess, volume
from shared.scans.volume import from_array
from shared.scoring import plots
from tests.dr_unet.commands import refused, settings
from tests.experiments import open_run, vesal

ROOT = Path(__file__).parents[2]
RESULTS = ("best.weights.h5", "history.csv", "localiser/best.weights.h5", "localiser/history.csv", "regions.csv", "cases.csv",
           "cases_resampled.csv")  # fmt: skip


# Voxels that nobody annotated -----------------------------------------------------------------------------------------------


def test_validation_dice_leaves_ignored_voxels_out():
    labels = np.array([1, 0, 1, datasets.IGNORED]).reshape(4, 1, 1)
    logits = np.array([9.0, -9.0, -9.0, 9.0]).reshape(4, 1, 1, 1)
    assert training_command.foreground_dice(labels, logits) == pytest.approx(2 / 3)  # one found of two, and nothing else


def test_scans_annotated_in_part_train_and_are_scored_there_alone(tiny, lasc_cases, tmp_path):
    cases = []
    for case in lasc_cases:
        reference = volume.read(case.label)
        partly = reference.array.copy()
        partly[: partly.shape[0] // 2] = 9
        volume.write(reference.with_array(partly), tmp_path / f"{case.name}.nrrd")
        cases.append(replace(case, label=tmp_path / f"{case.name}.nrrd", ignore=9))
    recipe = tiny("dr_unet_f8", epochs=1)
    folder = training_command.train(recipe, cases, vesal(tmp_path / "runs", "dr_unet_f8"))
    by_name = {case.name: case for case in cases}
    for row, other in zip(*(read_csv(folder / name) for name in ("cases.csv", "cases_resampled.csv")), strict=True):
        labels = volume.read(by_name[row["case"]].label)
        predicted = volume.read(folder / "predictions" / f"{row['case']}.nii.gz")
        assert row["reference_ml"] == pytest.approx((labels.array == 255).sum() * labels.voxel_ml)
        assert row["volume_ml"] == pytest.approx(((predicted.array == 255) & (labels.array != 9)).sum() * labels.voxel_ml)
        assert other["reference_ml"] == pytest.approx(row["reference_ml"], rel=0.2)  # on a coarser grid


# Augmentation ---------------------------------------------------------------------------------------------------------------


def test_every_slice_of_image_and_labels_turns_alike():
    rng = np.random.default_rng(0)
    slice_ = np.kron(rng.integers(0, 2, (4, 3)), np.ones((8, 8)))  # (32, 24)
    labels = np.repeat(slice_[None, ..., None], 5, axis=3).astype(np.uint8)
    drawn = augment.draw_affine(rng, (32, 24), rotation_deg=20.0, crop_px=0.15 * np.array([32, 24]), flip=False)
    image, turned = training_command.augmented(labels[..., None].astype(np.float32), labels, {"affine": drawn[None]})
    image, turned = np.asarray(image)[0, ..., 0], np.asarray(turned)[0]
    assert image.shape == turned.shape == (32, 24, 5) and turned.dtype == np.uint8
    for z in range(5):
        np.testing.assert_array_equal(turned[..., z], turned[..., 0])
    assert (turned != labels[0]).mean() > 0.05
    assert ((image >= 0.5) == turned).mean() > 0.97  # linear against nearest neighbour: borders may differ


def test_grey_values_by_gamma_are_z_scored_again():
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(2, 6, 5, 4, 1)).astype(np.float32), rng.integers(0, 2, (2, 6, 5, 4)).astype(np.uint8)
    found, same = training_command.augmented(images, labels, {"gamma": np.array([0.5, 2.0], np.float32)})
    for image, given, exponent in zip(np.asarray(found), images, (0.5, 2.0), strict=True):
        share = ((given - given.min()) / (given.max() - given.min())) ** exponent
        np.testing.assert_allclose(image, (share - share.mean()) / share.std(), atol=2e-5)
    np.testing.assert_array_equal(same, labels)
    constant, _ = training_command.augmented(np.ones((1, 2, 2, 2, 1), np.float32), labels, {"gamma": np.ones(1, np.float32)})
    np.testing.assert_array_equal(constant, 0)


def test_the_paper_preset_turns_nothing(tiny):
    def drawing(**changes):
        return training_command.augmentation(tiny("dr_unet_f8", **changes), (32, 24))

    def drawn(**changes):
        draw = drawing(**changes)
        return lambda rng: draw(rng)["affine"]

    assert drawing(rotation_deg=0.0, zoom=0.0, gamma=(1.0, 1.0)) is None
    assert drawing(rotation_deg=0.0, zoom=0.0, gamma=(0.5, 2.0))(np.random.default_rng(0)).keys() == {"gamma"}
    assert drawing(rotation_deg=1.0, zoom=0.0, gamma=(1.0, 1.0))(np.random.default_rng(0)).keys() == {"affine"}
    np.testing.assert_allclose(drawn(rotation_deg=0.0, zoom=1e-6)(np.random.default_rng(0)), [1, 0, 0, 0, 1, 0, 0, 0], atol=1e-3)
    angle = max(abs(np.rad2deg(np.arctan2(c[3], c[4]))) for c in map(drawn(rotation_deg=20.0, zoom=0.0), generators(50)))
    assert 15 < angle <= 20
    extents = [drawn(rotation_deg=0.0, zoom=0.25)(rng)[[4, 0]] for rng in generators(50)]  # of x and y
    assert np.min(extents) > 0.7 and np.ptp(extents, axis=1).max() < 0.05 and np.ptp(extents, axis=0).min() > 0.15


def generators(count):
    return [np.random.default_rng(seed) for seed in range(count)]


# A run ----------------------------------------------------------------------------------------------------------------------


def test_a_run_says_everything(multi_stage, lasc_cases):
    record = json.loads((multi_stage / "run.json").read_text())
    assert {side: len(patients) for side, patients in record["split"].items()} == {"train": 6, "validation": 2, "test": 2}
    for stage in ("localiser", "segmenter"):
        assert (record["result"][stage]["steps"], record["result"][stage]["precision"]) == (4, "float32")
        assert {f"prepare train for {stage}", f"prepare validation for {stage}", f"train {stage}"} <= record["seconds"].keys()
    assert [row["epoch"] for row in read_csv(multi_stage / "history.csv")] == [1, 2]
    by_name = {case.name: case for case in lasc_cases}
    for row in read_csv(multi_stage / "cases.csv"):
        reference = volume.read(by_name[row["case"]].label)
        predicted = volume.read(multi_stage / "predictions" / f"{row['case']}.nii.gz")
        assert predicted.array.shape == reference.array.shape and set(np.unique(predicted.array)) <= {0, 255}
        np.testing.assert_allclose(predicted.affine, reference.affine, atol=1e-4)
        together = np.count_nonzero((predicted.array == 255) & (reference.array == 255))
        both = np.count_nonzero(predicted.array) + np.count_nonzero(reference.array)
        assert row["dice"] == pytest.approx(2 * together / both) and row["case"] in record["split"]["test"]
    for name in ("summary.md", "figures/volumes.png", "figures/localisation.png", "figures/best_median_worst.png"):
        assert (multi_stage / name).stat().st_size > 0


def test_the_papers_grid_is_scored_too(multi_stage, lasc_cases, tiny):
    preparation, by_name = tiny("multi_stage_f8").preparation, {case.name: case for case in lasc_cases}
    for row, native in zip(*(read_csv(multi_stage / name) for name in ("cases_resampled.csv", "cases.csv")), strict=True):
        labels = prediction.prepare_labels(datasets.load_labels(by_name[row["case"]], ("LA",)), preparation)
        assert row["case"] == native["case"] and row["dice"] != native["dice"]
        assert row["reference_ml"] == pytest.approx(labels.array.sum() * labels.voxel_ml)


def test_scoring_reads_no_file_again(multi_stage, lasc_cases, tiny, monkeypatch):
    experiment, case = vesal(multi_stage.parents[3]), lasc_cases[0]
    scan = datasets.load_image(case)
    reference = datasets.load_reference(case, scan)
    scorer = training_command.scorer(tiny("multi_stage_f8"), open_run(experiment, lasc_cases))
    for name in ("read", "read_grey", "read_labels"):
        monkeypatch.setattr(volume, name, None)
    native, further = scorer.predict(case, scan, reference)
    assert native.array.shape == scan.array.shape and further.keys() == {held_out.RESAMPLED}
    assert scorer.reference(case, scan, reference) is reference


def test_a_finished_run_says_so(multi_stage, lasc_cases, tiny, capsys):
    before = (multi_stage / "run.json").read_bytes()
    again = training_command.train(tiny("multi_stage_f8"), lasc_cases, vesal(multi_stage.parents[3]))
    assert again == multi_stage and capsys.readouterr().out == f"done: {multi_stage / 'summary.md'}\n"
    assert (multi_stage / "run.json").read_bytes() == before


def test_another_run_in_the_folder_is_refused(multi_stage, lasc_cases, tiny):
    with pytest.raises(InputError, match="another recipe"):
        training_command.train(tiny("multi_stage_f8", smoothing=2.0), lasc_cases, vesal(multi_stage.parents[3]))
    with pytest.raises(InputError, match="another seed"):
        training_command.train(tiny("multi_stage_f8"), lasc_cases, vesal(multi_stage.parents[3], seed=1))


def test_what_augmentation_draws_says_nothing_about_the_example(tiny, tmp_path):
    """A thousand examples as training draws them: which volume it is, its angle, its zoom and its gamma."""
    numbered = [{"image": np.full((4, 4, 2), number), "label": np.zeros((4, 4, 2))} for number in range(20)]
    paths = [store(tmp_path, number, lambda n=number: numbered[n]) for number in range(20)]
    recipe = tiny("multi_stage_f8", rotation_deg=180.0, zoom=0.3, gamma=(0.5, 2.0))
    batches = Batches(Volumes(paths), 10, 0, training_command.augmentation(recipe, (24, 24)))
    many = [batches[step] for step in range(100)]
    images = np.concatenate([batch[0] for batch in many])
    affine, gamma = (np.concatenate([batch[2][name] for batch in many]) for name in ("affine", "gamma"))
    drawn = [images[:, 0, 0, 0, 0], np.arctan2(affine[:, 3], affine[:, 4]), np.hypot(affine[:, 3], affine[:, 4]), gamma]
    assert all(np.ptp(each) > 0 for each in drawn)
    assert np.abs(np.corrcoef(drawn)[0, 1:]).max() < 0.13  # four standard deviations of 1000 independent pairs


class Killed(Exception):
    """Stands in for a kill."""


def test_killed_in_both_stages_and_rerun_it_gives_the_same_bytes(multi_stage, lasc_cases, tiny, tmp_path):
    """Killed right after the localiser's first checkpoint, then before the segmenter's second."""

    def run():
        return training_command.train(tiny("multi_stage_f8"), lasc_cases, vesal(tmp_path))

    def killed(last, written):
        """Dies at checkpoint number `last` of this session, which is or is not written."""
        save, calls = checkpoints.save, []

        def dying(*arguments):
            calls.append(arguments)
            if len(calls) < last or written:
                save(*arguments)
            if len(calls) == last:
                raise Killed

        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr(checkpoints, "save", dying)
            patch.setattr(training, "CHECKPOINT_S", 0.0)
            run()

    killed(1, written=True)
    killed(3, written=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "save", lambda *_, **__: None)
        folder = run()
    for name in (*RESULTS, *(f"predictions/{row['case']}.nii.gz" for row in read_csv(folder / "cases.csv"))):
        assert (folder / name).read_bytes() == (multi_stage / name).read_bytes(), name


@pytest.mark.parametrize("experiment", ["multi_stage_keep_z_f32", "end_to_end_keep_z_f32"])
def test_several_structures(experiment, tiny, phantom_cases, tmp_path):
    recipe = tiny(experiment, epochs=1, localiser_epochs=1)
    given = recipe.preparation
    folder = training_command.train(recipe, phantom_cases, vesal(tmp_path, experiment, "acdc"))
    test = json.loads((folder / "run.json").read_text())["split"]["test"]
    expected = [(f"{test[0]}_{phase}", structure) for phase in ("ED", "ES") for structure in ("RV", "Myo", "LV")]
    by_name = {case.name: case for case in phantom_cases}
    for file in ("cases.csv", "cases_resampled.csv"):
        rows = read_csv(folder / file)
        assert [(row["case"], row["structure"]) for row in rows] == expected
        assert all(0 <= row["dice"] <= 1 and row["reference_ml"] > 0 for row in rows)
    for row in rows:
        labels = prediction.prepare_labels(datasets.load_labels(by_name[row["case"]], given.structures), given)
        value = 1 + given.structures.index(row["structure"])
        assert row["reference_ml"] == pytest.approx(np.count_nonzero(labels.array == value) * labels.voxel_ml)
    for case in {name for name, _ in expected}:
        predicted, scan = volume.read(folder / "predictions" / f"{case}.nii.gz"), volume.read(by_name[case].image)
        assert predicted.array.shape == scan.array.shape and set(np.unique(predicted.array)) <= {0, 1, 2, 3}
    assert (folder / "figures/volumes.png").exists()
    multi_stage = recipe.method == "multi_stage"
    for name in ("regions.csv", "localiser/best.weights.h5", "figures/localisation.png"):
        assert (folder / name).exists() == multi_stage, name
    assert ("Share of the foreground" in (folder / "summary.md").read_text()) == multi_stage


# Folds, and stopping early --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folds(phantom_root, tiny, tmp_path_factory):
    """Both folds of a single network on whole scans, whose validation Dice is 0.3, 0.5, 0.5, 0.4."""
    workdir, dice = tmp_path_factory.mktemp("folds"), cycle([0.3, 0.5, 0.5, 0.4])
    recipe = tiny("unet3d_f32", epochs=9, batch_size=4)
    arguments = ["--dataset", "acdc", "--data-root", str(phantom_root), "--experiment", "unet3d_f32", "--workdir", str(workdir),
                 *settings(recipe), "--set", "folds=2", "--set", "patience=2", "--fold", "all"]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "save", lambda *_, **__: None)
        patch.setattr(training_command, "validate", lambda *_: {"val_loss": 1.0, "val_dice": next(dice)})
        training_command.main(arguments)
    return workdir / "dr_unet/unet3d_f32-quick/acdc"


def test_training_stops_when_validation_no_longer_improves(folds):
    for fold in ("fold0", "fold1"):
        result = json.loads((folds / fold / "run.json").read_text())["result"]["segmenter"]
        assert (result["steps"], result["best_step"], result["best_score"]) == (4, 2, 0.5)  # patience 2, of at most 9 epochs
        assert [row["val_dice"] for row in read_csv(folds / fold / "history.csv")] == [0.3, 0.5, 0.5, 0.4]


def test_all_folds_are_scored_on_the_same_patients_and_pooled(folds):
    first, second = (json.loads((folds / fold / "run.json").read_text())["split"] for fold in ("fold0", "fold1"))
    assert first["test"] == second["test"] and len(first["test"]) == 1
    assert first["validation"] == second["train"] and second["validation"] == first["train"] and len(first["train"]) == 2
    for file in ("cases.csv", "cases_resampled.csv"):
        rows = read_csv(folds / file)
        assert [row["fold"] for row in rows] == [0] * 6 + [1] * 6
        assert {row["patient"] for row in rows} == set(first["test"])
        parts = [{"fold": k, **row} for k in (0, 1) for row in read_csv(folds / f"fold{k}" / file)]
        assert [cells(row) for row in rows] == [cells(row) for row in parts]
    assert "n counts every volume of every fold" in (folds / "summary.md").read_text()


def test_the_networks_of_all_folds_are_scored_together(folds, phantom_root):
    rows, of_one = (read_csv(folds / part / "cases.csv") for part in ("together", "fold0"))
    assert [(row["case"], row["structure"], row["reference_ml"]) for row in rows] == [
        (row["case"], row["structure"], row["reference_ml"]) for row in of_one
    ]
    case = of_one[0]["case"]
    joined, alone = (volume.read_labels(folds / file) for file in (f"together/{case}.nii.gz", f"fold0/predictions/{case}.nii.gz"))
    assert joined.array.shape == alone.array.shape and set(np.unique(joined.array)) <= {0, 1, 2, 3}
    ensemble = ensembles.load([folds / "fold0", folds / "fold1"], "dr_unet")
    scan = volume.read_grey(next(each.image for each in datasets.find("acdc", phantom_root) if each.name == case))
    assert (ensembles.predict(ensemble, scan).array == joined.array).all()


def cells(row):
    """The row with None where a number is undefined, since NaN equals nothing."""
    return {name: None if value != value else value for name, value in row.items()}


def test_folds_that_found_nothing_are_pooled(tmp_path):
    rows = [{"case": name, "patient": name, "phase": "", "group": "", "structure": "LA", "dice": 0.0,
             "hausdorff_mm": math.nan, "assd_mm": math.nan, "volume_ml": 0.0, "reference_ml": 9.0} for name in "AB"]  # fmt: skip
    folders = [tmp_path / f"fold{k}" for k in (0, 1)]
    for folder in folders:
        write_csv(folder / "cases.csv", rows)
    held_out.pool(folders, tmp_path)
    assert "| LA | all | 4 | 0.000 (0.000) |" in (tmp_path / "summary.md").read_text()


# Parts ----------------------------------------------------------------------------------------------------------------------


def test_the_segmenter_trains_on_the_crops_that_the_localiser_found(multi_stage, lasc_cases, tiny):
    preparation, case = tiny("multi_stage_f8").preparation, lasc_cases[0]
    image, labels = prediction.prepared_pair(case, preparation)
    seen = training_command.prepared(case, preparation, {case.name: Region((3, 5, 0), (16, 16, 16), True)})
    np.testing.assert_array_equal(seen["image"], image.array[3:19, 5:21, :16])
    np.testing.assert_array_equal(seen["label"], labels.array[3:19, 5:21, :16])
    start = {row["case"]: tuple(int(row[f"start_{a}"]) for a in "xyz") for row in read_csv(multi_stage / "regions.csv")}
    x, y, z = start[case.name]
    cache = [np.load(path)["image"] for path in (multi_stage.parents[3] / "cache").glob("*.npy")]
    crop = preprocess.window(image, (x, y, z), (16, 16, 16)).array
    assert sum(part.shape == crop.shape and np.array_equal(part, crop) for part in cache) == (
        case.name not in json.loads((multi_stage / "run.json").read_text())["split"]["test"]
    )


def test_whole_scans_are_shrunk_for_single_networks(tiny, monkeypatch):
    preparation = tiny("dr_unet_f8", input_factors=(2, 2, 1)).preparation
    image = from_array(np.random.default_rng(0).normal(size=preparation.image_shape).astype(np.float32))
    labels = image.with_array((image.array > 0).astype(np.uint8))
    monkeypatch.setattr(training_command, "prepared_pair", lambda *_: (image, labels))
    seen = training_command.prepared(None, preparation, None)
    assert seen["image"].shape == seen["label"].shape == (12, 12, 16) == preparation.input_shape


@pytest.mark.parametrize("outputs", [1, 3])
def test_validation_dice_is_of_the_foreground(outputs):
    labels = np.array([0, 1, 1, 2 if outputs == 3 else 0]).reshape(2, 2, 1)
    logits = np.array([[-5.0], [5.0], [-5.0], [-5.0]]) if outputs == 1 else 9 * np.eye(3)[[0, 1, 0, 2]]
    expected = 2 / 3 if outputs == 1 else (2 / 3 + 1) / 2
    assert training_command.foreground_dice(labels, logits.reshape(2, 2, 1, outputs)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset", "acdc", "--data-root", "{acdc}", "--experiment", "multi_stage_f8"], "no label for LA"),
        (["--dataset", "lasc", "--data-root", "{lasc}", "--experiment", "dr_unet_f32"], "no label for RV, Myo, LV"),
        (["--dataset", "acdc", "--data-root", "{lasc}"], "no ACDC patients"),
        (["--dataset", "lasc", "--data-root", "{lasc}", "--fold", "5"], "--fold 5: expected 0 to 4"),
        (["--dataset", "lasc", "--data-root", "{lasc}", "--set", "loss=hinge"], "loss: expected one of bce_dice, "),
        (["--dataset", "lasc", "--data-root", "{lasc}", "--set", "test_parts=1"], "test_parts: expected a whole number from 2"),
        (["--dataset", "lasc", "--data-root", "{lasc}", "--set", "crop_shape=100,96,48"], "8n x 8n x 8n, found 100 x 96 x 48"),
        (["--dataset", "lasc", "--data-root", "{lasc}", "--set", "localiser_shape=80,64,20"], "found 80 x 64 x 20"),
        (["--dataset", "lasc", "--data-root", "{lasc}", "--set", "image_shape=161,120,48"], "multiple of localiser_factors"),
        (["--dataset", "lasc", "--data-root", "{lasc}", "--set", "image_shape=160,120"], "image_shape: expected 3 values"),
        (["--dataset", "lasc", "--data-root", "{lasc}", "--set", "localiser_factors=0,2,2"], "localiser_factors: expected 3"),
        (["--dataset", "lasc", "--data-root", "{lasc}", "--experiment", "dr_unet_f8", "--set", "input_factors=3,2,1"],
         "multiple of input_factors"),
    ],
)  # fmt: skip
def test_bad_arguments_end_in_one_line_before_a_folder_is_made(arguments, words, lasc_root, phantom_root, tmp_path, capsys):
    arguments = [argument.format(lasc=lasc_root, acdc=phantom_root) for argument in arguments]
    assert words in refused(capsys, *arguments, "--preset", "quick", "--workdir", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_constant_scan_is_named(lasc_cases, tiny, tmp_path):
    case = lasc_cases[0]
    scan = volume.read(case.image)
    volume.write(scan.with_array(np.full_like(scan.array, 9)), tmp_path / "flat.nrrd")
    with pytest.raises(InputError, match="flat.nrrd: constant image"):
        flat = replace(case, image=tmp_path / "flat.nrrd")
        training_command.train(tiny("dr_unet_f8"), [flat, *lasc_cases[1:]], vesal(tmp_path / "runs", "dr_unet_f8"))


# The table script -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tables(monkeypatch, tmp_path):
    """table(number, suffix) -> (rows of the CSV by row and measure, the Markdown), without running anything."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import reproduce_table

    def table(number, suffix=""):
        reproduce_table.main(["vesal2020", str(number), "--report-only", "--workdir", str(tmp_path)])
        path = tmp_path / f"tables/vesal2020_table{number}{suffix}"
        return {(row["row"], row["measure"]): row for row in read_csv(f"{path}.csv")}, Path(f"{path}.md").read_text()

    yield table
    sys.modules.pop("reproduce_table", None)


@pytest.mark.parametrize("number", PUBLISHED)
def test_tables_without_runs_say_so(tables, number):
    rows, text = tables(number)
    assert len(rows) == 5 * len(PUBLISHED[number].rows)
    assert {row["ours"] for row in rows.values()} <= {"not run", "only quoted"}
    assert "python -m dr_unet.train" in text and "--fold all" in text


def test_a_finished_run_stands_beside_the_paper(tables, multi_stage, tmp_path):
    folder = vesal(tmp_path, fold=1).folder
    native = read_csv(multi_stage / "cases.csv")
    write_csv(folder / "cases.csv", native)
    shutil.copy(multi_stage / "run.json", folder)
    write_text(folder / "summary.md", "")
    rows, text = tables(2)
    assert "Not with the settings of the preset: multi_stage_f8 on lasc, fold 1: " in text  # it is a tiny one
    ours = [row["dice"] for row in native]
    dice = rows["multi-stage, 8", "LA Dice"]
    assert (dice["paper"], dice["ours"], dice["n"]) == ("0.904 (0.029)", f"{np.mean(ours):.3f} ({np.std(ours):.3f})", 2)
    assert rows["multi-stage, 8", "LA ASD (mm)"]["ours"].startswith(f"{np.mean([row['asd_mm'] for row in native]):.3f}")
    assert rows["Yang et al., 16", "LA Dice"]["ours"] == "only quoted" and "multi_stage_f8 on lasc: fold 1 of 5" in text
