"""A second opinion about the scan moved by some voxels."""

from pathlib import Path

import numpy as np
import pytest

from shared.doubt import second
from shared.scans.volume import from_array


def test_moved_and_back():
    array = np.arange(20 * 16 * 2).reshape(20, 16, 2)
    there = second.moved(array, (0, 1), (6, -5))
    np.testing.assert_array_equal(there[6:, :-5], array[:-6, 5:])
    assert (there[0] == there[6]).all() and (there[:, -1] == there[:, -6]).all()
    np.testing.assert_array_equal(second.moved(there, (0, 1), (-6, 5))[:-6, 5:], array[:-6, 5:])


@pytest.mark.parametrize("shape", [(20, 16, 3), (20, 16, 3, 2)])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 8.0), (8.0, 1.0, 1.0)])
def test_a_network_that_moves_along_gives_the_same_label_map(shape, spacing_mm):
    grey = np.zeros(shape)
    grey[8:11, 7:10, 1] = 1 if spacing_mm[2] == 8 else 0
    grey[1, 7:10, 1:2] = 1 if spacing_mm[0] == 8 else 0
    scan = from_array(grey, spacing_mm)
    seen = []

    def predict(scan, path):
        seen.append(scan.array)
        return scan.with_array((scan.array > 0).astype(np.uint8))

    again = second.of(predict)(scan, Path())
    if spacing_mm[2] == 8:
        np.testing.assert_array_equal(again.array, grey)
        assert not np.array_equal(seen[0], grey)
    assert seen[0].shape == shape and again.spacing_mm == spacing_mm
    assert np.array_equal(seen[0].any(axis=(0, 1)), grey.any(axis=(0, 1))) == (spacing_mm[2] == 8)  # slices stay where they are
