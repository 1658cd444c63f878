"""Labels as losses take them: classes that can be looked up, and which voxels count."""

import numpy as np
import pytest
from keras import ops

from shared.datasets import IGNORED
from shared.learning.losses import annotated


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float32])
def test_ignored_voxels_do_not_count_and_have_a_class_that_exists(dtype):
    labels = np.array([[[0, 1], [IGNORED, 3]]], dtype)
    classes, kept = map(ops.convert_to_numpy, annotated(labels))
    np.testing.assert_array_equal(kept, labels != IGNORED)
    np.testing.assert_array_equal(classes, [[[0, 1], [0, 3]]])
    assert np.issubdtype(classes.dtype, np.signedinteger)
