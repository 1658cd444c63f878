"""Every paper's quick preset trains and predicts, and activation maps are taken, under JAX on a machine without TensorFlow."""

import importlib
import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from dr_unet import gcam
from shared.files import read_csv
from shared.scans import volume
from tests.dr_unet import plain_numpy

WITHOUT_TENSORFLOW = """
import json, sys
for name in ("tensorflow", "tensorboard"):
    sys.modules[name] = None  # importing it raises ImportError
import importlib
package, *commands = sys.argv[1:]
for command, arguments in zip(("train", "predict"), map(json.loads, commands)):
    importlib.import_module(f"{package}.{command}").main(arguments)
assert "torch" not in sys.modules
"""
ACTIVATION_MAPS = """
import sys
for name in ("tensorflow", "tensorboard"):
    sys.modules[name] = None
import keras
import numpy as np
from dr_unet import gcam
from tests.dr_unet import plain_numpy
assert keras.backend.backend() == "jax"
model, image = plain_numpy.small_network(), plain_numpy.image((4, 5, 6))
maps = {layer: gcam.foreground_map(model, image, layer) for layer in sys.argv[2:]}
head = model.get_layer("logits")
centred = np.asarray(model(image[None], training=False))[0] - np.asarray(head.bias)
maps["centred"] = np.maximum(centred[..., 1:].max(axis=-1), 0)
np.savez(sys.argv[1], **maps)
"""

needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="the jax extra is not installed")


RUNS = {  # package -> experiment, fields of its quick recipe that make it train in seconds, share of the first loss at the end
    "acdc_segmenter_tf": ("unet2d_modified_wxent", {"steps": 40, "validate_every": 10, "width": 8, "image_shape": "52,52",
                          "batch_size": 4, "warmup_steps": 0}, 0.8),
    "dense_unet": ("dense_half_wce_dice", {"epochs": 3, "width": 4, "dense_layers": "1,1,1,1", "size": 48, "spacing_mm": 4.8,
                   "learning_rate": 0.005}, 1.0),
    "dr_unet": ("dr_unet_f32", {"epochs": 3, "width": 2, "batch_size": 4, "spacing_mm": "5,5,10", "image_shape": "32,32,16",
                "localiser_factors": "2,2,1", "localiser_shape": "16,16,16"}, 1.0),
    "two_stage_unet": ("two_stage", {"structures": "RV,Myo,LV", "iterations": "4,4,4,4", "validate_every": 2, "net1_width": 2,
                       "net2_width": 2, "coarse_mm": 8, "fine_mm": 6, "slices": 3, "edges": "16", "cubes": "1", "net1_edge": 16,
                       "stacks": 1, "folds": 2}, 2.0),
    "propagation": ("propagation", {"initialization_steps": 4, "propagation_steps": 4, "validate_every": 2, "size": 32,
                    "spacing_mm": 5, "initialization_groups": "1,1,1", "initialization_channels": "4,4,4",
                    "propagation_groups": "1,1", "propagation_channels": "4,4"}, 1.0),
}  # fmt: skip


SLOW = ("dense_unet", "dr_unet", "two_stage_unet")


@needs_jax
@pytest.mark.parametrize("package", [pytest.param(each, marks=pytest.mark.slow) if each in SLOW else each for each in RUNS])
def test_jax_trains_and_predicts_without_tensorflow(package, phantom_root, phantom_cases, tmp_path):
    experiment, changes, share = RUNS[package]
    settings = [text for field, value in changes.items() for text in ("--set", f"{field}={value}")]
    settings += ["--experiment", experiment, "--set", "precision=float32"]
    data = ["--dataset", "acdc", "--data-root", str(phantom_root), "--preset", "quick", "--workdir", str(tmp_path)]
    folder = tmp_path / package / f"{experiment}-quick" / "acdc" / "fold0"
    predict = ["--weights", str(folder), str(phantom_cases[0].image), "-o", str(tmp_path / "seg.nii.gz")]
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", WITHOUT_TENSORFLOW, package, json.dumps([*data, *settings]),
                            json.dumps(predict)], check=True, text=True, stdout=subprocess.PIPE,
                           env={**os.environ, "KERAS_BACKEND": "jax"})  # fmt: skip
    assert "done in" in ended.stdout
    losses = [row["loss"] for row in read_csv(folder / "history.csv")]
    assert losses[-1] < share * losses[0]
    under_jax = volume.read_labels(tmp_path / "seg.nii.gz").array
    prediction = importlib.import_module(f"{package}.predict")
    under_tensorflow = prediction.predict(prediction.load(folder), volume.read(phantom_cases[0].image)).array
    assert len(np.unique(under_jax)) > 1
    assert np.mean(under_jax != under_tensorflow) < 0.001  # rounding may turn a voxel on a border


@needs_jax
def test_activation_maps_under_jax(tmp_path):
    """At the last layer ReLU(logit - bias), elsewhere those of the backend of these tests."""
    layers = ["features", "deep"]
    subprocess.run([sys.executable, "-W", "ignore", "-c", ACTIVATION_MAPS, str(tmp_path / "maps.npz"), *layers], check=True,
                   env={**os.environ, "KERAS_BACKEND": "jax"})  # fmt: skip
    model, image = plain_numpy.small_network(), plain_numpy.image((4, 5, 6))
    with np.load(tmp_path / "maps.npz") as found:
        largest = found["centred"].max()
        assert largest > 0
        np.testing.assert_allclose(found["features"], found["centred"], rtol=0, atol=1e-5 * largest)
        for layer in layers:
            expected = gcam.foreground_map(model, image, layer)
            assert expected.max() > 0
            np.testing.assert_allclose(found[layer], expected, rtol=0, atol=1e-4 * expected.max(), err_msg=layer)
