"""Arrays through the network and back: every example once, in batches of one size."""

import concurrent.futures
import time

import keras
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


@pytest.mark.parametrize("nesting", [dict, lambda inputs: tuple(inputs.values())], ids=["dict", "tuple"])
def test_probabilities_of_a_network_with_two_inputs(nesting):
    """The first class is the image times the example's weight, the second is zero."""
    inputs = {"image": keras.Input((4, 3, 1), name="image"), "weight": keras.Input((1, 1, 1), name="weight")}
    product = keras.layers.Multiply()([inputs["image"], inputs["weight"]])
    model = keras.Model(nesting(inputs), keras.layers.Concatenate()([product, keras.layers.Rescaling(0.0)(product)]))
    rng = np.random.default_rng(0)
    images, weights = (rng.normal(size=(5, *shape, 1)).astype(np.float32) for shape in ((4, 3), (1, 1)))
    found = inference.probabilities(model, nesting({"image": images, "weight": weights}), 2)
    assert found.shape == (5, 4, 3, 2)
    np.testing.assert_allclose(found[..., :1], 1 / (1 + np.exp(-images * weights)), rtol=1e-5)


def test_softmax_of_large_logits():
    np.testing.assert_allclose(inference.softmax([[1000, 1000, -1000]]), [[0.5, 0.5, 0]])
    assert inference.softmax(np.zeros((2, 3), np.float64)).dtype == np.float32


def test_threads_take_turns_with_a_network():
    """Under JAX, Keras donates the buffers of a network that predicts: a second call at the same time would find them gone."""
    inside, most = [], []

    class Network:
        def predict_on_batch(self, images):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()
            return images

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: inference.logits(Network(), np.zeros((1, 2, 2, 1)), 1), range(8)))
    assert max(most) == 1 and len(most) == 8
