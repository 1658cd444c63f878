"""Statistics of numbers per case. Undefined ones (NaN) are left out; n counts the others."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from shared.lazy import lazily

with lazily():
    from scipy import stats

NAN = float("nan")
DRAWS, AT_ONCE = 2000, 10**6  # of a bootstrap; and numbers in memory, which do not change what is drawn


@dataclass(frozen=True)
class Summary:
    """Mean, population std (ddof 0, as in the papers' tables), median, 95 % bootstrap interval of the mean, number of values."""

    mean: float
    std: float
    median: float
    low: float
    high: float
    n: int


def summary(values: Iterable[float], seed: int = 0) -> Summary:
    """The `Summary` of the defined values; NaN where there is none."""
    values = defined(values)
    if len(values) == 0:
        return Summary(NAN, NAN, NAN, NAN, NAN, 0)
    rng, at_once = np.random.default_rng(seed), max(1, AT_ONCE // len(values))
    sizes = [min(at_once, DRAWS - done) for done in range(0, DRAWS, at_once)]
    means = np.concatenate([rng.choice(values, (size, len(values))).mean(axis=1) for size in sizes])
    low, high = np.percentile(means, [2.5, 97.5])
    return Summary(float(values.mean()), float(values.std()), float(np.median(values)), float(low), float(high), len(values))


def correlation(a: Iterable[float], b: Iterable[float]) -> tuple[float, int]:
    """Pearson's r and n; r is NaN with fewer than two pairs or a constant side."""
    a, b = pairs(a, b)
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return NAN, len(a)
    return float(np.corrcoef(a, b)[0, 1]), len(a)


def r_squared(a: Iterable[float], b: Iterable[float]) -> tuple[float, int]:
    """The square of `correlation`, and n."""
    r, n = correlation(a, b)
    return r * r, n


def agreement(a: Iterable[float], b: Iterable[float], sigmas: float = 1.96) -> tuple[tuple[float, float, float], int]:
    """Bland-Altman: (bias, lower limit, upper limit) and n.

    The bias is the mean of a - b, the limits lie `sigmas` sample standard deviations below and above it.
    """
    a, b = pairs(a, b)
    if len(a) < 2:
        return (NAN, NAN, NAN), len(a)
    difference = a - b
    spread = sigmas * difference.std(ddof=1)
    return (float(difference.mean()), float(difference.mean() - spread), float(difference.mean() + spread)), len(a)


def wilcoxon(a: Iterable[float], b: Iterable[float]) -> float:
    """Two-sided p of the paired Wilcoxon signed-rank test; 1 where all pairs are equal."""
    a, b = pairs(a, b)
    return float(stats.wilcoxon(a, b).pvalue) if np.any(a != b) else 1.0


def signed_ranks(a: Iterable[float], b: Iterable[float]) -> float:
    """The sum that Wilcoxon's test judges: the ranks of |a - b|, each with the sign of a - b; equal pairs are left out."""
    a, b = pairs(a, b)
    differences = (a - b)[a != b]
    return float(np.sum(np.sign(differences) * stats.rankdata(np.abs(differences))))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of several p values, in their order."""
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1)
    return corrected.tolist()


def difference(a: Iterable[float], b: Iterable[float], seed: int = 0) -> Summary:
    """The `Summary` of a - b over the pairs of which neither is NaN; its interval draws whole pairs, always the same ones."""
    return summary(np.subtract(*pairs(a, b)), seed)


def mean_ranks(scores: Sequence[Sequence[float]], higher_is_better: bool) -> list[float]:
    """Mean rank of every method over all cases, 1 for the best; equal scores share their mean rank, undefined ones are last.

    Args:
        scores: of every method, in the same order of cases.
        higher_is_better: whether the highest score of a case has rank 1, or the lowest.
    """
    values = np.asarray(scores, float) * (-1 if higher_is_better else 1)
    return stats.rankdata(np.nan_to_num(values, nan=np.inf), axis=0).mean(axis=1).tolist()


def defined(values: Iterable[float]) -> np.ndarray:
    """The values that are not NaN."""
    found = np.asarray(list(values), float)
    return found[~np.isnan(found)]


def pairs(a: Iterable[float], b: Iterable[float]) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of which neither is NaN: first and second numbers."""
    first, second = np.asarray(list(a), float), np.asarray(list(b), float)
    both = ~(np.isnan(first) | np.isnan(second))
    return first[both], second[both]
