"""Confidence intervals of means, and their form in a file."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zetaplan._student import student
from zetaplan.errors import ScoringError


@dataclass(frozen=True)
class Interval:
    """A mean with its standard error, and its two-sided confidence interval by Student's t over independent values."""

    mean: float
    standard_error: float
    low: float
    high: float
    level: float


def mean_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """The mean of (n,) values, n >= 2, with its interval. For a comparison, give the paired differences."""
    v = np.asarray(values, np.float64)
    if v.ndim != 1 or len(v) < 2:
        raise ScoringError(f"values: an interval needs at least two numbers, got shape {v.shape}; take more text")
    mean, error = float(v.mean()), float(v.std(ddof=1)) / math.sqrt(len(v))
    half = student((1 - level) / 2, len(v) - 1) * error
    return Interval(mean, error, mean - half, mean + half, level)


def interval_facts(values: ArrayLike) -> dict[str, float | None]:
    """The mean and its interval for a file. A single value has a mean, but no interval."""
    v = np.asarray(values, np.float64)
    if v.size < 2:
        return {"mean": float(v.mean()), "low": None, "high": None}
    found = mean_interval(v)
    return {"mean": found.mean, "low": found.low, "high": found.high}


def per_token(sums: ArrayLike, counts: ArrayLike) -> NDArray[np.float64]:
    """(W,) values whose mean is r = sum(sums) / sum(counts), and whose interval is that of r over W windows.

    The ratio is linearised: r + (s_w - r n_w) / mean(n). Windows of one size have their own means s_w / n_w; a short
    window, such as the last of a text, counts by its tokens.
    """
    s, n = np.asarray(sums, np.float64), np.asarray(counts, np.float64)
    ratio = s.sum() / n.sum()
    return np.asarray(ratio + (s - ratio * n) / n.mean())


def quantile_facts(values: ArrayLike, counts: ArrayLike, share: float) -> dict[str, float | None]:
    """The quantile of all (T,) values for a file, with its 95% interval over windows; counts : (W,) values per window.

    The interval is that of Woodruff (1952, JASA 47): the interval of the share of the values that are at most the
    quantile, mapped back through the quantiles of the values. There is none if it reaches beyond the values: a
    99.9% quantile needs some thousands of them.
    """
    v, n = np.asarray(values, np.float64), np.asarray(counts)
    value = float(np.quantile(v, share))
    below = np.add.reduceat(v <= value, np.cumsum(n) - n, dtype=np.float64)
    found = interval_facts(per_token(below, n))
    if found["low"] is None or found["high"] is None:
        return {"value": value, "low": None, "high": None}
    half = (found["high"] - found["low"]) / 2
    if not 0 <= share - half <= share + half <= 1:
        return {"value": value, "low": None, "high": None}
    low, high = np.quantile(v, [share - half, share + half])
    return {"value": value, "low": float(low), "high": float(high)}
