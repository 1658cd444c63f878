"""What a notebook user types: the packages import at once, and the examples in their docstrings run as they stand."""

import importlib
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from shared import recipes
from shared.files import write_json
from shared.scans import volume

ROOT = Path(__file__).parents[1]
RUNS = {  # package -> run folder and experiment of its example, fields that make its networks small, folder -> stage, structures
    "acdc_segmenter_tf": (
        "runs/acdc_segmenter_tf/unet2d_modified_wxent-quick/acdc/fold0", "unet2d_modified_wxent",
        {"width": 2, "image_shape": (36, 36)}, {"": None}, {1: "RV", 2: "Myo", 3: "LV"},
    ),
    "dense_unet": (
        "runs/dense_unet/dense_half_wce-quick/acdc/fold0", "dense_half_wce",
        {"width": 2, "growth": 2, "size": 48, "spacing_mm": 4.0}, {"": None}, {3: "LV", 1: "RV", 2: "Myo"},
    ),
    "dr_unet": (
        "runs/dr_unet/multi_stage_f8-quick/lasc/fold0", "multi_stage_f8",
        {"width": 2, "localiser_width": 2, "spacing_mm": (5.0, 5.0, 10.0), "image_shape": (32, 32, 16),
         "localiser_factors": (2, 2, 1), "localiser_shape": (16, 16, 16), "crop_shape": (24, 24, 16)},
        {"": "segmenter", "localiser": "localiser"}, {255: "LA"},
    ),
    "two_stage_unet": (
        "runs/two_stage_unet/two_stage-quick/mmwhs_ct/fold0", "two_stage",
        {"structures": ("LV",), "net1_width": 1, "net2_width": 1, "coarse_mm": 8.0, "fine_mm": 6.0, "slices": 3, "steps": (1, 4)},
        {"": "net2", "step1": "net1"}, {500: "LV"},
    ),
    "propagation": (
        "runs/propagation/propagation-quick/acdc/fold0", "propagation",
        {"size": 32, "spacing_mm": 5.0, "initialization_groups": (1, 1, 1), "initialization_channels": (2, 2, 2),
         "propagation_groups": (1, 1), "propagation_channels": (2, 2)},
        {"": "propagation", "initialization": "initialization"}, {1: "BV"},
    ),
}  # fmt: skip


def untrained_run(package):
    """Write the run folder of a package's example, with random weights."""
    folder, experiment, changes, stages, structures = RUNS[package]
    module = importlib.import_module(package)
    recipe = recipes.replace(module.RECIPES[experiment], precision="float32", **changes)
    for stage_folder, stage in stages.items():
        (Path(folder) / stage_folder).mkdir(parents=True, exist_ok=True)
        network = module.network(recipe, stage) if stage else module.network(recipe)
        network.save_weights(Path(folder) / stage_folder / "best.weights.h5")
    write_json(Path(folder) / "run.json", {"package": package, "recipe": recipes.flat(recipe), "structures": structures})


@pytest.mark.parametrize("package", RUNS)
def test_the_example_in_the_docstring_runs(package, phantom_cases, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    untrained_run(package)
    (tmp_path / "scan.nii.gz").write_bytes(phantom_cases[0].image.read_bytes())
    paragraphs = importlib.import_module(package).__doc__.split("\n\n")
    (example,) = (textwrap.dedent(text) for text in paragraphs if text.startswith("    "))
    assert len(example.splitlines()) == 5
    exec(example, {})
    (written,) = tmp_path.glob("*[!n].nii.gz")
    scan, labels = volume.read(tmp_path / "scan.nii.gz"), volume.read_labels(written)
    np.testing.assert_array_equal(labels.affine, scan.affine)
    assert labels.array.shape == scan.array.shape and set(np.unique(labels.array)) <= {0, *RUNS[package][-1]}


def test_importing_a_package_and_its_recipes_loads_no_framework():
    code = f"""
import importlib, sys
for package in {list(RUNS)}:
    module = importlib.import_module(package)
    assert {{"RECIPES", "build", "load", "network", "predict"}} <= set(dir(module))
    assert callable(module.predict) and module.predict is sys.modules[package + ".predict"]
    exec(f'from {{package}} import RECIPES, build, load, network, predict')
    assert module.RECIPES and callable(module.load) and callable(module.build) and callable(module.predict)
    try:
        module.absent
    except AttributeError:
        continue
    raise SystemExit("a name that is not there")
print([name for name in ("keras", "tensorflow", "jax", "matplotlib") if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


def test_build_is_that_of_the_model():
    assert importlib.import_module("acdc_segmenter_tf").build("unet2d", (36, 36), 4, 2).output.shape == (None, 36, 36, 4)


@pytest.mark.parametrize("package", RUNS)
def test_predict_is_a_function_and_the_module_of_the_command(package):
    predict = importlib.import_module(f"{package}.predict")
    assert callable(predict) and importlib.import_module(package).predict is predict
    with pytest.raises(TypeError, match=r"predict\(\) missing 2 required positional arguments: 'segmenter' and 'scan'"):
        predict()
