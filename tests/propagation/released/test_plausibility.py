"""Which masks of a slice are believed, worked out by hand."""

import numpy as np

from propagation.released.plausibility import cleaned, plausible, touching
from propagation.released.variants import VARIANTS

HEART = np.array([
    [0, 2, 2, 2, 0, 0],
    [2, 2, 1, 2, 2, 3],
    [2, 1, 1, 1, 2, 3],
    [2, 2, 1, 2, 2, 3],
    [0, 2, 2, 2, 0, 0],
], np.uint8)  # fmt: skip


def test_touching_counts_pairs():
    """The cavity of HEART, a plus of five pixels, has 12 outer sides, all to myocardium."""
    assert touching(HEART, 1, 2) == touching(HEART, 2, 1) == 12
    assert touching(HEART, 1, 0) == touching(HEART, 1, 3) == 0
    assert touching(HEART, 2, 3) == 3
    assert touching(np.array([[1, 0], [0, 1]]), 1, 0) == 4  # corners do not touch


def test_plausible():
    assert plausible(HEART)
    assert not plausible(np.where(HEART == 2, 0, HEART))  # no myocardium
    assert plausible(np.where(HEART == 1, 0, HEART))  # no cavity is no fault
    opened = np.array([[2, 2, 2, 2], [2, 1, 1, 0], [2, 2, 2, 0]])  # 5 to myocardium, 1 outside
    assert plausible(opened)
    line = np.array([[2, 2], [1, 1], [0, 3]])  # 2 to myocardium; 1 to background and 1 to the right ventricle
    assert not plausible(line)
    assert plausible(np.array([[2, 2], [1, 1], [0, 2]]))  # 3 to myocardium, 1 outside
    assert plausible(np.array([[2], [1], [2], [0]])) and not plausible(np.array([[2], [1], [0]]))
    assert plausible(np.array([[2, 1, 0], [0, 2, 0]])[:, :2])  # 2 to myocardium: exactly twice 1 is enough below
    assert plausible(np.array([[0, 2, 0], [2, 1, 0]]))  # 2 to myocardium, 1 to background: 1 <= 0.5 * 2


def test_components_by_variant():
    parts = np.zeros((8, 8), np.uint8)
    parts[1:6, :6] = HEART
    parts[7, 7], parts[7, 5] = 3, 2
    assert VARIANTS["lvrv"].kept == (3,) and VARIANTS["lv"].kept == () and VARIANTS["finetune"].kept == (1, 2, 3)
    np.testing.assert_array_equal(cleaned(parts, ()), parts)
    without_right = parts.copy()
    without_right[7, 7] = 0
    np.testing.assert_array_equal(cleaned(parts, (3,)), without_right)
    without_right[7, 5] = 0
    np.testing.assert_array_equal(cleaned(parts, (1, 2, 3)), without_right)
    np.testing.assert_array_equal(cleaned(np.ones((3, 3), np.uint8), (3,)), 0)
