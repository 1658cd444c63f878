"""Statistics by hand, undefined values left out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.scoring import statistics

NAN = float("nan")


def test_summary_by_hand():
    found = statistics.summary([1, NAN, 2, 6, NAN])
    assert (found.mean, found.median, found.n) == (3, 2, 3)
    assert found.std == pytest.approx(math.sqrt((4 + 1 + 9) / 3))  # divided by n, not by n - 1
    assert 1 <= found.low < 3 < found.high <= 6


def test_summary_of_nothing():
    for values in ([], [NAN, NAN], iter(())):
        found = statistics.summary(values)
        assert found.n == 0 and all(math.isnan(v) for v in (found.mean, found.std, found.median, found.low, found.high))


def test_bootstrap_interval():
    values = np.random.default_rng(3).normal(10, 2, 400)
    found = statistics.summary(values)
    error = values.std() / 20  # of the mean, so that the interval is -+ 1.96 of it
    assert found.low == pytest.approx(found.mean - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(found.mean + 1.96 * error, abs=0.15 * error)
    assert statistics.summary(values) == found
    assert statistics.summary([4.0] * 5) == statistics.Summary(4, 0, 4, 4, 4, 5)


def test_correlation_by_hand():
    # deviations -1, 0, 1 and -4/3, -1/3, 5/3: r = 3 / sqrt(2 * 42 / 9)
    assert statistics.correlation([1, 2, 3], [1, 2, 4]) == (pytest.approx(3 / math.sqrt(2 * 42 / 9)), 3)
    assert statistics.correlation([1, 2, 3, NAN], [6, 4, 2, 5]) == (pytest.approx(-1), 3)
    assert statistics.correlation([1, 2, NAN, 3], [1, NAN, 9, 4]) == (pytest.approx(1), 2)


def test_r_squared_by_hand():
    assert statistics.r_squared([1, 2, 3], [1, 2, 4]) == (pytest.approx(9 / (2 * 42 / 9)), 3)
    assert statistics.r_squared([1, 2, 3, NAN], [6, 4, 2, 5]) == (pytest.approx(1), 3)
    assert math.isnan(statistics.r_squared([1], [2])[0])


@pytest.mark.parametrize(
    ("a", "b", "n"), [([], [], 0), ([1], [2], 1), ([1, NAN], [2, 3], 1), ([0.1] * 3, [1, 2, 3], 3), ([1, 2, 3], [7] * 3, 3)]
)
def test_undefined_correlation(a, b, n):
    r, count = statistics.correlation(a, b)
    assert math.isnan(r) and count == n


def test_agreement_by_hand():
    # differences 1, 3, 5: mean 3, sample std 2
    found, n = statistics.agreement([11, 23, 35, NAN], [10, 20, 30, 40])
    assert found == pytest.approx((3, 3 - 1.96 * 2, 3 + 1.96 * 2)) and n == 3
    found, n = statistics.agreement([11, 23, 35], [10, 20, 30], sigmas=2)
    assert found == pytest.approx((3, -1, 7)) and n == 3
    found, n = statistics.agreement([1], [2])
    assert all(map(math.isnan, found)) and n == 1


def test_wilcoxon_by_hand():
    # six differences of one sign: 2 of the 2^6 equally likely sign patterns are as extreme
    a = [1, 2, 3, 4, 5, 6, NAN]
    b = [0.9, 1.8, 2.7, 3.6, 4.5, 5.4, 1]
    assert statistics.wilcoxon(a, b) == pytest.approx(2 / 64)
    assert statistics.wilcoxon(b, a) == statistics.wilcoxon(a, b)


def test_signed_ranks_by_hand():
    # differences -1, 2, 5, -2, 0, undefined; ranks of their sizes 1, 2.5, 4, 2.5: -1 + 2.5 + 4 - 2.5
    a, b = [1, 4, 8, 1, 7, NAN], [2, 2, 3, 3, 7, 1]
    assert statistics.signed_ranks(a, b) == 3 and statistics.signed_ranks(b, a) == -3
    assert statistics.signed_ranks([], []) == statistics.signed_ranks([1, 2], [1, 2]) == 0


def test_wilcoxon_of_equal_pairs():
    assert statistics.wilcoxon([1, 2, 3], [1, 2, 3]) == 1
    assert statistics.wilcoxon([1, NAN], [1, 2]) == 1
    assert statistics.wilcoxon([], []) == 1


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1; the last two may not fall below the second's 0.06
    assert statistics.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert statistics.holm([0.5, 0.9, 0.001]) == pytest.approx([1, 1, 0.003])
    assert statistics.holm([0.03]) == [0.03] and statistics.holm([]) == []


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_order_and_never_gains(p_values):
    found = statistics.holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, found, strict=True))
    by_p = [q for _, q in sorted(zip(p_values, found, strict=True))]
    assert by_p == sorted(found)
    if p_values:
        assert min(found) == pytest.approx(min(1, len(p_values) * min(p_values)))


def test_interval_of_a_constant_difference_is_that_difference():
    found = statistics.difference([0.5, 0.75, 1, NAN, 3], [0.25, 0.5, 0.75, 1, NAN])
    assert found == statistics.Summary(0.25, 0, 0.25, 0.25, 0.25, 3)


def test_interval_of_differences_draws_pairs_together():
    """Both sides vary far more than their difference: an interval that drew each side by itself would be wide."""
    b = np.random.default_rng(5).normal(0, 100, 50)
    a = b + np.random.default_rng(6).normal(1, 0.1, 50)
    found = statistics.difference(a, b)
    assert 0.9 < found.low < found.mean < found.high < 1.1 and statistics.difference(a, b) == found


def test_mean_ranks_by_hand():
    # cases: 0.9 0.8 0.8 -> 1, 2.5, 2.5; 0.5 0.7 undefined -> 2, 1, 3
    assert statistics.mean_ranks([[0.9, 0.5], [0.8, 0.7], [0.8, NAN]], higher_is_better=True) == [1.5, 1.75, 2.75]
    # distances: 3 1 2 -> 3, 1, 2
    assert statistics.mean_ranks([[3.0], [1.0], [2.0]], higher_is_better=False) == [3, 1, 2]


@pytest.mark.parametrize("at_once", [1, 7 * 41, 10**9])
def test_how_many_numbers_are_in_memory_changes_no_interval(monkeypatch, at_once):
    values = np.random.default_rng(1).normal(size=41)
    before = statistics.summary(values)
    monkeypatch.setattr(statistics, "AT_ONCE", at_once)
    assert statistics.summary(values) == before
    drawn = np.random.default_rng(0).choice(values, (2000, 41)).mean(axis=1)  # all at once
    assert (before.low, before.high) == tuple(np.percentile(drawn, [2.5, 97.5]))
