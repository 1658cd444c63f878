"""Which voxels are meshed, and label maps that cannot be."""

import numpy as np
import pytest

from propagation.mesh.labels import structures
from shared.errors import InputError
from shared.scans.volume import Volume, from_array


def test_only_the_largest_part_of_a_label_stays():
    array = np.zeros((12, 6, 6), np.uint8)
    array[1:5, 1:5, 1:5], array[7:9, 1:3, 1:3], array[9:11, 3:5, 3:5] = 1, 1, 2
    assert np.count_nonzero(structures(from_array(array)).array == 1) == 64
    assert np.count_nonzero(structures(from_array(array), largest=False).array == 1) == 72
    assert set(np.unique(structures(from_array(array), [2]).array)) == {0, 2}


@pytest.mark.parametrize(
    "array, values, message",
    [
        (np.zeros((4, 4, 4), np.uint8), None, "is empty"),
        (np.ones((4, 4, 4), np.uint8), [1, 7], "label 7: not in the label map, which holds 1$"),
        (np.ones((4, 4, 4), np.uint8), [0], "label 0: not in the label map"),
        (np.arange(216, dtype=np.uint8).reshape(6, 6, 6), None, "215 different values: this is a scan"),
        (np.full((4, 4, 4), 0.5), None, "whole numbers, found float64"),
        (np.ones((4, 4), np.uint8), None, r"3D label map, found shape \(4, 4\)"),
        (np.ones((4, 4, 4, 2), np.uint8), None, "one frame of a cine"),
        (np.ones((4, 4, 1), np.uint8), None, "label 1: one voxel thin along z"),
        (np.pad(np.ones((1, 1, 1), np.uint8), 2), None, "label 1: one voxel thin along x, y, z"),
    ],
)
def test_label_maps_that_cannot_be_meshed(array, values, message):
    with pytest.raises(InputError, match=message):
        structures(Volume(array, (1.0, 1.0, 1.0), np.eye(4)), values)
