"""Volumes whose voxels tell where they are, and what tests ask of volumes that were read."""

import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from shared.errors import InputError
from shared.scans import volume
from shared.scans.volume import RAS_FROM_LPS, Volume, from_array
from tests.geometry import rotation


def placed(array, spacing_mm, axes, origin_mm, frame_s=0.0):
    """A volume whose unit axes in RAS are the columns of `axes`."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(axes) * spacing_mm
    affine[:3, 3] = origin_mm
    return Volume(array, tuple(map(float, spacing_mm)), affine, frame_s)


def counting(shape, dtype=np.int16):
    """Every voxel has another value."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def oblique(shape=(5, 4, 3), dtype=np.int16, frame_s=0.0):
    """Axes that follow the slices' normal, so that DICOM can hold them."""
    axes = RAS_FROM_LPS @ rotation(25, -40, 70)
    return placed(counting(shape, dtype), (1.25, 1.5, 8.0), axes, (-31.5, 20.25, 60.75), frame_s)


def line(*values):
    """A row of label voxels (n, 1, 1)."""
    return np.array(values, np.uint8).reshape(-1, 1, 1)


def write_labels(path, array, spacing_mm=(1.0, 1.0, 10.0)):
    """Write a label map, and the folders above it; returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    volume.write(from_array(array, spacing_mm), path)
    return path


def assert_same(found, expected):
    assert found.array.shape == expected.array.shape
    assert found.array.dtype == expected.array.dtype
    np.testing.assert_array_equal(found.array, expected.array)
    assert isinstance(found.spacing_mm, tuple) and len(found.spacing_mm) == 3
    np.testing.assert_allclose(found.spacing_mm, expected.spacing_mm, rtol=1e-5)
    np.testing.assert_allclose(found.affine, expected.affine, rtol=1e-5, atol=1e-3)
    assert found.frame_s == pytest.approx(expected.frame_s, rel=1e-5)


def refusal(path, read=volume.read, name=None):
    """The message of the InputError that reading `path` raises: one line with the file's name, and no warning before it."""
    with warnings.catch_warnings(), pytest.raises(InputError) as raised:
        warnings.simplefilter("error")
        read(path)
    message = str(raised.value)
    assert "\n" not in message and len(message) < 400  # of which the folder of the test takes up to a hundred
    assert (name or Path(path).name) in message
    return message


def positions_mm(array, affine):
    """RAS position of the voxel with each value."""
    where = np.argsort(array, axis=None)
    return np.stack(np.unravel_index(where, array.shape), axis=1) @ affine[:3, :3].T + affine[:3, 3]


def itk_positions_mm(path):
    image = sitk.ReadImage(str(path))
    indices = {image[index]: index for index in itertools.product(*map(range, image.GetSize()))}
    return np.array([image.TransformIndexToPhysicalPoint(indices[value]) for value in sorted(indices)]) @ RAS_FROM_LPS
