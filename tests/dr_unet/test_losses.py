"""Losses worked out by hand for a few voxels, as they are meant and as they are printed."""

import math

import keras
import numpy as np
import pytest

from dr_unet.losses import BceDice, EndToEnd, MulticlassDice
from shared.datasets import IGNORED
from tests.scalar_losses import gradient, value

TENSORFLOW = keras.backend.backend() == "tensorflow"
takes_gradient = pytest.mark.skipif(not TENSORFLOW, reason="takes TensorFlow's gradient")

# Two volumes of two voxels: probability of foreground, and labels of which 2 is foreground as 1 is.
P = np.array([0.2, 0.6, 0.5, 0.9]).reshape(2, 1, 2, 1)
LABELS = np.array([0, 1, 2, 1], np.uint8).reshape(2, 1, 2, 1)
# sum y p = 0.6 + 0.5 + 0.9, sum y = 3, sum p = 2.2
DICE = 1 - (2 * 2.0 + 1) / (3 + 2.2 + 1)
BCE = -(math.log(0.8) + math.log(0.6) + math.log(0.5) + math.log(0.9)) / 4
PRINTED_DICE = 1 - 2.0 / (3 + 2.2)
PRINTED_BCE = -(0.2 * math.log(0.2) + 0.6 * math.log(0.6) + 0.5 * math.log(0.5) + 0.9 * math.log(0.9) + 1 * 0.8) / 4

# One volume of two voxels, three classes: of classes 0 and 1, none of class 2.
CHANCES = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]]).reshape(1, 2, 1, 1, 3)
CLASSES = np.array([0, 1], np.uint8).reshape(1, 2, 1, 1)
TOGETHER, APART = (0.7, 0.6, 0.0), (1 + 1.0, 1 + 0.8, 0 + 0.2)


def binary_logits(p=P):
    return np.log(p / (1 - p))[..., None].astype(np.float32)


def class_logits(p=CHANCES):
    """Logits whose softmax is p, shifted differently in every voxel."""
    return (np.log(p) + np.arange(p[..., :1].size).reshape(p[..., :1].shape)).astype(np.float32)


def certain(labels, classes, size=100):
    """Logits of a network that is sure: of a softmax, or with one class of a sigmoid."""
    if classes == 1:
        return np.where(labels > 0, size, -size)[..., None].astype(np.float32)
    return (size * np.eye(classes)[labels]).astype(np.float32)


def batch(classes, shape=(2, 4, 3, 2), seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, max(classes, 2), shape, np.uint8), random.normal(0, 2, (*shape, classes)).astype(np.float32)


# BCE-Dice -------------------------------------------------------------------------------------------------------------------


def test_bce_dice_by_hand():
    assert value(BceDice(1.0), LABELS, binary_logits()) == pytest.approx(BCE + DICE, rel=1e-5)
    without = 1 - 4 / 5.2
    assert value(BceDice(0.0), LABELS, binary_logits()) == pytest.approx(BCE + without, rel=1e-5)


def test_bce_dice_as_printed_by_hand():
    found = value(BceDice(1.0, as_printed=True), LABELS, binary_logits())
    assert found == pytest.approx(PRINTED_BCE + PRINTED_DICE, rel=1e-5)
    assert value(BceDice(7.0, as_printed=True), LABELS, binary_logits()) == found  # no smoothing is printed


def test_bce_dice_of_perfect_and_of_wrong():
    labels = np.array([1, 0, 0, 1, 0], np.uint8).reshape(1, 5, 1, 1)
    logits = certain(labels, 1)
    assert value(BceDice(1.0), labels, logits) == pytest.approx(0, abs=1e-6)
    assert value(BceDice(1.0), labels, -logits) == pytest.approx(100 + 1 - 1 / (2 + 3 + 1), rel=1e-6)
    # as printed: p log p is 0 either way, (1 - y)(1 - p) counts background found
    assert value(BceDice(1.0, as_printed=True), labels, logits) == pytest.approx(0.5 - 3 / 5, abs=1e-5)
    assert value(BceDice(1.0, as_printed=True), labels, -logits) == pytest.approx(1, abs=1e-5)


