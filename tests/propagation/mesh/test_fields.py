"""The function behind a surface: the cavities that it keeps apart, and sizes that it refuses."""

import numpy as np
import pytest

from propagation.mesh.fields import cavities, field
from shared.errors import InputError
from shared.scans.volume import from_array
from tests.propagation.mesh.shapes import ball


def test_holes_of_one_cavity():
    hollow = np.zeros((20, 12, 3), bool)
    hollow[1:5, 1:5, 0] = hollow[4:8, 1:5, 1] = hollow[7:11, 1:5, 2] = True  # a quarter overlaps, and nothing else does
    hollow[6:18, 6:12, :2] = True
    hollow[13:18, 5:9, 2] = True
    hollow[17:19, 1:3, 0] = True  # a crumb by itself
    found = sorted(cavities(hollow), key=np.count_nonzero)
    assert [np.count_nonzero(one, axis=(0, 1)).tolist() for one in found] == [[4, 0, 0], [16, 16, 16], [72, 72, 20]]
    np.testing.assert_array_equal(np.sum(found, axis=0), hollow)
    assert cavities(np.zeros((3, 3, 3), bool)) == []


@pytest.mark.parametrize(("sizes", "words"), [
    ({"step_mm": 11.0}, "step of 11 mm: expected more than 0 and at most the solid's 10 mm"),
    ({"step_mm": float("inf")}, "step of inf mm"), ({"step_mm": 1e-30}, "a step of 1e-30 mm and a smoothing of 1 mm would take"),
    ({"smoothing_mm": 1000.0}, "smoothing of 1000 mm"), ({"smoothing_mm": float("nan")}, "smoothing of nan mm"),
    ({"step_mm": 0.1, "smoothing_mm": 10.0}, "would take 1e.09 samples, more than 1e.08; expected a longer step"),
])  # fmt: skip
def test_sizes_that_would_take_all_time_and_memory_are_refused(sizes, words):
    with pytest.raises(InputError, match=words):
        field(from_array(ball(5.5, (16, 16, 16)).astype(bool)), **sizes)
