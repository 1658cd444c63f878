"""The life of a run with toy networks: stages one after the other, prepared cases by what they depend on, one record."""

from dataclasses import dataclass, replace
from typing import Annotated

import keras
import numpy as np
import pytest

from shared import held_out, lifecycle, recipes, runs
from shared.datasets import Case
from shared.datasets.splits import Split
from shared.errors import InputError
from shared.held_out import Scorer
from shared.learning import checkpoints
from shared.learning.batches import Batches
from shared.learning.examples import Slices
from shared.lifecycle import Method, Stage
from shared.runs import Experiment
from shared.scans import volume
from tests.experiments import open_run

PACKAGE = "shared"  # stands in for a paper's, whose sources prepared cases depend on


@dataclass(frozen=True, kw_only=True)
class Preparation:
    scale: Annotated[float, recipes.number(0, 10)]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    preparation: Preparation
    rates: Annotated[tuple[float, ...], recipes.several(recipes.number(0, 10))]  # one per stage


RECIPE = Recipe(preparation=Preparation(scale=2.0), rates=(0.5, 0.0))


@pytest.fixture
def cases(tmp_path):
    """Four patients of two slices, whose upper half is labelled."""
    array = np.arange(32, dtype=np.int16).reshape(4, 4, 2)
    found = []
    for n, name in enumerate("abcd"):
        image, label = tmp_path / f"{name}.nii", tmp_path / f"{name}_gt.nii"
        volume.write(volume.from_array(array + n, (2.0, 2.0, 5.0)), image)
        volume.write(volume.from_array((array > 15).astype(np.uint8), (2.0, 2.0, 5.0)), label)
        found.append(Case(patient=name, phase="", image=image, label=label, group="", structures={1: "LA"}))
    return found


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
    monkeypatch.setattr(held_out, "draw", lambda *_: None)


def experiment(tmp_path, **more):
    return Experiment(package=PACKAGE, name="toy", dataset="acdc", workdir=tmp_path / "runs", **more)


def network():
    return keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3, padding="same")], name="toy")


def prepared(case, preparation):
    return {"image": volume.read(case.image).array / (16 * preparation.scale), "label": volume.read(case.label).array}


def stage(recipe, run, name, rate, **more):
    """Two steps, the first of which is said to be the better one."""
    paths = run.prepared("train", recipe.preparation, lambda case: prepared(case, recipe.preparation))
    scores = iter((0.9, 0.1))
    return Stage(
        name=name,
        build=network,
        batches=Batches(Slices(paths), 2, run.seed),
        steps=2,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.SGD(rate),
        validate=lambda model: {"val_dice": next(scores), "val_loss": 0.0},
        validate_every=1,
        monitor="val_dice",
        **more,
    )


def two_stages(recipe, run):
    yield stage(recipe, run, "first", recipe.rates[0], folder="first")
    yield stage(recipe, run, "second", recipe.rates[1], start_from="first")


def toy(stages=two_stages, **more):
    parts = {
        "package": PACKAGE,
        "recipes": {"toy": RECIPE},
        "default": "toy",
        "presets": {"paper": lambda recipe: recipe, "quick": lambda recipe: recipes.replace(recipe, scale=0.5)},
        "split": lambda recipe, cases, fold: Split(("a", "b"), ("c",), ("d",)),
        "folds": lambda recipe: 1,
        "stages": stages,
        "scorer": lambda recipe, run: Scorer(
            predict=lambda case, scan, reference: (reference, {}), finish=lambda: [run.best_line("second")]
        ),
        "structures": lambda recipe, cases: {1: "LA"},
        "check": lambda recipe: None,
        "quick_minutes": 7,
    }
    return Method(**{**parts, **more})


def weights(folder, name=runs.BEST):
    model = network()
    checkpoints.load_weights(model, folder / name)
    return [array.tobytes() for array in model.get_weights()]


# Stages ---------------------------------------------------------------------------------------------------------------------