def test_nothing_there_and_nothing_found():
    labels = np.zeros((1, 2, 2, 2), np.uint8)
    assert value(BceDice(1.0), labels, certain(labels, 1)) == pytest.approx(0, abs=1e-6)
    # the printed Dice is 1 - 0 / 0, taken as 1, and its "BCE" -1
    assert value(BceDice(1.0, as_printed=True), labels, certain(labels, 1)) == pytest.approx(0, abs=1e-6)
    # one voxel of eight at p = 0.5: smoothing keeps Dice at 1 - 1 / 1.5
    logits = certain(labels, 1)
    logits[0, 0, 0, 0] = 0
    assert value(BceDice(1.0), labels, logits) == pytest.approx(math.log(2) / 8 + 1 / 3, rel=1e-5)


def test_any_class_is_foreground():
    labels, logits = batch(1)
    assert value(BceDice(1.0), 3 * labels, logits) == value(BceDice(1.0), labels, logits)


def test_printed_dice_of_bce_dice_is_at_least_a_half():
    for seed in range(10):
        labels, logits = batch(1, seed=seed)
        y, p = (labels > 0).astype(float), 1 / (1 + np.exp(-logits[..., 0].astype(float)))
        bce = -np.mean(p * np.log(p) + (1 - y) * (1 - p))
        assert 0.5 <= value(BceDice(1.0, as_printed=True), labels, logits) - bce <= 1


# Multi-class Dice -----------------------------------------------------------------------------------------------------------


def test_multiclass_dice_by_hand():
    for smoothing in (1.0, 0.5):
        dice = [(2 * t + smoothing) / (a + smoothing) for t, a in zip(TOGETHER, APART, strict=True)]
        found = value(MulticlassDice(smoothing), CLASSES, class_logits())
        assert found == pytest.approx(1 - sum(dice) / 3, rel=1e-5)


def test_multiclass_dice_as_printed_by_hand():
    expected = 1 - sum(t / a for t, a in zip(TOGETHER, APART, strict=True)) / 3
    assert value(MulticlassDice(1.0, as_printed=True), CLASSES, class_logits()) == pytest.approx(expected, rel=1e-5)


def test_multiclass_dice_of_perfect_and_of_wrong():
    labels = np.array([0, 1, 2, 1, 2, 0], np.uint8).reshape(2, 3, 1, 1)  # two voxels of each class
    wrong = (labels + 1) % 3
    assert value(MulticlassDice(1.0), labels, certain(labels, 3)) == pytest.approx(0, abs=1e-6)
    assert value(MulticlassDice(1.0), labels, certain(wrong, 3)) == pytest.approx(1 - 1 / 5, rel=1e-6)
    assert value(MulticlassDice(1.0, as_printed=True), labels, certain(labels, 3)) == pytest.approx(0.5, abs=1e-6)
    assert value(MulticlassDice(1.0, as_printed=True), labels, certain(wrong, 3)) == pytest.approx(1, abs=1e-6)


def test_absent_classes_count_as_right_where_nothing_is_found():
    labels = np.zeros((1, 2, 2, 1), np.uint8)
    assert value(MulticlassDice(1.0), labels, certain(labels, 4)) == pytest.approx(0, abs=1e-6)
    assert value(MulticlassDice(1.0, as_printed=True), labels, certain(labels, 4)) == pytest.approx(1 - 0.5 / 4, rel=1e-5)


def test_background_counts_as_every_class():
    """Exchanging background and another class everywhere changes nothing."""
    labels, logits = batch(4)
    swap = np.array([2, 1, 0, 3])
    for as_printed in (False, True):
        loss = MulticlassDice(1.0, as_printed)
        assert value(loss, swap[labels], logits[..., swap]) == pytest.approx(value(loss, labels, logits), rel=1e-6)


