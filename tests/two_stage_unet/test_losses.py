"""Losses worked out by hand for a few voxels, as they are meant and as they are printed."""

import keras
import numpy as np
import pytest

from shared.datasets import IGNORED
from shared.errors import InputError
from shared.learning.losses import Sum
from tests.scalar_losses import gradient, value
from two_stage_unet.losses import ForegroundDice, MulticlassDice, class_weights

takes_gradient = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes TensorFlow's gradient")

# Two volumes of two voxels, three classes: labels 0, 0, 1, 2
P = np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.3, 0.6, 0.1], [0.1, 0.1, 0.8]]).reshape(2, 2, 1, 1, 3)
LABELS = np.array([0, 0, 1, 2], np.uint8).reshape(2, 2, 1, 1)
# per class: sum t p, sum t, sum p; and (2 sum t p + 1) / (sum t + sum p + 1)
S = np.array([(2 * 1.1 + 1) / (2 + 1.5 + 1), (2 * 0.6 + 1) / (1 + 1.4 + 1), (2 * 0.8 + 1) / (1 + 1.1 + 1)])
# the same over the voxels of the class: sum p is sum t p
S_PRINTED = np.array([(2 * 1.1 + 1) / (2 + 1.1 + 1), (2 * 0.6 + 1) / (1 + 0.6 + 1), (2 * 0.8 + 1) / (1 + 0.8 + 1)])
COUNTS = (100, 20, 5)
# 1/100, 1/20, 1/5 are 1, 5, 20 to 26
INVERSE = np.array([1, 5, 20]) / 26


def logits(p=P):
    """Logits whose softmax is p, shifted differently in every voxel."""
    return (np.log(p) + np.arange(p[..., :1].size).reshape(p[..., :1].shape)).astype(np.float32)


def certain(labels, classes=3, size=100):
    return (size * np.eye(classes)[labels]).astype(np.float32)


def batch(classes=3, shape=(2, 4, 3, 2), seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, classes, shape, np.uint8), random.normal(0, 2, (*shape, classes)).astype(np.float32)


# Weights --------------------------------------------------------------------------------------------------------------------


def test_weights_by_hand():
    assert class_weights("inverse_count", COUNTS) == pytest.approx(INVERSE)
    assert class_weights("uniform", COUNTS) == pytest.approx([1 / 3] * 3)
    assert class_weights("printed", COUNTS) == pytest.approx([0.01, 0.05, 0.2])


def test_a_class_without_voxels_has_no_weight():
    assert class_weights("inverse_count", (90, 0, 10)) == pytest.approx([0.1, 0, 0.9])
    assert class_weights("printed", (50, 0, 10)) == pytest.approx([0.02, 0, 0.1])
    assert class_weights("uniform", (50, 0)) == [0.5, 0.5]


def test_weights_of_a_whole_heart_stay_finite():
    """Background of 20 cases, and a class with one voxel, whose count is no more than 32 bits can hold."""
    weights = class_weights("inverse_count", (6_000_000_000, 1))
    assert weights == pytest.approx([1 / 6_000_000_001, 6_000_000_000 / 6_000_000_001], rel=1e-12)
    assert np.isfinite(value(MulticlassDice(weights, 1.0), LABELS % 2, logits()[..., :2]))


def test_impossible_weights_are_refused():
    with pytest.raises(InputError, match="^unknown class weights 'square': expected one of inverse_count, uniform, printed$"):
        class_weights("square", COUNTS)
    for kind in ("inverse_count", "printed"):
        with pytest.raises(InputError, match="^class weights need voxels of at least one class, found the counts 0, 0$"):
            class_weights(kind, (0, 0))


# Multi-class Dice -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "weights"), [("inverse_count", INVERSE), ("uniform", [1 / 3] * 3), ("printed", [0.01, 0.05, 0.2])]
)
@pytest.mark.parametrize(("as_printed", "dice"), [(False, S), (True, S_PRINTED)])
def test_multiclass_dice_by_hand(kind, weights, as_printed, dice):
    loss = MulticlassDice(class_weights(kind, COUNTS), 1.0, as_printed)
    assert value(loss, LABELS, logits()) == pytest.approx(1 - np.dot(weights, dice), rel=1e-5)


def test_smoothing_by_hand():
    dice = [2 * 1.1 / 3.5, 2 * 0.6 / 2.4, 2 * 0.8 / 2.1]
    assert value(MulticlassDice([0.5, 0.25, 0.25], 0.0), LABELS, logits()) == pytest.approx(
        1 - np.dot([2, 1, 1], dice) / 4, rel=1e-5
    )


