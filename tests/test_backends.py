"""The quick preset trains and predicts, and activation maps are taken, under JAX on a machine without TensorFlow."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from acdc_segmenter_tf import predict as prediction
from dr_unet import gcam
from shared import volume
from shared.files import read_csv
from tests.dr_unet import plain_numpy

WITHOUT_TENSORFLOW = """
import sys
for name in ("tensorflow", "tensorboard"):
    sys.modules[name] = None  # importing it raises ImportError
from acdc_segmenter_tf import predict, train
arguments = sys.argv[1:]
(train if arguments[0] == "train" else predict).main(arguments[1:])
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


@needs_jax
def test_jax_trains_and_predicts_without_tensorflow(phantom_root, phantom_cases, tmp_path):
    def run(*arguments):
        return subprocess.run([sys.executable, "-W", "ignore", "-c", WITHOUT_TENSORFLOW, *arguments], check=True, text=True,
                              env={**os.environ, "KERAS_BACKEND": "jax"}, stdout=subprocess.PIPE).stdout  # fmt: skip

    changes = {"steps": 80, "validate_every": 20, "width": 8, "image_shape": "52,52", "batch_size": 4, "warmup_steps": 0,
               "precision": "float32"}  # fmt: skip
    settings = [text for field, value in changes.items() for text in ("--set", f"{field}={value}")]
    data = ["--dataset", "acdc", "--data-root", str(phantom_root), "--preset", "quick", "--workdir", str(tmp_path)]
    assert "done in" in run("train", *data, *settings)
    folder = tmp_path / "acdc_segmenter_tf/unet2d_modified_wxent-quick/acdc/fold0"
    losses = [row["loss"] for row in read_csv(folder / "history.csv")]
    assert losses[-1] < 0.8 * losses[0]

    run("predict", "--weights", str(folder), str(phantom_cases[0].image), "-o", str(tmp_path / "seg.nii.gz"))
    under_jax = volume.read_labels(tmp_path / "seg.nii.gz").array
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