def test_a_run_from_its_beginning_to_its_summary(tmp_path, cases, capsys):
    folder = lifecycle.train(toy(), RECIPE, cases, experiment(tmp_path, command="typed"))
    record = runs.read_record(folder)
    assert list(record["result"]) == ["first", "second"]
    assert record["recipe"] == {"scale": 2.0, "rates": [0.5, 0.0]} and record["command"] == "typed"
    assert record["weights"].keys() == {"best.weights.h5", "first/best.weights.h5"}
    assert record["seconds"].keys() == {"prepare train", "train first", "train second", "evaluate"}
    assert "Best validation Dice 0.9000 at step 1 of 2." in (folder / "summary.md").read_text()
    assert [path.name for path in (folder / "predictions").iterdir()] == ["d.nii.gz"]
    said = capsys.readouterr().out
    assert "toy (paper) on acdc, fold 0: 2 train, 1 validation, 1 test volumes; run folder" in said
    assert "second: toy, 20 parameters, float32, input 4 x 4; 4 examples, at most 2 steps of 2" in said
    before = (folder / runs.RECORD).read_bytes()
    assert lifecycle.train(toy(), RECIPE, cases, experiment(tmp_path)) == folder
    assert capsys.readouterr().out == f"done: {folder / 'summary.md'}\n" and (folder / runs.RECORD).read_bytes() == before


@pytest.mark.parametrize(
    ("preset", "accelerators", "warned"), [("paper", [], True), ("quick", [], False), ("paper", ["H100"], False)]
)
def test_who_begins_a_papers_recipe_on_a_processor_is_told(preset, accelerators, warned, tmp_path, cases, capsys, monkeypatch):
    monkeypatch.setattr(lifecycle.provenance, "accelerators", lambda: accelerators)
    lifecycle.train(toy(), RECIPE, cases, experiment(tmp_path, preset=preset))
    assert ("no GPU here; --preset quick takes about 7 minutes" in capsys.readouterr().out) == warned
    (summary,) = (tmp_path / "runs").rglob("summary.md")
    assert ("- settings that are not those of the preset: scale=2.0" in summary.read_text()) == (preset == "quick")


def test_a_stage_begins_with_the_best_weights_of_an_earlier_one(tmp_path, cases):
    """The second stage learns nothing here, at rate 0, so that it ends as it began."""

    def alone(recipe, run):
        yield stage(recipe, run, "first", recipe.rates[0], folder="first")
        yield stage(recipe, run, "second", recipe.rates[1])

    continued, fresh = (
        lifecycle.train(toy(stages), RECIPE, cases, experiment(tmp_path, fold=fold))
        for fold, stages in enumerate((two_stages, alone))
    )
    assert weights(continued) == weights(continued, "first/best.weights.h5") == weights(fresh, "first/best.weights.h5")
    assert weights(fresh) != weights(continued)
    with np.load(continued / "first" / runs.CHECKPOINT) as last:  # the best ones, not these
        assert not any(last[name].tobytes() == weights(continued)[0] for name in last.files)


def test_a_later_stage_is_asked_for_when_the_one_before_is_trained(tmp_path, cases):
    found = []

    def stages(recipe, run):
        yield stage(recipe, run, "first", 0.5, folder="first")
        found.append((runs.weights_of(run.folder, "first").is_file(), list(run.record.content["result"])))
        yield stage(recipe, run, "second", 0.5)
        found.append((runs.weights_of(run.folder).is_file(), list(run.record.content["result"])))

    lifecycle.train(toy(stages), RECIPE, cases, experiment(tmp_path))
    assert found == [(True, ["first"]), (True, ["first", "second"])]


def test_a_run_that_was_stopped_between_stages_goes_on(tmp_path, cases):
    def stopping(recipe, run):
        yield from (each for each, _ in zip(two_stages(recipe, run), range(1), strict=False))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lifecycle.train(toy(stopping), RECIPE, cases, experiment(tmp_path))
    first = weights(experiment(tmp_path).folder, "first/best.weights.h5")
    folder = lifecycle.train(toy(), RECIPE, cases, experiment(tmp_path))
    assert weights(folder) == weights(folder, "first/best.weights.h5") == first


class Pairs(Slices):
    def one(self, position, rng):
        image, label = super().one(position, rng)
        return {"left": image, "right": image}, label