def test_multiclass_dice_of_perfect_and_of_wrong():
    labels = np.array([0, 1, 2, 1, 2, 0], np.uint8).reshape(2, 3, 1, 1)  # two voxels of each class
    loss = MulticlassDice(INVERSE, 1.0)
    assert value(loss, labels, certain(labels)) == pytest.approx(0, abs=1e-6)
    assert value(loss, labels, certain((labels + 1) % 3)) == pytest.approx(1 - 1 / 5, rel=1e-6)


def test_printed_weights_keep_the_loss_near_one():
    """As many voxels as a scan has: perfect and wrong are 2e-4 apart."""
    weights = class_weights("printed", (10_000_000, 20_000, 10_000))
    labels, _ = batch(shape=(2, 8, 8, 8))
    found = [value(MulticlassDice(weights, 1.0), labels, certain((labels + shift) % 3)) for shift in (0, 1)]
    assert 1 - 2e-4 < found[0] < found[1] < 1


def test_the_printed_dice_does_not_see_what_is_found_elsewhere():
    """Class 2 everywhere costs its own term nothing: that of the voxels of class 2 is perfect."""
    labels = np.array([0, 0, 1, 2], np.uint8).reshape(1, 4, 1, 1)
    everywhere = certain(np.full_like(labels, 2))
    only_2 = [0.0, 0.0, 1.0]
    assert value(MulticlassDice(only_2, 1.0, as_printed=True), labels, everywhere) == pytest.approx(0, abs=1e-6)
    assert value(MulticlassDice(only_2, 1.0), labels, everywhere) == pytest.approx(1 - 3 / 6, rel=1e-6)


def test_a_weightless_class_costs_nothing():
    labels, x = batch()
    changed = np.where(labels == 1, 2, labels).astype(np.uint8)
    loss = MulticlassDice([1.0, 0.0, 0.0], 1.0)
    assert value(loss, changed, x) == value(loss, labels, x)


# Foreground Dice ------------------------------------------------------------------------------------------------------------

# 1 - p_0 is 0.3, 0.6, 0.7, 0.9, and 1 - t_0 is 0, 0, 1, 1
ROI = 1 - (2 * 1.6 + 1) / (2 + 2.5 + 1)
ROI_PRINTED = 1 - (1 / (0.9 + 1)) / 2  # two voxels of background


def test_foreground_dice_by_hand():
    assert value(ForegroundDice(1.0), LABELS, logits()) == pytest.approx(ROI, rel=1e-5)
    assert value(ForegroundDice(0.5), LABELS, logits()) == pytest.approx(1 - 3.7 / 5, rel=1e-5)


def test_foreground_dice_as_printed_by_hand():
    assert value(ForegroundDice(1.0, as_printed=True), LABELS, logits()) == pytest.approx(ROI_PRINTED, rel=1e-5)
    assert value(ForegroundDice(0.5, as_printed=True), LABELS, logits()) == pytest.approx(1 - (0.5 / 1.4) / 2, rel=1e-5)


def test_foreground_dice_of_perfect_and_of_wrong():
    labels = np.array([0, 1, 2, 0, 0], np.uint8).reshape(1, 5, 1, 1)
    assert value(ForegroundDice(1.0), labels, certain(labels)) == pytest.approx(0, abs=1e-6)
    assert value(ForegroundDice(1.0), labels, certain((labels == 0).astype(int))) == pytest.approx(1 - 1 / 6, rel=1e-6)
    exchanged = np.array([0, 2, 1, 0, 0])[labels * 0 + np.arange(5).reshape(labels.shape)]
    assert value(ForegroundDice(1.0), labels, certain(exchanged)) == pytest.approx(0, abs=1e-6)  # which class does not matter


def test_the_printed_foreground_dice_is_least_where_all_is_background():
    labels = np.array([0, 1, 2, 0, 0], np.uint8).reshape(1, 5, 1, 1)
    loss = ForegroundDice(1.0, as_printed=True)
    nothing, right, everything = (value(loss, labels, certain(found)) for found in (0 * labels, labels, 0 * labels + 1))
    assert nothing == pytest.approx(1 - 1 / 3, rel=1e-6)
    assert right == pytest.approx(nothing, rel=1e-6)  # what is found in the foreground does not count
    assert everything == pytest.approx(1 - (1 / 4) / 3, rel=1e-6)
    no_background = np.ones_like(labels)
    assert value(loss, no_background, certain(no_background)) == pytest.approx(0, abs=1e-6)


def test_nothing_there_and_nothing_found():
    labels = np.zeros((1, 2, 2, 2), np.uint8)
    assert value(ForegroundDice(1.0), labels, certain(labels)) == pytest.approx(0, abs=1e-6)


# All of them ----------------------------------------------------------------------------------------------------------------

