"""The paper's loss at values worked out by hand, its dead zone, and how it adds up."""

import keras
import numpy as np
import pytest
from keras import ops

from propagation.losses import MultiScale, stabilised_cross_entropy

# probability, label, loss: p' = 0.999 p + 0.0005, and nothing within 0.02 of the label
VALUES = [(0, 1, 7.600902), (1, 0, 7.600902), (0.5, 1, 0.693147), (0.5, 0, 0.693147), (0.9, 1, 0.105805), (0.1, 0, 0.105805),
          (0.98, 1, 0.020693), (0.979, 1, 0.021713), (0.99, 1, 0), (0.02, 0, 0.020693), (0.0196, 0, 0.020285),
          (0.0195, 0, 0)]  # fmt: skip


def pixel(p, g):
    return float(stabilised_cross_entropy(np.float32(g), np.float32(p)))


@pytest.mark.parametrize(("p", "g", "loss"), VALUES)
def test_values_by_hand(p, g, loss):
    assert pixel(p, g) == pytest.approx(loss, abs=2e-6)


def test_symmetric_in_label_and_background():
    for p in np.linspace(0, 1, 101):
        assert pixel(p, 1) == pytest.approx(pixel(1 - p, 0), abs=1e-5)


def test_no_gradient_close_to_the_label():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients of TensorFlow")
    import tensorflow as tf

    p = tf.constant([0.981, 0.999, 1.0, 0.979, 0.5, 0.0], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(p)
        loss = ops.sum(stabilised_cross_entropy(ops.ones(6), p))
    slopes = tape.gradient(loss, p).numpy()
    assert slopes[:3].tolist() == [0, 0, 0]
    np.testing.assert_allclose(slopes[3:], [-0.999 / (0.999 * q + 0.0005) for q in (0.979, 0.5, 0)], rtol=1e-5)


def test_pixels_masks_and_scales_add_up_and_the_batch_is_averaged():
    labels = np.zeros((2, 4, 4, 2), np.uint8)
    labels[0, :, :, 0] = 1  # of the first example the first mask is full, all else empty
    predicted = np.full((2, 4, 4, 4), 0.5, np.float32)  # two masks at scale 1, two at 1/2
    half = np.log(2)
    assert float(MultiScale(2)(labels, predicted)) == pytest.approx(2 * 16 * half + 2 * 4 * half, rel=1e-5)
    predicted[0, :, :, 0] = predicted[0, :, :, 2] = 1  # right at both scales, in one example
    assert float(MultiScale(2)(labels, predicted)) == pytest.approx((40 + 20) / 2 * half, rel=1e-5)


def test_coarse_labels_are_those_of_at_least_half_of_their_pixels():
    labels = np.zeros((1, 4, 4, 1), np.uint8)
    labels[0, 0, 0, 0] = 1  # a quarter of the first coarse pixel
    labels[0, 2:, 0, 0] = 1  # half of the third
    labels[0, 2:, 2:, 0] = 1  # all of the last
    wanted = [[0, 0], [1, 1]]
    predicted = np.concatenate([labels[..., 0, None], np.kron(wanted, np.ones((2, 2)))[None, ..., None]], axis=-1)
    assert float(MultiScale(2)(labels, predicted.astype(np.float32))) == 0
    predicted[0, :2, :2, 1] = 1
    assert float(MultiScale(2)(labels, predicted.astype(np.float32))) == pytest.approx(7.600902, rel=1e-5)
