"""The four steps: which variables move in each, what each begins with, and runs that are stopped and go on."""

from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from shared import datasets, runs
from shared.errors import InputError
from shared.files import read_csv
from shared.learning import training
from shared.phantom.whole_heart_scan import VALUES, render_whole_heart
from shared.runs import read_record
from shared.scans import volume
from tests.two_stage_unet.conftest import experiment_in
from two_stage_unet import predict as prediction
from two_stage_unet import train as training_command
from two_stage_unet.predict import JOINT, NET1, NET2
from two_stage_unet.recipe import STRUCTURES


def weights(folder, recipe, name, stage):
    return prediction.trained(folder, recipe, name, stage).get_weights()


def same(one, other):
    return all((a == b).all() for a, b in zip(one, other, strict=True))


def test_a_run_keeps_every_step_and_scores_net1_alone(finished, phantom_cases):
    assert {path.parent.name for path in finished.rglob(runs.BEST)} == {"step1", "step2", "step3", "fold0"}
    record = read_record(finished, "result", "weights", "seconds")
    assert list(record["result"]) == ["step 1", "step 2", "step 3", "step 4"]
    test = [case.name for case in phantom_cases if case.patient in record["split"]["test"]]
    for file in ("cases.csv", training_command.NET1_ALONE):
        rows = read_csv(finished / file)
        assert list(dict.fromkeys(row["case"] for row in rows)) == test
        assert [row["structure"] for row in rows][:3] == ["RV", "Myo", "LV"]
    assert "cases_net1.csv:" in (finished / "summary.md").read_text()


def test_each_step_trains_what_the_paper_says(finished, tiny):
    """Steps 1 and 2 have no Net2; step 3 moves all of both; step 4 has no Net1, so it leaves it as it is."""
    recipe = tiny()
    one, two = (weights(finished, recipe, NET1, f"step{step}") for step in (1, 2))
    both = prediction.trained(finished, recipe, JOINT, "step3")
    four = weights(finished, recipe, NET2, "")
    for before, after in ((one, two), (two, both.get_layer(NET1).get_weights()), (both.get_layer(NET2).get_weights(), four)):
        assert [value.shape for value in before] == [value.shape for value in after]
        assert not any((a == b).all() for a, b in zip(before, after, strict=True))  # every tensor moved
        distance = max(np.abs(a - b).max() for a, b in zip(before, after, strict=True))
        assert distance < 0.1  # but from where the step before had left it
    with h5py.File(finished / runs.BEST) as file:
        found = []
        file.visit(found.append)
    assert not any("enc1" in name and "net1" in name for name in found)
    assert same(prediction.load(finished).coarse.get_weights(), both.get_layer(NET1).get_weights())


@pytest.mark.parametrize("steps", [(3, 4), *(pytest.param(steps, marks=pytest.mark.slow) for steps in ((2, 4), (1, 4)))])
def test_steps_can_be_left_out(steps, tiny, phantom_cases, tmp_path):
    recipe = tiny(steps=steps, iterations=(1, 1, 1, 1), validate_every=1)
    folder = training_command.train(recipe, phantom_cases, experiment_in(tmp_path))
    assert list(read_record(folder)["result"]) == [f"step {step}" for step in steps]
    assert prediction.load(folder).net2 is not None


def test_stopped_in_every_step_it_ends_with_the_same_bytes(finished, tiny, phantom_cases, tmp_path, monkeypatch):
    experiment, fitted, calls = experiment_in(tmp_path), training.Loop.learn, []

    def interrupted(self, step, inputs, targets):
        if step == 3 and self.folder.name not in calls:
            calls.append(self.folder.name)
            raise KeyboardInterrupt
        fitted(self, step, inputs, targets)

    monkeypatch.setattr(training.Loop, "learn", interrupted)
    monkeypatch.setattr(training, "CHECKPOINT_S", 0.0)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            training_command.train(tiny(), phantom_cases, experiment)
    folder = training_command.train(tiny(), phantom_cases, experiment)
    assert calls == ["step1", "step2", "step3", "fold0"]
    recipe = tiny()
    for name, stage in ((NET1, "step1"), (NET1, "step2"), (JOINT, "step3"), (NET2, "")):
        assert same(weights(folder, recipe, name, stage), weights(finished, recipe, name, stage)), stage
    for file in ("cases.csv", training_command.NET1_ALONE):
        assert (folder / file).read_bytes() == (finished / file).read_bytes()


def test_the_3d_unet_is_one_stage(tiny, phantom_cases, tmp_path):
    folder = training_command.train(tiny("unet3d"), phantom_cases, experiment_in(tmp_path, "unet3d"))
    assert list(read_record(folder)["result"]) == ["unet3d"] and not (folder / training_command.NET1_ALONE).exists()


def test_the_held_out_part_is_that_of_all_folds_unless_folds_are_reported(tiny, phantom_cases):
    cases = datasets.labelled(phantom_cases)
    splits = [training_command.split(tiny(), cases, fold) for fold in (0, 1)]
    assert splits[0].test == splits[1].test and not set(splits[0].test) & {*splits[0].train, *splits[0].validation}
    reported = training_command.split(tiny(report_folds=True), cases, 1)
    assert reported.test == reported.validation == splits[1].validation


