"""What predictions cost: measured in a process of its own, once per weights, and kept."""

import subprocess
import sys
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from shared.comparison import cost
from shared.comparison.cost import Cost, Prediction
from shared.errors import InputError
from shared.files import read_json, write_json
from tests import toy_hearts

ALLOCATE = "import time; block = bytearray(200 * 2**20); time.sleep(0.3)"


def test_seconds_and_memory_of_a_command_are_its_own():
    """This process holds more memory than the command, and says nothing of it."""
    block = bytearray(400 * 2**20)
    seconds, memory_gib = cost.measure([sys.executable, "-c", ALLOCATE])
    assert 0.3 <= seconds < 20 and 0.2 < memory_gib < 0.35 and len(block)


def test_a_command_that_fails_is_refused_in_its_own_words():
    code = "import sys; print('error: no weights', file=sys.stderr); sys.exit(2)"
    with pytest.raises(InputError, match="no weights"):
        cost.measure([sys.executable, "-c", code])
    ended = subprocess.run([sys.executable, "-m", "shared.comparison.cost", sys.executable, "-c", code], capture_output=True)
    assert ended.returncode == 2


@pytest.fixture
def run(toy_cases, tmp_path):
    return toy_hearts.finish_run(tmp_path, "acdc_segmenter_tf", "net", toy_cases, toy_hearts.shifted)


@pytest.fixture
def measured(monkeypatch):
    """How often a prediction was measured."""
    asked = []
    monkeypatch.setattr(cost, "of_one", lambda module, folder, case: asked.append((module, case.name)) or (1.5, 0.25))
    monkeypatch.setattr(cost, "parameters_of", lambda segmenter: 42)
    monkeypatch.setattr(cost.provenance, "hardware", lambda: "two cores")
    return asked


PREDICT = SimpleNamespace(__name__="net.predict", load=lambda folder: None)


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_the_command_says_what_it_is_for(arguments):
    ended = subprocess.run([sys.executable, "-m", "shared.comparison.cost", *arguments], capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stderr.startswith("What a method costs") and "COMMAND..." in ended.stderr


def test_a_prediction_is_measured_once_for_its_weights(run, measured, toy_cases, tmp_path):
    assert cost.of_run("net", run, tmp_path, PREDICT, None) == Cost(90)  # seconds of training alone
    found = cost.of_run("net", run, tmp_path, PREDICT, toy_cases[0])
    assert (found.prediction.parameters, found.prediction.seconds, found.prediction.hardware) == (42, 1.5, "two cores")
    assert cost.of_run("net", run, tmp_path, PREDICT, toy_cases[1]) == found == cost.of_run("net", run, tmp_path, PREDICT, None)
    assert measured == [("net.predict", "patient001_ED")]
    write_json(run / "run.json", read_json(run / "run.json") | {"weights": {"w": "another"}})
    assert cost.of_run("net", run, tmp_path, PREDICT, None) == Cost(90)
    cost.of_run("rival", run, tmp_path, PREDICT, toy_cases[0])
    assert sorted(cost.kept(tmp_path)) == ["net", "rival"]


@pytest.mark.parametrize("content", [3, {"net": 3}, {"net": {"seconds": 1}}, [], {"net": {"extra": 1}}])
def test_a_damaged_file_is_refused(content, tmp_path):
    write_json(tmp_path / cost.KEPT, content)
    with pytest.raises(InputError, match="remove it to measure again"):
        cost.kept(tmp_path)


@pytest.mark.parametrize("change", [{"seconds": "fast"}, {"hardware": None}, {"hardware": ["cores"]}, {"case": 3}])
def test_numbers_and_texts_that_are_none_are_refused(change, tmp_path):
    write_json(tmp_path / cost.KEPT, {"net": asdict(Prediction(1, 1, 1, "case", "cores", "digest")) | change})
    with pytest.raises(InputError, match="remove it to measure again"):
        cost.kept(tmp_path)


def test_parameters_of_all_networks_that_predict():
    from shared.framework import keras

    dense = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert cost.parameters_of(SimpleNamespace(model=dense, localiser=None, recipe="recipe")) == 8
    assert (
        cost.parameters_of(SimpleNamespace(coarse=dense, net2=keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))) == 10
    )