def test_printed_multiclass_dice_is_at_least_a_half():
    for seed in range(10):
        assert 0.5 <= value(MulticlassDice(1.0, as_printed=True), *batch(4, seed=seed)) <= 1


# End-to-end -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.0, 1.0, 0.25])
def test_end_to_end_is_the_weighted_sum(weight):
    labels = CLASSES
    located = binary_logits(np.array([0.4, 0.9]).reshape(1, 2, 1, 1))
    # y = (0, 1): sum y p = 0.9, sum y + sum p = 2.3
    localiser = 1 - (1.8 + 1) / (2.3 + 1) - (math.log(0.6) + math.log(0.9)) / 2
    segmenter = 1 - sum((2 * t + 1) / (a + 1) for t, a in zip(TOGETHER, APART, strict=True)) / 3
    loss = EndToEnd(MulticlassDice(1.0), BceDice(1.0), weight)
    found = value(loss, labels, np.concatenate([class_logits(), located], axis=-1))
    assert found == pytest.approx(segmenter + weight * localiser, rel=1e-5)


def test_end_to_end_of_a_binary_task():
    logits = np.concatenate([binary_logits(), 0 * binary_logits()], axis=-1)
    # the localiser says 0.5 everywhere: sum y p = 1.5, sum p = 2
    localiser = 1 - (3 + 1) / (3 + 2 + 1) + math.log(2)
    assert value(EndToEnd(BceDice(1.0), BceDice(1.0), 2.0), LABELS, logits) == pytest.approx(BCE + DICE + 2 * localiser, rel=1e-5)


