"""What the paper's preparation does to LASC itself; needs the challenge's training set in $CARDIAC_DATA/lasc."""

import os
from pathlib import Path

import numpy as np
import pytest

from dr_unet import predict as prediction
from dr_unet.recipe import LASC
from shared import datasets
from shared.datasets import splits


@pytest.fixture(scope="module")
def cases():
    root = Path(os.environ.get("CARDIAC_DATA", "")) / "lasc"
    if not os.environ.get("CARDIAC_DATA") or not root.is_dir():
        pytest.skip("no LASC: the environment variable CARDIAC_DATA names the folder that holds lasc/")
    return datasets.find("lasc", root)


def test_a_fifth_of_the_patients_is_held_out_in_every_fold(cases):
    assert len(cases) == 40
    folds = [splits.hold_out(cases, LASC.test_parts, LASC.folds, fold, LASC.split_seed) for fold in range(LASC.folds)]
    assert {split.test for split in folds} == {folds[0].test} and len(folds[0].test) == 8
    validated = sorted(patient for split in folds for patient in split.validation)
    assert validated == sorted({case.patient for case in cases} - set(folds[0].test))


def test_the_working_grid_keeps_every_voxel_of_the_atrium(cases):
    image, labels = datasets.load_pair(cases[0], LASC.preparation.structures)
    prepared, classes = prediction.prepare(image, LASC.preparation), prediction.prepare_labels(labels, LASC.preparation)
    assert prepared.array.shape == classes.array.shape == (576, 576, 88)
    np.testing.assert_allclose(prepared.spacing_mm, 0.625, rtol=1e-4)
    np.testing.assert_allclose(prepared.affine, classes.affine)
    assert np.count_nonzero(classes.array) == np.count_nonzero(labels.array) > 0
