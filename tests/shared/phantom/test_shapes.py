"""Signed distances worked out by hand, and noise of unit deviation."""

import numpy as np
import pytest

from shared.phantom.shapes import ball, melt, noise, tube


def test_ball():
    x = np.array([1.0, 5.0, 11.0, -4.0])
    np.testing.assert_allclose(ball(x, 2, 3, (1, 2, 3), (4, 8, 8)), [-4, 0, 6, 1])
    corner = ball(3.0, 3.0, 0.0, (0, 0, 0), (4, 4, 4), power=8)  # in the box of half 4, outside the sphere
    assert corner < 0 < ball(3.0, 3.0, 0.0, (0, 0, 0), (4, 4, 4))


def test_tube():
    start, end = np.array([0.0, 0, 0]), np.array([10.0, 0, 0])
    x, y = np.array([0.0, 5, 10, -3, 14, 5]), np.array([0.0, 0, 0, 0, 0, 4])
    np.testing.assert_allclose(tube(x, y, 0, start, end, 2, 4), [-2, -3, -4, 1, 0, 1])


def test_melt():
    first, second = np.array([-3.0, 1, 1]), np.array([7.0, 1, 3])
    np.testing.assert_allclose(melt(first, second, 4), [-3, 0, 0.75])  # far apart; equal: a quarter of 4 less; halfway: 1/16


def test_single_precision_stays():
    x = np.zeros(3, np.float32)
    assert ball(x, x, x, (1, 2, 3), (4, 5, 6)).dtype == np.float32
    assert tube(x, x, x, np.zeros(3, np.float32), np.ones(3, np.float32), 1.0, 2.0).dtype == np.float32


def test_noise():
    field = noise(np.random.default_rng(0), (30, 20, 10), (2, 2, 1))
    assert field.shape == (30, 20, 10) and field.std() == pytest.approx(1, abs=1e-5)
    assert np.abs(np.diff(field, axis=0)).mean() < 0.6  # neighbours are alike
