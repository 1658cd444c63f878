"""Losses worked out by hand for a few pixels; what they say of classes that are not there."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from acdc_segmenter_tf import losses
from acdc_segmenter_tf.losses import CrossEntropy, PooledOverlap, SoftDice
from acdc_segmenter_tf.recipe import RECIPES, UNET2D_MODIFIED
from shared.datasets import IGNORED
from shared.recipes import replace
from tests.scalar_losses import gradient, value

TENSORFLOW = keras.backend.backend() == "tensorflow"

# Two images of two pixels, two classes: the first holds one pixel of each, the second foreground only.
LABELS = np.array([[[0, 1]], [[1, 1]]], np.uint8)  # (2, 1, 2)
FOREGROUND = np.array([[[0.2, 0.6]], [[0.5, 0.9]]])
# 2 sum(t y) / (sum t + sum y): of the background, then of the foreground
DICE = [[2 * 0.8 / (1 + 1.2), 2 * 0.6 / (1 + 0.8)], [0 / (0 + 0.6), 2 * 1.4 / (2 + 1.4)]]


def logits_of(probabilities):
    """Logits whose softmax is `probabilities`, shifted differently in every pixel."""
    probabilities = np.asarray(probabilities, float)
    shift = np.arange(probabilities[..., :1].size).reshape(probabilities[..., :1].shape)
    return (np.log(probabilities) + shift).astype(np.float32)


def two_classes(foreground=FOREGROUND):
    return logits_of(np.stack([1 - foreground, foreground], axis=-1))


def certain(labels, classes):
    """Logits of a network that is sure."""
    return (100 * np.eye(classes)[labels]).astype(np.float32)


# Cross entropy --------------------------------------------------------------------------------------------------------------

CHANCES = [[[[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]]]]  # (1, 1, 2, 3)
TRUE = np.array([[[0, 1]]], np.uint8)


def test_cross_entropy_by_hand():
    assert value(CrossEntropy(), TRUE, logits_of(CHANCES)) == pytest.approx(-(math.log(0.7) + math.log(0.6)) / 2, rel=1e-6)


def test_weighted_cross_entropy_is_a_plain_mean():
    expected = -(0.1 * math.log(0.7) + 0.3 * math.log(0.6)) / 2  # not divided by 0.1 + 0.3
    for weights in ([0.1, 0.3, 0.5], (0.1, 0.3, 0.5), np.array([0.1, 0.3, 0.5])):
        assert value(CrossEntropy(weights), TRUE, logits_of(CHANCES)) == pytest.approx(expected, rel=1e-6)


def test_weights_follow_the_true_class():
    logits = logits_of(CHANCES)
    assert value(CrossEntropy([1, 0, 0]), TRUE, logits) == pytest.approx(-math.log(0.7) / 2, rel=1e-6)
    assert value(CrossEntropy([0, 0, 1]), TRUE, logits) == 0
    assert value(CrossEntropy([2, 2, 2]), TRUE, logits) == pytest.approx(2 * value(CrossEntropy(), TRUE, logits), rel=1e-6)


def test_cross_entropy_is_the_mean_over_all_pixels_of_the_batch():
    expected = -(math.log(0.8) + math.log(0.6) + math.log(0.5) + math.log(0.9)) / 4
    assert value(CrossEntropy(), LABELS, two_classes()) == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_of_extreme_logits():
    labels = np.array([[[0, 1]]], np.uint8)
    logits = np.array([[[[1000, 0], [1000, 0]]]], np.float32)  # right, then as wrong as can be
    assert value(CrossEntropy(), labels, logits) == pytest.approx(500)


# Soft Dice ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("foreground_only", [True, False])
def test_soft_dice_by_hand(foreground_only):
    kept = [d for image in DICE for d in image[foreground_only:]]
    found = value(SoftDice(foreground_only=foreground_only), LABELS, two_classes())
    assert found == pytest.approx(1 - sum(kept) / len(kept), rel=1e-6)


def test_soft_dice_is_of_each_image_not_pooled():
    loss, logits = SoftDice(foreground_only=True), two_classes()
    alone = [value(loss, LABELS[i : i + 1], logits[i : i + 1]) for i in range(2)]
    assert alone == pytest.approx([1 - DICE[0][1], 1 - DICE[1][1]], rel=1e-6)
    assert value(loss, LABELS, logits) == pytest.approx(sum(alone) / 2, rel=1e-6)


def test_soft_dice_of_perfect_and_of_wrong():
    for foreground_only in (True, False):
        loss = SoftDice(foreground_only=foreground_only)
        labels = np.array([[[0, 1, 2, 1]], [[2, 0, 0, 1]]], np.uint8)
        assert value(loss, labels, certain(labels, 3)) == pytest.approx(0, abs=1e-6)
        assert value(loss, labels, certain((labels + 1) % 3, 3)) == pytest.approx(1, abs=1e-6)


def test_absent_class_counts_as_missed():
    """Even where the network is right about it: d = 0, as in the authors' code."""
    labels = np.array([[[0, 1, 1, 0]]], np.uint8)
    assert value(SoftDice(foreground_only=True), labels, certain(labels, 4)) == pytest.approx(1 - 1 / 3, rel=1e-6)
    assert value(SoftDice(foreground_only=False), labels, certain(labels, 4)) == pytest.approx(1 - 2 / 4, rel=1e-6)
    assert value(SoftDice(foreground_only=True), 0 * labels, certain(0 * labels, 4)) == 1


