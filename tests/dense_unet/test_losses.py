"""Losses worked out by hand for four pixels, their weights, and the border term."""

import math

import keras
import numpy as np
import pytest

from dense_unet import losses
from dense_unet.losses import PooledDice, WeightedCrossEntropy, border, class_weights
from dense_unet.recipe import RECIPES
from shared.datasets import IGNORED
from shared.errors import InputError
from shared.learning.losses import Sum
from shared.recipes import replace
from tests.scalar_losses import gradient, value

takes_gradient = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes TensorFlow's gradient")

# Two images of two pixels, three classes
P = np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.3, 0.6, 0.1], [0.1, 0.1, 0.8]]).reshape(2, 2, 1, 3)
LABELS = np.array([0, 0, 1, 2], np.uint8).reshape(2, 2, 1)
TRUE_P = (0.7, 0.4, 0.6, 0.8)  # of the true classes
WEIGHTS = (0.5, 1.0, 1.5)
# foreground: sum(p t) = 0.6 + 0.8, sum p = 0.3 + 0.6 + 0.7 + 0.9, sum t = 2
DICE_LOSS = 1 - (2 * 1.4 + 1) / (2.5 + 2 + 1)


def logits(p=P):
    """Logits whose softmax is p, shifted differently in every pixel."""
    return (np.log(p) + np.arange(p[..., :1].size).reshape(p[..., :1].shape)).astype(np.float32)


def with_term(term, labels=LABELS):
    return np.stack([labels, np.array(term).reshape(labels.shape)], axis=-1).astype(np.float32)


def cross_entropy(weights, p=TRUE_P):
    return -np.mean([w * math.log(each) for w, each in zip(weights, p, strict=True)])


# Weights --------------------------------------------------------------------------------------------------------------------


def test_weights_by_hand():
    # roots of 100, 25, 4 are 10, 5, 2, whose inverses 0.1, 0.2, 0.5 have the mean 0.8 / 3
    assert class_weights("inverse_root", (100, 25, 4)) == pytest.approx([0.375, 0.75, 1.875])
    # 0.01, 0.04, 0.25 have the mean 0.1
    assert class_weights("inverse", (100, 25, 4)) == pytest.approx([0.1, 0.4, 2.5]) == class_weights("unet_map", (100, 25, 4))


def test_weights_of_the_sheets_example():
    assert class_weights("inverse_root", (930, 30, 25, 20)) == pytest.approx([0.2, 1.1, 1.2, 1.4], abs=0.06)


def test_a_class_without_pixels_has_no_weight():
    assert class_weights("inverse", (50, 0, 150)) == pytest.approx([1.5, 0, 0.5])
    with pytest.raises(InputError, match="found the counts 0, 0"):
        class_weights("inverse", (0, 0))
    with pytest.raises(InputError, match="unknown class weights 'root'"):
        class_weights("root", (1, 1))


# Losses ---------------------------------------------------------------------------------------------------------------------


def test_weighted_cross_entropy_by_hand():
    assert value(WeightedCrossEntropy(WEIGHTS), LABELS, logits()) == pytest.approx(cross_entropy((0.5, 0.5, 1.0, 1.5)), rel=1e-5)
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert value(WeightedCrossEntropy((1, 1, 1)), LABELS, logits()) == pytest.approx(value(plain, LABELS, logits()), rel=1e-6)


def test_the_border_term_is_added_to_the_weights():
    found = value(WeightedCrossEntropy(WEIGHTS), with_term([0, 10, 2, 0.5]), logits())
    assert found == pytest.approx(cross_entropy((0.5, 10.5, 3.0, 2.0)), rel=1e-5)


def test_pooled_dice_by_hand():
    assert value(PooledDice(1.0), LABELS, logits()) == pytest.approx(DICE_LOSS, rel=1e-5)
    assert value(PooledDice(1.0), with_term([0, 10, 2, 0.5]), logits()) == pytest.approx(DICE_LOSS, rel=1e-5)