@pytest.mark.parametrize(("on_disk", "wanted", "found"), [
    ({255: "LA"}, STRUCTURES, ("LA",)), ({1: "rv", 2: "Myo", 3: "LV"}, STRUCTURES, ("RV", "Myo", "LV")),
    (dict(enumerate(STRUCTURES)), STRUCTURES, STRUCTURES), ({7: "tumour", **dict(enumerate(STRUCTURES))}, STRUCTURES, STRUCTURES),
    ({1: "RV", 2: "Myo", 3: "LV"}, ("LV",), ("LV",)), ({1: "RV"}, ("LV",), ("LV",)),
])  # fmt: skip
def test_other_data_sets_have_their_own_structures(on_disk, wanted, found, tiny):
    """What is asked for by name stays, even where it will be refused."""
    case = datasets.Case(patient="a", phase="", image=None, label=None, group="", structures=on_disk)
    assert training_command.for_cases(tiny(structures=wanted), [case]).preparation.structures == found


@pytest.mark.parametrize(("changes", "words"), [
    ({"steps": (1, 2, 3)}, "steps: expected 4 among them"), ({"steps": (4,)}, "steps: expected at least one that trains Net1"),
    ({"steps": (2, 1, 4)}, "steps: expected some of 1,2,3,4, in this order"), ({"slices": 4}, "slices: expected an odd number"),
    ({"cubes": (1, 2)}, "cubes: expected as many numbers as edges, 1"),
])  # fmt: skip
def test_recipes_that_cannot_be(changes, words, tiny):
    with pytest.raises(InputError, match=words):
        tiny(**changes)


def test_odd_data_from_files_to_scores(tiny, tmp_path):
    """MM-WHS files with 421 for the left atrium, a structure that no patient has, and fewer slices than a stack."""
    left_atrium = []
    for number in range(1001, 1006):
        image, labels = render_whole_heart(number - 1000, "ct", spacing_mm=4.0)
        array = np.where(labels.array == VALUES["PA"], 0, labels.array)
        z = int(np.argmax((array == VALUES["LA"]).sum(axis=(0, 1))))  # two slices, from the one with most of the left atrium on
        left_atrium.append(np.sum(array[:, :, z : z + 2] == VALUES["LA"]))
        array[(array == VALUES["LA"]) & (number % 2 == 1)] = 421
        for end, whole, values in (("image", image, image.array), ("label", labels, array)):
            path = tmp_path / "data" / "ct_train" / f"ct_train_{number}_{end}.nii.gz"
            volume.write(whole.with_array(values[:, :, z : z + 2]), path)
    recipe = tiny(structures=("LV", "LA", "PA"), slices=5, iterations=(1, 1, 1, 1), validate_every=1, test_parts=5, folds=2)
    cases = datasets.find("mmwhs_ct", tmp_path / "data")
    assert [np.sum(datasets.load_pair(case, ("LV", "LA", "PA"))[1].array == 2) for case in cases] == left_atrium
    folder = training_command.train(recipe, cases, experiment_in(tmp_path))
    for file in ("cases.csv", training_command.NET1_ALONE):
        rows = read_csv(folder / file)
        assert [row["structure"] for row in rows] == ["LV", "LA", "PA"] and rows[2]["reference_ml"] == 0


def test_a_run_cannot_go_on_with_other_steps(tiny, finished, phantom_cases):
    experiment = experiment_in(finished.parents[3])
    with pytest.raises(InputError, match="holds a run with another recipe"):
        training_command.train(tiny(steps=(1, 3, 4)), phantom_cases, experiment)
    assert runs.is_done(finished)


@pytest.mark.parametrize(("name", "steps", "folder"), [
    ("step 1", 5, "step1"), ("step 2", 6, "step2"), ("step 3", 7, "step3"), ("step 4", 8, ""), ("unet3d", 9, ""),
])  # fmt: skip
def test_every_step_has_its_own_iterations_and_a_fresh_optimiser(name, steps, folder, tiny):
    recipe = tiny(iterations=(5, 6, 7, 8), unet3d_iterations=9, learning_rate=0.5, final_learning_rate=0.1, clip_norm=2.0)
    examples, run = dict.fromkeys(training_command.SIDES, range(3)), SimpleNamespace(seed=0)
    found, again = (training_command.stage(recipe, run, name, None, None, examples, lambda: None) for _ in range(2))
    assert (found.steps, found.folder, found.optimizer.clipnorm) == (steps, folder, 2.0)
    assert found.optimizer is not again.optimizer and found.batches.batch_size == 1
    rates = [float(found.optimizer._learning_rate(step)) for step in (0, steps)]
    assert rates == pytest.approx([0.5, 0.1])
    unclipped = training_command.stage(tiny(clip_norm=0.0), run, name, None, None, examples, lambda: None)
    assert unclipped.optimizer.clipnorm is None