@pytest.mark.skipif(not TENSORFLOW, reason="takes TensorFlow's gradient")
def test_absent_class_has_no_gradient():
    labels = np.array([[[0, 0]], [[0, 1]]], np.uint8)
    found = gradient(SoftDice(foreground_only=True), labels, two_classes())
    np.testing.assert_array_equal(found[0], 0)  # the image without foreground
    assert (np.abs(found[1]) > 1e-3).all()


@pytest.mark.skipif(not TENSORFLOW, reason="takes TensorFlow's gradient")
def test_gradient_of_soft_dice_by_hand():
    """d = 2 y1 / (1 + y0 + y1) with the first pixel background: its slope in y0 is -2 y1 / (1 + y0 + y1)^2, and y(1 - y) in z."""
    labels = np.array([[[0, 1]]], np.uint8)
    y0, y1 = 0.2, 0.6
    total = 1 + y0 + y1
    slope0 = 2 * y1 / total**2 * y0 * (1 - y0)
    slope1 = -(2 / total - 2 * y1 / total**2) * y1 * (1 - y1)
    found = gradient(SoftDice(foreground_only=True), labels, two_classes(np.array([[[y0, y1]]])))
    np.testing.assert_allclose(found[0, 0], [[-slope0, slope0], [-slope1, slope1]], rtol=1e-5)


# Pooled overlap -------------------------------------------------------------------------------------------------------------


def test_pooled_overlap_by_hand():
    # one ratio of the batch, foreground: (0.6 + 1.4) / ((1 + 0.8) + (2 + 1.4))
    assert value(PooledOverlap(), LABELS, two_classes()) == pytest.approx(1 - 2.0 / 5.2, rel=1e-6)


def test_pooled_overlap_pools_classes_too():
    labels = np.array([[[1, 2]]], np.uint8)
    logits = logits_of([[[[0.1, 0.6, 0.3], [0.2, 0.1, 0.7]]]])
    assert value(PooledOverlap(), labels, logits) == pytest.approx(1 - (0.6 + 0.7) / (2 + 0.9 + 0.8), rel=1e-6)


def test_pooled_overlap_is_at_least_a_half():
    labels = np.array([[[0, 1, 2, 1]], [[2, 0, 0, 0]]], np.uint8)
    assert value(PooledOverlap(), labels, certain(labels, 3)) == pytest.approx(0.5, abs=1e-6)
    assert value(PooledOverlap(), labels, certain((labels + 1) % 3, 3)) == pytest.approx(1, abs=1e-6)
    for seed in range(20):
        random = np.random.default_rng(seed)
        logits = random.normal(0, 3, (2, 1, 4, 3)).astype(np.float32)
        assert 0.5 <= value(PooledOverlap(), labels, logits) <= 1


# Of a recipe ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("experiment", RECIPES)
def test_every_experiment_names_a_loss(experiment):
    assert losses.of(RECIPES[experiment]) is not None


def test_every_name_gives_its_loss():
    def of(name):
        return losses.of(replace(UNET2D_MODIFIED, loss=name))

    assert type(of("cross_entropy")) is type(of("weighted_cross_entropy")) is CrossEntropy
    assert of("cross_entropy").class_weights is None
    assert of("weighted_cross_entropy").class_weights == [0.1, 0.3, 0.3, 0.3]  # the paper's
    assert of("dice_foreground").foreground_only and not of("dice_all_classes").foreground_only
    assert isinstance(of("dice_paper_formula"), PooledOverlap)