@takes_gradient
def test_end_to_end_ignores_no_voxel_and_no_channel():
    labels, logits = batch(4)
    logits = np.concatenate([logits, logits[..., :1]], axis=-1)
    slope = gradient(EndToEnd(MulticlassDice(1.0), BceDice(1.0), 1.0), labels, logits)
    assert (slope != 0).all()
    # and the two parts do not touch each other's channels
    np.testing.assert_allclose(slope[..., :-1], gradient(MulticlassDice(1.0), labels, logits[..., :-1]), rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(slope[..., -1:], gradient(BceDice(1.0), labels, logits[..., -1:]), rtol=1e-4, atol=1e-8)


# All of them ----------------------------------------------------------------------------------------------------------------

LOSSES = {  # loss, channels of the logits
    "bce_dice": (BceDice(1.0), 1),
    "bce_dice, printed": (BceDice(1.0, as_printed=True), 1),
    "multiclass": (MulticlassDice(1.0), 3),
    "multiclass, printed": (MulticlassDice(1.0, as_printed=True), 3),
    "end_to_end": (EndToEnd(MulticlassDice(1.0), BceDice(1.0), 0.7), 4),
}


@pytest.fixture(params=LOSSES.values(), ids=LOSSES.keys())
def case(request):
    loss, channels = request.param
    labels, logits = batch(channels)
    return loss, labels % 3, logits


def test_sums_are_over_the_whole_batch(case):
    loss, labels, logits = case
    labels = labels * np.array([0, 1]).reshape(2, 1, 1, 1)  # nothing in the first volume
    together = value(loss, labels, logits)
    assert value(loss, labels.reshape(1, 8, 3, 2), logits.reshape(1, 8, 3, 2, -1)) == pytest.approx(together, rel=1e-6)
    alone = [value(loss, labels[i : i + 1], logits[i : i + 1]) for i in range(2)]
    assert abs(together - sum(alone) / 2) > 1e-3


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_type_of_the_labels_does_not_matter(case, dtype):
    loss, labels, logits = case
    assert value(loss, labels.astype(dtype), logits) == value(loss, labels, logits)


def test_order_of_volumes_and_of_voxels_does_not_matter(case):
    loss, labels, logits = case
    for axis in range(4):
        flipped = value(loss, np.flip(labels, axis), np.flip(logits, axis).copy())
        assert flipped == pytest.approx(value(loss, labels, logits), rel=1e-6)


@takes_gradient
@pytest.mark.parametrize("scale", [1, 100, 1000])
def test_extreme_logits_give_finite_losses_and_gradients(case, scale):
    loss, labels, logits = case
    logits = (np.sign(logits) * scale).astype(np.float32)
    assert math.isfinite(value(loss, labels, logits))
    assert np.isfinite(gradient(loss, labels, logits)).all()


@takes_gradient
def test_gradient_of_bce_at_the_extremes():
    """The Dice of certain voxels has no slope left; that of the cross entropy is (p - y) / voxels."""
    labels = np.array([1, 0, 0, 1], np.uint8).reshape(1, 4, 1, 1)
    logits = np.array([-100, 100, -100, 100], np.float32).reshape(1, 4, 1, 1, 1)
    found = gradient(BceDice(1.0), labels, logits).ravel()
    np.testing.assert_allclose(found, [-0.25, 0.25, 0, 0], atol=1e-6)


@takes_gradient
def test_gradient_of_bce_dice_by_hand():
    """d Dice / dp = -(2 y (A + 1) - (2 T + 1)) / (A + 1)^2 with T = sum y p and A = sum y + sum p."""
    y = (LABELS > 0).astype(float)
    upper, lower = 2 * 2.0 + 1, 3 + 2.2 + 1
    expected = -(2 * y * lower - upper) / lower**2 * P * (1 - P) + (P - y) / 4
    np.testing.assert_allclose(gradient(BceDice(1.0), LABELS, binary_logits())[..., 0], expected, rtol=1e-4, atol=1e-7)


@takes_gradient
def test_a_step_down_the_gradient_lowers_the_loss(case):
    loss, labels, logits = case
    slope = gradient(loss, labels, logits)
    before, after = value(loss, labels, logits), value(loss, labels, logits - slope)
    assert before - after == pytest.approx((slope**2).sum(), rel=0.2)


# Voxels that nobody annotated -----------------------------------------------------------------------------------------------


def test_ignored_voxels_by_hand():
    labels = np.array([0, 1, IGNORED, 1], np.uint8).reshape(LABELS.shape)  # p = 0.2, 0.6, 0.9 are left
    dice, bce = 1 - (2 * 1.5 + 1) / (2 + 1.7 + 1), -(math.log(0.8) + math.log(0.6) + math.log(0.9)) / 3
    assert value(BceDice(1.0), labels, binary_logits()) == pytest.approx(bce + dice, rel=1e-5)
    printed = -(0.2 * math.log(0.2) + 0.6 * math.log(0.6) + 0.9 * math.log(0.9) + 1 * 0.8) / 3 + 1 - 1.5 / (2 + 1.7)
    assert value(BceDice(1.0, as_printed=True), labels, binary_logits()) == pytest.approx(printed, rel=1e-5)
    classes = np.array([0, IGNORED], np.uint8).reshape(CLASSES.shape)  # the first voxel alone
    expected = 1 - sum((2 * t + 1) / (a + 1) for t, a in ((0.7, 1.7), (0.0, 0.2), (0.0, 0.1))) / 3
    assert value(MulticlassDice(1.0), classes, class_logits()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [BceDice(1.0), BceDice(1.0, as_printed=True), MulticlassDice(1.0),
                                  EndToEnd(MulticlassDice(1.0), BceDice(1.0), 0.7)])  # fmt: skip
def test_what_the_networks_say_of_ignored_voxels_does_not_matter(loss):
    labels, logits = batch(4)
    labels[:, 1:3] = IGNORED
    changed = logits.copy()
    changed[:, 1:3] = 9
    assert value(loss, labels, changed) == pytest.approx(value(loss, labels, logits), rel=1e-5)
