"""Trained networks for other programs."""

import json

import numpy as np
import pytest

from shared import export
from shared.errors import InputError
from shared.framework import keras
from shared.learning import layers

pytest.importorskip("tf2onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def run(tmp_path_factory, phantom_cases):
    """A run of one step."""
    from acdc_segmenter_tf import train
    from tests.conftest import shrunk
    from tests.experiments import baumgartner

    folder = tmp_path_factory.mktemp("run")
    return train.train(shrunk(steps=1, validate_every=1), phantom_cases, baumgartner(folder))


def test_onnx_gives_what_keras_gives_and_says_how_to_feed_it(run, tmp_path, capsys):
    (path,) = export.export(run, tmp_path / "model.onnx")
    from acdc_segmenter_tf import predict

    segmenter = predict.load(run)
    image = np.random.default_rng(1).normal(size=(2, *segmenter.model.inputs[0].shape[1:])).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: image})[0]
    wanted = np.asarray(segmenter.model(image, training=False))
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
    about = json.loads((tmp_path / "model.onnx.json").read_text())
    assert about["output"]["classes"] == ["background", "RV", "Myo", "LV"] and about["values_on_disk"] == {
        "RV": 1,
        "Myo": 2,
        "LV": 3,
    }
    assert about["input"]["axes"] == ["batch", "x", "y", "channel"] and about["recipe"]["width"] == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model.onnx", "model.onnx.json"]
    assert "of Keras, as a share of the largest logit" in capsys.readouterr().out


def test_a_saved_model_gives_what_keras_gives(run, tmp_path):
    import tensorflow as tf

    from acdc_segmenter_tf import predict

    (path,) = export.export(run, tmp_path / "saved")
    model = predict.load(run).model
    image, loaded = export.example(model), tf.saved_model.load(str(path))
    np.testing.assert_allclose(loaded.serve(image), model(image, training=False), atol=1e-5)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["saved", "saved.json"]


def test_several_networks_are_several_files(run, tmp_path, monkeypatch):
    from acdc_segmenter_tf import predict

    one = predict.load(run).model
    monkeypatch.setattr(export, "networks_of", lambda segmenter: {"coarse": one, "fine": one})
    assert [path.name for path in export.export(run, tmp_path / "model.onnx")] == ["model_coarse.onnx", "model_fine.onnx"]


def test_a_network_that_differs_is_not_written(run, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "AGREES", -1.0)
    with pytest.raises(InputError, match="differs from Keras by .* it is not written"):
        export.export(run, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "words"), [
    ("model.pb", "expected a name that ends in .onnx"), ("none/model.onnx", "no such folder"), ("there", "is there already"),
])  # fmt: skip
def test_names_that_cannot_be_written(run, tmp_path, name, words):
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match=words):
        export.export(run, tmp_path / name)


def test_a_name_that_is_taken_is_refused_before_anything_is_exported(run, tmp_path):
    """The JSON file of a SavedModel called `run` would replace a run's own."""
    for taken, output in (("model.onnx", "model.onnx"), ("model.onnx.json", "model.onnx"), ("run.json", "run")):
        (tmp_path / taken).write_text("mine")
        with pytest.raises(InputError, match=f"{taken}: is there already; choose another --output"):
            export.export(run, tmp_path / output)
        assert [each.read_text() for each in tmp_path.iterdir()] == ["mine"]
        (tmp_path / taken).unlink()


def test_what_a_killed_export_left_goes(run, tmp_path):
    (tmp_path / ".exporting-model.onnx").mkdir()
    export.export(run, tmp_path / "model.onnx")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model.onnx", "model.onnx.json"]


def test_one_channel_is_said_to_be_one_logit(run):
    from acdc_segmenter_tf import predict

    inputs = keras.Input((8, 8, 1))
    network = keras.Model(inputs, keras.layers.Conv2D(1, 1)(inputs))
    segmenter = predict.load(run)
    about = export.description("localiser", ["model", "localiser"], network, segmenter, predict, {})
    assert about["output"] == {
        "shape": [None, 8, 8, 1],
        "what": "one logit, above 0 where the class is",
        "classes": ["any structure"],
    }


def test_what_is_no_run(tmp_path):
    with pytest.raises(SystemExit) as ended:
        export.main([str(tmp_path), "-o", str(tmp_path / "model.onnx")])
    assert ended.value.code == 2


def test_instance_normalisation_is_exported_in_plain_operations():
    """TensorFlow's fused kernel, rebuilt by another runtime, is 1e-4 off where a channel has few voxels."""
    inputs = keras.Input((6, 6, 2))
    network = keras.Model(inputs, layers.InstanceNormalization(name="norm")(inputs))
    image = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype(np.float32)
    with layers.plain_operations():
        plain = np.asarray(network(image))
    wanted = (image - image.mean(axis=(1, 2), keepdims=True)) / np.sqrt(image.var(axis=(1, 2), keepdims=True) + 1e-3)
    np.testing.assert_allclose(plain, wanted, atol=1e-6)
    np.testing.assert_allclose(np.asarray(network(image)), wanted, atol=1e-5)