# All of them ----------------------------------------------------------------------------------------------------------------

LOSSES = {
    "cross entropy": CrossEntropy(),
    "weighted": CrossEntropy([0.1, 0.3, 0.3]),
    "dice, foreground": SoftDice(foreground_only=True),
    "dice, all": SoftDice(foreground_only=False),
    "pooled overlap": PooledOverlap(),
}


@pytest.fixture(params=LOSSES.values(), ids=LOSSES.keys())
def loss(request):
    return request.param


def batch(shape=(2, 4, 3, 2), seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 3, shape, np.uint8), random.normal(0, 2, (*shape, 3)).astype(np.float32)


def test_bfloat16_logits_give_a_float32_loss(loss):
    labels, logits = batch()
    rounded = ops.cast(ops.convert_to_tensor(logits), "bfloat16")
    found = loss(labels, rounded)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    exact = value(loss, labels, ops.convert_to_numpy(ops.cast(rounded, "float32")))
    assert float(found) == pytest.approx(exact, rel=1e-6)  # bfloat16 alone would be off by some 1e-3


def test_3d_images_are_sums_over_voxels_like_2d_ones(loss):
    labels, logits = batch((2, 4, 3, 2))
    flat = value(loss, labels.reshape(2, 12, 2), logits.reshape(2, 12, 2, 3))
    assert value(loss, labels, logits) == pytest.approx(flat, rel=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float32])
def test_type_of_the_labels_does_not_matter(loss, dtype):
    labels, logits = batch()
    assert value(loss, labels.astype(dtype), logits) == value(loss, labels, logits)


def test_order_of_images_and_of_pixels_does_not_matter(loss):
    labels, logits = batch()
    assert value(loss, labels[::-1], logits[::-1]) == pytest.approx(value(loss, labels, logits), rel=1e-6)
    assert value(loss, labels[:, ::-1], logits[:, ::-1]) == pytest.approx(value(loss, labels, logits), rel=1e-6)


@pytest.mark.skipif(not TENSORFLOW, reason="takes TensorFlow's gradient")
def test_a_step_down_the_gradient_lowers_the_loss(loss):
    labels, logits = batch()
    slope = gradient(loss, labels, logits)
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(slope.sum(axis=-1), 0, atol=1e-6)  # adding a number to all logits of a pixel changes nothing
    before, after = value(loss, labels, logits), value(loss, labels, logits - slope)
    assert after < before
    assert before - after == pytest.approx((slope**2).sum(), rel=0.2)


# Voxels that nobody annotated -----------------------------------------------------------------------------------------------


def test_cross_entropy_is_the_mean_over_annotated_pixels():
    labels = np.array([[[0, IGNORED]], [[1, 1]]], np.uint8)
    expected = -(math.log(0.8) + math.log(0.5) + math.log(0.9)) / 3
    assert value(CrossEntropy(), labels, two_classes()) == pytest.approx(expected, rel=1e-6)
    assert value(CrossEntropy([3, 1]), labels, two_classes()) == pytest.approx(expected - 2 * math.log(0.8) / 3, rel=1e-6)


def test_dice_without_ignored_pixels():
    labels = np.array([[[0, 1]], [[1, IGNORED]]], np.uint8)  # of the second image, one pixel with p = 0.5 is left
    dice = 2 * 0.6 / (1 + 0.8), 2 * 0.5 / (1 + 0.5)
    assert value(SoftDice(foreground_only=True), labels, two_classes()) == pytest.approx(1 - sum(dice) / 2, rel=1e-6)
    assert value(PooledOverlap(), labels, two_classes()) == pytest.approx(1 - 1.1 / (1.8 + 1.5), rel=1e-6)


def test_what_the_network_says_of_ignored_pixels_does_not_matter(loss):
    labels, logits = batch()
    labels[:, 1:3] = IGNORED
    changed = logits.copy()
    changed[:, 1:3] = 50
    assert value(loss, labels, changed) == pytest.approx(value(loss, labels, logits), rel=1e-6)
    if TENSORFLOW:
        slope = gradient(loss, labels, logits)
        assert not slope[:, 1:3].any() and (np.abs(slope[:, 0]).max(axis=-1) > 0).all()


def test_a_batch_that_nobody_annotated_teaches_nothing(loss):
    labels, logits = batch()
    labels[:] = IGNORED
    assert value(loss, labels, logits) in (0, 1)
    if TENSORFLOW:
        assert not gradient(loss, labels, logits).any()