def test_a_network_of_two_inputs(tmp_path, cases, capsys):
    def build():
        parts = [keras.Input((4, 4, 1), name=name) for name in ("left", "right")]
        logits = keras.layers.Conv2D(2, 1)(keras.layers.Concatenate()(parts))
        return keras.Model(dict(zip(("left", "right"), parts, strict=True)), logits, name="pair")

    def stages(recipe, run):
        one = stage(recipe, run, "second", 0.5)
        yield replace(one, build=build, batches=Batches(Pairs(place[0] for place in one.batches.examples.places[::2]), 2, 0))

    folder = lifecycle.train(toy(stages), RECIPE, cases, experiment(tmp_path))
    assert runs.is_done(folder) and "pair, 6 parameters, float32, input 4 x 4" in capsys.readouterr().out


# Before it starts -----------------------------------------------------------------------------------------------------------


def refusing(*_):
    raise InputError("no such network")


@pytest.mark.parametrize("part", ["check", "split", "structures"])
def test_what_is_refused_before_it_starts_leaves_no_folder(part, tmp_path, cases):
    with pytest.raises(InputError, match="no such network"):
        lifecycle.train(toy(**{part: refusing}), RECIPE, cases, experiment(tmp_path))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("other", "words"), [
    ({"seed": 1}, "seed"), ({"deterministic": False}, "deterministic"),
    ({"recipe": recipes.replace(RECIPE, scale=3.0)}, r"recipe \(scale=2.0 there, 3.0 here\)"), ({"localiser": "x"}, "localiser"),
])  # fmt: skip
def test_another_run_in_the_folder_is_refused(other, words, tmp_path, cases):
    def stopped(recipe, run):
        (run.folder / runs.CHECKPOINT).write_text("of a network")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lifecycle.train(toy(stopped), RECIPE, cases, experiment(tmp_path), localiser="")
    options = {"localiser": "", "recipe": RECIPE, "seed": 0, "deterministic": True, **other}
    again = experiment(tmp_path, seed=options.pop("seed"), deterministic=options.pop("deterministic"))
    with pytest.raises(InputError, match=f"another {words}; choose another --workdir"):
        lifecycle.train(toy(stopped), options.pop("recipe"), cases, again, **options)


def test_a_run_of_which_nothing_was_trained_may_become_another(tmp_path, cases):
    """After a refusal, data are put right, or another seed is tried."""

    def refusing(recipe, run):
        raise InputError("a constant scan")

    with pytest.raises(InputError, match="constant"):
        lifecycle.train(toy(refusing), RECIPE, cases, experiment(tmp_path))
    folder = lifecycle.train(toy(), RECIPE, cases, experiment(tmp_path, seed=1))
    assert runs.read_record(folder)["seed"] == 1 and runs.is_done(folder)


# Prepared cases -------------------------------------------------------------------------------------------------------------


def test_prepared_cases_are_kept_by_all_that_they_depend_on(tmp_path, cases, monkeypatch):
    made = []

    def path_of(case=cases[0], preparation=RECIPE.preparation, digest="digest", **options):
        (path,) = open_run(experiment(tmp_path), [case], digest).prepared("train", preparation, make, **options)
        return path

    def make(case):
        made.append(case.name)
        return prepared(case, RECIPE.preparation)

    first = path_of()
    assert path_of() == path_of(case=replace(cases[0], group="NOR")) == first and made == ["a"]
    others = [
        path_of(preparation=Preparation(scale=3.0)),
        path_of(digest="other files"),
        path_of(case=replace(cases[0], structures={1: "LV"})),
        path_of(case=replace(cases[0], ignore=9)),
        path_of(case=replace(cases[0], frame=1)),
        path_of(more=lambda case: "a region"),
    ]
    monkeypatch.setattr(lifecycle.provenance, "code", lambda package: "other sources")
    assert len({first, *others, path_of()}) == 8 and len(made) == 8


def test_references_without_any_structure_are_refused_before_training(cases, tmp_path):
    for case in cases[:2]:
        volume.write(volume.from_array(np.zeros((4, 4, 2), np.uint8), (2.0, 2.0, 5.0)), case.label)
    with pytest.raises(InputError, match="no structure is labelled in any reference that trains, beginning with that of a;"):
        lifecycle.train(toy(), RECIPE, cases, experiment(tmp_path))
    volume.write(volume.from_array(np.eye(4, dtype=np.uint8)[..., None].repeat(2, 2), (2.0, 2.0, 5.0)), cases[1].label)
    lifecycle.train(toy(), RECIPE, cases, experiment(tmp_path))