LOSSES = {
    "inverse_count": MulticlassDice(INVERSE, 1.0),
    "printed weights": MulticlassDice([0.01, 0.05, 0.2], 1.0),
    "multi-class, printed": MulticlassDice([0.01, 0.05, 0.2], 1.0, as_printed=True),
    "foreground": ForegroundDice(1.0),
    "foreground, printed": ForegroundDice(1.0, as_printed=True),
    "sum": Sum([ForegroundDice(1.0), MulticlassDice(INVERSE, 1.0)], [1, 1]),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def test_sum_by_hand():
    assert value(LOSSES["sum"], LABELS, logits()) == pytest.approx(ROI + 1 - np.dot(INVERSE, S), rel=1e-5)


@every_loss
def test_sums_are_over_the_whole_batch(loss):
    labels, x = batch()
    labels = labels * np.array([0, 1], np.uint8).reshape(2, 1, 1, 1)  # nothing in the first volume
    together = value(loss, labels, x)
    assert value(loss, labels.reshape(1, 8, 3, 2), x.reshape(1, 8, 3, 2, -1)) == pytest.approx(together, rel=1e-6)
    alone = [value(loss, labels[i : i + 1], x[i : i + 1]) for i in range(2)]
    assert abs(together - sum(alone) / 2) > 1e-4


@every_loss
def test_any_number_of_axes(loss):
    """Volumes, slices, and stacks of slices: only the voxels count."""
    labels, x = batch(shape=(2, 4, 6))
    expected = value(loss, labels, x)
    for shape in [(2, 4, 3, 2), (2, 2, 2, 3, 2), (48,)]:
        assert value(loss, labels.reshape(shape), x.reshape(*shape, 3)) == pytest.approx(expected, rel=1e-6)


@every_loss
@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_type_of_the_labels_does_not_matter(loss, dtype):
    labels, x = batch()
    assert value(loss, labels.astype(dtype), x) == value(loss, labels, x)


def test_ignored_voxels_by_hand():
    labels = np.array([0, IGNORED, 1, 2], np.uint8).reshape(LABELS.shape)  # p = (0.4, 0.5, 0.1) is left out
    dice = [(2 * 0.7 + 1) / (1 + 1.1 + 1), (2 * 0.6 + 1) / (1 + 0.9 + 1), (2 * 0.8 + 1) / (1 + 1.0 + 1)]
    assert value(MulticlassDice(INVERSE, 1.0), labels, logits()) == pytest.approx(1 - np.dot(INVERSE, dice), rel=1e-5)
    assert value(ForegroundDice(1.0), labels, logits()) == pytest.approx(1 - (2 * 1.6 + 1) / (2 + 1.9 + 1), rel=1e-5)
    printed = 1 - (1 / (0.3 + 1)) / 1
    assert value(ForegroundDice(1.0, as_printed=True), labels, logits()) == pytest.approx(printed, rel=1e-5)


@every_loss
def test_what_the_network_says_of_ignored_voxels_does_not_matter(loss):
    labels, x = batch()
    labels[:, 1:3] = IGNORED
    changed = x.copy()
    changed[:, 1:3] = 9 * np.arange(3)
    assert value(loss, labels, changed) == pytest.approx(value(loss, labels, x), rel=1e-6)


@takes_gradient
@every_loss
@pytest.mark.parametrize("scale", [1, 100, 1000])
def test_extreme_logits_give_finite_losses_and_gradients(loss, scale):
    labels, x = batch()
    x = (np.sign(x) * scale).astype(np.float32)
    assert np.isfinite(value(loss, labels, x)) and np.isfinite(gradient(loss, labels, x)).all()


@takes_gradient
@every_loss
def test_a_step_down_the_gradient_lowers_the_loss(loss):
    labels, x = batch()
    slope = gradient(loss, labels, x)
    change = 0.1 / np.abs(slope).max() * slope
    before, after = value(loss, labels, x), value(loss, labels, x - change)
    assert before - after == pytest.approx((slope * change).sum(), rel=0.2)


@takes_gradient
def test_gradient_of_foreground_dice_by_hand():
    """d L_ROI / d q = -(2 t (A + 1) - (2 T + 1)) / (A + 1)^2 with q = 1 - p_0, T = sum t q and A = sum t + sum q; dq / dx_0 =
    -p_0 (1 - p_0)."""
    t, q = (LABELS > 0).astype(float), 1 - P[..., 0]
    upper, lower = 2 * 1.6 + 1, 2 + 2.5 + 1
    expected = (2 * t * lower - upper) / lower**2 * P[..., 0] * q
    np.testing.assert_allclose(gradient(ForegroundDice(1.0), LABELS, logits())[..., 0], expected, rtol=1e-4, atol=1e-7)
