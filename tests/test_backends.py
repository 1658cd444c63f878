"""The quick preset trains and predicts under JAX on a machine without TensorFlow."""

import importlib.util
import os
import subprocess
import sys

import pytest

WITHOUT_TENSORFLOW = """
import sys
for name in ("tensorflow", "tensorboard"):
    sys.modules[name] = None  # importing it raises ImportError
from acdc_segmenter_tf import predict, train
arguments = sys.argv[1:]
(train if arguments[0] == "train" else predict).main(arguments[1:])
assert "torch" not in sys.modules
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="the jax extra is not installed")
def test_jax_trains_and_predicts_without_tensorflow(phantom_root, phantom_cases, tmp_path):
    def run(*arguments):
        return subprocess.run([sys.executable, "-W", "ignore", "-c", WITHOUT_TENSORFLOW, *arguments], check=True, text=True,
                              env={**os.environ, "KERAS_BACKEND": "jax"}, stdout=subprocess.PIPE).stdout  # fmt: skip

    output = run("train", "--dataset", "acdc", "--data-root", str(phantom_root), "--preset", "quick", "--workdir", str(tmp_path),
                 "--set", "steps=30", "--set", "validate_every=15", "--set", "width=4", "--set", "image_shape=84,84",
                 "--set", "batch_size=4")  # fmt: skip
    folder = tmp_path / "acdc_segmenter_tf/unet2d_modified_wxent-quick/acdc/fold0"
    assert "done in" in output
    losses = [float(line.split(",")[3]) for line in (folder / "history.csv").read_text().splitlines()[1:]]
    assert losses[-1] < 0.8 * losses[0]
    run("predict", "--weights", str(folder), str(phantom_cases[0].image), "-o", str(tmp_path / "seg.nii.gz"))
    assert (tmp_path / "seg.nii.gz").stat().st_size > 0
