"""Arrays through the network and back: every example once, in batches of one size."""

import numpy as np
import pytest

from shared.learning import inference


class Doubling:
    """Two classes; the logits are the voxel and its double."""

    def __init__(self):
        self.sizes = []

    def predict_on_batch(self, images):
        self.sizes.append(len(images))
        return np.concatenate([images, 2 * images], axis=-1)


@pytest.mark.parametrize(("count", "batch_size", "sizes"), [(7, 3, [3, 3, 3]), (6, 3, [3, 3]), (2, 10, [2]), (1, 1, [1])])
def test_probabilities(count, batch_size, sizes):
    images = np.random.default_rng(0).normal(0, 2, (count, 4, 3, 1)).astype(np.float32)
    model = Doubling()
    found = inference.probabilities(model, images, batch_size)
    assert model.sizes == sizes  # always as many, so that the network is compiled once
    assert found.shape == (count, 4, 3, 2) and found.dtype == np.float32
    np.testing.assert_allclose(found[..., 1], 1 / (1 + np.exp(-images[..., 0])), rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-6)


def test_softmax_of_large_logits():
    np.testing.assert_allclose(inference.softmax([[1000, 1000, -1000]]), [[0.5, 0.5, 0]])
    assert inference.softmax(np.zeros((2, 3), np.float64)).dtype == np.float32