def test_pooled_dice_of_nothing_and_of_everything():
    certain = (100 * np.eye(3)[LABELS]).astype(np.float32)
    assert value(PooledDice(1.0), LABELS, certain) == pytest.approx(0, abs=1e-6)
    background = np.zeros_like(LABELS)
    assert value(PooledDice(1.0), background, (100 * np.eye(3)[background]).astype(np.float32)) == pytest.approx(0, abs=1e-6)


def test_the_sum_by_hand():
    assert value(BOTH, LABELS, logits()) == pytest.approx(cross_entropy((0.5, 0.5, 1.0, 1.5)) + 0.2 * DICE_LOSS, rel=1e-5)


CROSS_ENTROPY, DICE = WeightedCrossEntropy(WEIGHTS), PooledDice(1.0)
BOTH = Sum([CROSS_ENTROPY, DICE], [1, 0.2])


@pytest.mark.parametrize("loss", [CROSS_ENTROPY, DICE, BOTH])
def test_ignored_pixels_count_nowhere(loss):
    some = LABELS.copy()
    some[1, 0] = IGNORED
    left = np.delete(LABELS.reshape(-1), 2).reshape(1, 3, 1), np.delete(logits().reshape(-1, 3), 2, axis=0).reshape(1, 3, 1, 3)
    assert value(loss, some, logits()) == pytest.approx(value(loss, *left), rel=1e-5)
    assert np.isfinite(value(loss, np.full_like(LABELS, IGNORED), logits()))


@takes_gradient
def test_the_gradient_pulls_towards_the_labels_and_leaves_ignored_pixels():
    some = LABELS.copy()
    some[0, 1] = IGNORED
    found = gradient(BOTH, some, logits()).reshape(4, 3)
    assert (found[1] == 0).all() and all(found[pixel, label] < 0 for pixel, label in ((0, 0), (2, 1), (3, 2)))


def test_the_recipe_names_its_loss():
    counts = (100, 25, 4)
    wce = losses.of(RECIPES["dense_half_wce"], counts)
    assert isinstance(wce, WeightedCrossEntropy) and wce.class_weights == pytest.approx((0.375, 0.75, 1.875))
    both = losses.of(RECIPES["dense_closed_wce_dice"], counts)
    (first, first_weight), (second, second_weight) = both.terms
    assert (first_weight, second_weight, second.smoothing, first.class_weights) == (1, 0.2, 1.0, wce.class_weights)
    inverse = losses.of(replace(RECIPES["dense_half_wce"], class_weights="inverse"), counts)
    assert inverse.class_weights == pytest.approx((0.1, 0.4, 2.5))


# The border term ------------------------------------------------------------------------------------------------------------


def test_border_of_two_structures_by_hand():
    labels = np.array([1, 0, 0, 2], np.uint8).reshape(4, 1, 1)
    # distances to 1 and to 2: (0, 3), (1, 2), (2, 1), (3, 0), so that d1 + d2 = 3 everywhere
    expected = 10 * math.exp(-9 / 50)
    np.testing.assert_allclose(border(labels, 10.0, 5.0).ravel(), expected, rtol=1e-6)
    np.testing.assert_allclose(border(labels, 2.0, 1.0).ravel(), 2 * math.exp(-9 / 2), rtol=1e-6)


def test_border_takes_the_two_nearest_and_each_slice_by_itself():
    line = np.zeros((7, 1, 3), np.uint8)
    line[[0, 2, 6], 0, 0] = 1, 3, 2
    line[[0, 2], 0, 1] = 1, 1  # one structure
    line[[0, 1], 0, 2] = 1, IGNORED
    found = border(line, 1.0, 5.0)
    # at pixel 5: 1 to class 2, 3 to class 3, 5 to class 1
    assert found[5, 0, 0] == pytest.approx(math.exp(-16 / 50)) and found.dtype == np.float32
    assert not found[..., 1:].any()
