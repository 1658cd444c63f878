"""Statistics of per-case rows: undefined values (NaN) are left out and n says how many were not."""

from dataclasses import dataclass

import numpy as np

from shared.lazy import lazily

with lazily():
    from scipy import stats


@dataclass(frozen=True)
class Summary:
    """Mean, population std (ddof 0, as the papers' tables), median, 95 % bootstrap interval of the mean, n defined values."""

    mean: float
    std: float
    median: float
    low: float
    high: float
    n: int


def summary(values, seed=0):
    values = defined(values)
    if len(values) == 0:
        return Summary(*[float("nan")] * 5, 0)
    means = np.random.default_rng(seed).choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Summary(*map(float, (values.mean(), values.std(), np.median(values), low, high)), len(values))


def correlation(a, b):
    """Pearson's r and n; r is NaN with fewer than two pairs or a constant side."""
    a, b = pairs(a, b)
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan"), len(a)
    return float(np.corrcoef(a, b)[0, 1]), len(a)


def agreement(a, b):
    """Bland-Altman: bias = mean of a - b, and limits bias -+ 1.96 sample std; with n."""
    a, b = pairs(a, b)
    if len(a) < 2:
        return (float("nan"),) * 3, len(a)
    difference = a - b
    spread = 1.96 * difference.std(ddof=1)
    return (float(difference.mean()), float(difference.mean() - spread), float(difference.mean() + spread)), len(a)


def wilcoxon(a, b):
    """Two-sided p of the paired Wilcoxon signed-rank test; 1 where all pairs are equal."""
    a, b = pairs(a, b)
    return float(stats.wilcoxon(a, b).pvalue) if np.any(a != b) else 1.0


def holm(p_values):
    """Holm's step-down correction of several p values, in their order."""
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1)
    return corrected.tolist()


def defined(values):
    values = np.asarray(list(values), float)
    return values[~np.isnan(values)]


def pairs(a, b):
    a, b = np.asarray(list(a), float), np.asarray(list(b), float)
    both = ~(np.isnan(a) | np.isnan(b))
    return a[both], b[both]
