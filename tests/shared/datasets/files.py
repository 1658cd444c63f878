"""Small scans and label maps on disk, as data sets hold them, for tests."""

import os
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from shared import datasets
from shared.errors import InputError

AFFINE = np.diag([1.5, 1.5, 8.0, 1.0])


def write_nifti(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.asarray(array), AFFINE), path)
    return path


def write_nrrd(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.ascontiguousarray(np.asarray(array).T))
    image.SetSpacing((0.625, 0.625, 0.625))
    sitk.WriteImage(image, str(path))
    return path


def labels(*values):
    """(4, 3, 2), the given values first."""
    array = np.zeros((4, 3, 2), np.uint8)
    array.reshape(-1)[: len(values)] = values
    return array


def refusal(name, root, mentions=None):
    """The message of the InputError that finding the cases raises: one line that names the file, and no warning before it."""
    with warnings.catch_warnings(), pytest.raises(InputError) as raised:
        warnings.simplefilter("error")
        datasets.find(name, root)
    message = str(raised.value)
    assert "\n" not in message
    assert str(mentions or root) in message
    return message


def real(name):
    """The cases of the challenge's own files, where somebody has them."""
    root = Path(os.environ.get("CARDIAC_DATA", "")) / datasets.FOLDERS.get(name, name)
    if not os.environ.get("CARDIAC_DATA") or not root.is_dir():
        pytest.skip(f"no {name} data: the environment variable CARDIAC_DATA names the folder that holds {name}/")
    return datasets.find(name, root)
