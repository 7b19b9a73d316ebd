"""Confidence intervals of means, and their form in a file."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from zetaplan.errors import ScoringError


@dataclass(frozen=True)
class Interval:
    """A mean with its two-sided confidence interval by Student's t over independent values."""

    mean: float
    low: float
    high: float
    level: float


def mean_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """The mean of (n,) values, n >= 2, with its interval. For a comparison, give the paired differences."""
    from scipy.stats import t

    v = np.asarray(values, np.float64)
    if v.ndim != 1 or len(v) < 2:
        raise ScoringError(f"values: an interval needs at least two numbers, got shape {v.shape}; take more text")
    half = float(t.ppf((1 + level) / 2, len(v) - 1)) * float(v.std(ddof=1)) / math.sqrt(len(v))
    return Interval(float(v.mean()), float(v.mean()) - half, float(v.mean()) + half, level)


def interval_facts(values: ArrayLike) -> dict[str, float | None]:
    """The mean and its interval for a file. A single value has a mean, but no interval."""
    v = np.asarray(values, np.float64)
    if v.size < 2:
        return {"mean": float(v.mean()), "low": None, "high": None}
    found = mean_interval(v)
    return {"mean": found.mean, "low": found.low, "high": found.high}
