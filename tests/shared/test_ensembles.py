"""Several networks as one: the mean of their probabilities, whatever order their classes have and whatever they have not seen."""

import types

import numpy as np
import pytest

from shared import ensembles, prediction_command
from shared.errors import InputError
from shared.files import write_json
from shared.scans import volume

HEART = {1: "RV", 2: "Myo", 3: "LV"}


def network(structures, classes, background=0.0, removed=1):
    """A segmenter that gives these probabilities to every voxel; where its paper cleans label maps, the class `removed` goes."""
    return types.SimpleNamespace(structures=structures, voxel=np.array([background, *classes], np.float32), removed=removed)


def everywhere(segmenter, scan):
    return np.broadcast_to(segmenter.voxel, (*scan.array.shape, len(segmenter.voxel))).copy()


def without_removed(segmenter, classes):
    return np.where(classes == segmenter.removed, 0, classes)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Makes run folders of packages whose `predict` modules are made up: name -> (package, segmenter)."""
    found, modules = {}, {}

    def load(weights):
        return found[weights.name]

    def make(**wanted):
        for name, (package, segmenter) in wanted.items():
            found[name] = segmenter
            write_json(tmp_path / name / "run.json", {"package": package, "dataset": "acdc"})
            offered = {} if package == "walls" else {"chances": everywhere}
            offered |= {"cleaned": without_removed} if package == "clean" else {}
            modules[f"{package}.predict"] = types.SimpleNamespace(__name__=f"{package}.predict", load=load, **offered)
        return [tmp_path / name for name in wanted]

    monkeypatch.setattr(ensembles.importlib, "import_module", lambda name: modules[name])
    monkeypatch.setattr(ensembles.importlib.util, "find_spec", lambda name: name)
    return make


def scan(shape=(4, 3, 2)):
    return volume.from_array(np.zeros(shape, np.float32))


def test_the_mean_decides_and_the_first_network_names_the_values(runs):
    weights = runs(
        a=("one", network({600: "RV", 200: "LV"}, [0.6, 0.4])),
        b=("other", network({1: "lv", 2: "rv"}, [0.7, 0.3])),  # other values, other order, other case
    )
    found = ensembles.predict(ensembles.load(weights, "one"), scan())
    assert (found.array == 200).all()  # LV: 0.4 + 0.7 against 0.6 + 0.3
    found = ensembles.predict(ensembles.load(weights[::-1], "one"), scan((4, 3, 2, 2)))
    assert found.array.shape == (4, 3, 2, 2) and (found.array == 1).all()


def test_what_a_network_did_not_see_is_background(runs):
    blind, sure = network({1: "LV"}, [0.0]), network({1: "LV"}, [0.9], 0.1)
    assert not ensembles.predict(ensembles.load(runs(a=("one", blind), b=("one", sure)), "one"), scan()).array.any()
    weights = runs(a=("one", blind), b=("one", sure), c=("one", sure))
    assert ensembles.predict(ensembles.load(weights, "one"), scan()).array.all()  # 1.8 against 1.2


def test_at_the_edge_of_what_a_network_saw_its_shares_count(runs):
    edge, other = network({1: "LV", 2: "RV"}, [0.2, 0.1]), network({1: "LV", 2: "RV"}, [0.3, 0.45], 0.25)
    found = ensembles.predict(ensembles.load(runs(a=("one", edge), b=("one", other)), "one"), scan())
    assert (found.array == 1).all()  # 2/3 + 0.3 against 1/3 + 0.45; without shares 0.5 against 0.55


def test_the_rule_of_the_first_network_cleans(runs):
    weights = runs(a=("clean", network(HEART, [0.9, 0.05, 0.05])), b=("one", network(HEART, [0.9, 0.05, 0.05])))
    assert not ensembles.predict(ensembles.load(weights, "one"), scan()).array.any()
    assert ensembles.predict(ensembles.load(weights[::-1], "one"), scan()).array.all()
    other = runs(c=("clean", network(HEART, [0.9, 0.05, 0.05], removed=2)))
    assert ensembles.predict(ensembles.load([*other, *weights], "one"), scan()).array.all()
    assert not ensembles.predict(ensembles.load([*weights, *other], "one"), scan()).array.any()


def test_networks_that_cannot_be_averaged(runs):
    weights = runs(a=("one", network(HEART, [0.1] * 3)), b=("one", network({1: "LV"}, [0.5])))
    with pytest.raises(InputError, match="b: it labels LV, but .*a labels RV, Myo, LV; only networks with the same structures"):
        ensembles.load(weights, "one")
    weights = runs(a=("one", network(HEART, [0.1] * 3)), w=("walls", network(HEART, [0.1] * 3)))
    with pytest.raises(InputError, match="w: walls gives no probabilities"):
        ensembles.load(weights, "one")


def test_the_command_takes_weights_again_and_again(runs, tmp_path, capsys):
    weights = runs(a=("one", network({1: "LV"}, [0.4], 0.6)), b=("one", network({1: "LV"}, [0.9], 0.1)))
    volume.write(scan(), tmp_path / "s.nii.gz")

    def command(*words):
        options = prediction_command.parser("paper", "", "").parse_args([*map(str, words), "-o", str(tmp_path / "out.nii.gz")])
        alone = lambda segmenter, scan, path: scan.with_array(np.full(scan.array.shape, 9, np.uint8))  # noqa: E731
        prediction_command.command(options, lambda path: network({9: "LV"}, [1.0]), alone)
        return volume.read_labels(tmp_path / "out.nii.gz").array

    assert (command("--weights", weights[0], "--weights", weights[1], tmp_path / "s.nii.gz") == 1).all()
    assert (command("--weights", weights[0], tmp_path / "s.nii.gz") == 9).all()


def brightest_first_row(segmenter, scan):
    """LV in the first row of a bright scan: a network that depends on which way round its scan is."""
    found = np.zeros((*scan.array.shape, 2), np.float32)
    found[..., 0] = 1
    found[0, ..., :] = [0.0, 1.0] if scan.array.mean() > 0 else [0.9, 0.1]
    return found


def test_a_network_is_joined_by_itself_on_mirrored_scans(runs, monkeypatch):
    segmenter = types.SimpleNamespace(structures={1: "LV"}, axes=(0, 1))
    weights = runs(a=("one", segmenter))
    module = ensembles.importlib.import_module("one.predict")
    module.chances, module.mirrored_axes = brightest_first_row, lambda segmenter: segmenter.axes
    ensemble = ensembles.load(weights, "one", flips=True)
    bright = volume.from_array(np.ones((4, 3, 2), np.float32))
    shares = sum(member.chances(member.segmenter, bright)[..., 1] for member in ensemble.members)
    np.testing.assert_array_equal(shares[:, 0, 0], [2, 0, 0, 1])  # as it is and mirrored along y; mirrored along x
    assert (ensembles.predict(ensemble, bright).array[:, 0, 0] == [1, 0, 0, 0]).all()
    assert len(ensembles.last_alone(ensemble).members) == 1
    np.testing.assert_array_equal(ensembles.predict(ensembles.last_alone(ensemble), bright).array[:, 0, 0], [1, 0, 0, 0])


def test_flips_are_for_networks_that_learned_from_mirrored_images(runs):
    weights = runs(a=("one", network({1: "LV"}, [0.9])))
    with pytest.raises(InputError, match="--flips is for networks that learned from mirrored images"):
        ensembles.load(weights, "one", flips=True)
