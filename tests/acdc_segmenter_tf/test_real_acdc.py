"""What the paper's preparation does to ACDC itself; needs the challenge's training set in $CARDIAC_DATA/acdc."""

import os
from pathlib import Path

import numpy as np
import pytest

from acdc_segmenter_tf import predict as prediction
from acdc_segmenter_tf import train
from acdc_segmenter_tf.recipe import RECIPES
from shared import datasets
from shared.datasets import splits
from shared.scans import preprocess

STRUCTURES = ("RV", "Myo", "LV")


@pytest.fixture(scope="module")
def validation():
    """The 40 volumes of the 20 validation patients, as class indices."""
    root = Path(os.environ.get("CARDIAC_DATA", "")) / "acdc"
    if not os.environ.get("CARDIAC_DATA") or not root.is_dir():
        pytest.skip("no ACDC: the environment variable CARDIAC_DATA names the folder that holds acdc/")
    cases = datasets.find("acdc", root)
    return [datasets.load_labels(case, STRUCTURES) for case in splits.by_number(cases, 5, 0).of(cases, "validation")]


@pytest.mark.parametrize("experiment", ["unet2d_modified_wxent", "fcn8_wxent", "unet3d_modified_wxent"])
def test_no_labelled_voxel_falls_outside_the_crop(validation, experiment):
    preparation = RECIPES[experiment].preparation
    for labels in validation:
        spacing_mm, _ = prediction.network_grid(labels, preparation)
        resampled = preprocess.resample(labels, spacing_mm, 0, prediction.edge_rule(preparation))
        prepared = prediction.prepare_labels(labels, preparation)
        assert np.count_nonzero(prepared.array) == np.count_nonzero(resampled.array)


def test_a_perfect_2d_network_reaches_a_selection_dice_of_0_922(validation):
    preparation = RECIPES["unet2d_modified_wxent"].preparation
    slices = np.concatenate([np.moveaxis(prediction.prepare_labels(labels, preparation).array, 2, 0) for labels in validation])
    assert len(slices) == 386
    assert train.selection_dice(slices, slices, 4).mean() == pytest.approx(0.922, abs=0.0006)
