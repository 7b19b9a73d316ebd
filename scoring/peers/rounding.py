"""Whole experts from fractional shares with a fixed total: the two rounding rules of the peers."""

import numpy as np
from numpy.typing import NDArray

from zetaplan.errors import ScoringError
from zetaplan.scoring.peers.validation import Array

Counts = NDArray[np.int64]


def check_total(total: int, layers: int) -> int:
    """The total as an int. Raises ScoringError unless it allows at least one expert per layer."""
    if total != int(total) or total < layers:
        raise ScoringError(f"total: expected a whole number of at least {layers} (one expert per layer), got {total}")
    return int(total)


def shares(weight: Array, total: int) -> Array:
    """total * weight / sum(weight); equal shares if every weight is zero."""
    scale = weight.max()
    scaled = weight / scale if scale > 0 else np.ones_like(weight)
    share: Array = total * scaled / scaled.sum()
    return share


def largest_fractions(share: Array, total: int) -> Counts:
    """Round down, then add one to each of the largest fractions; the earlier of equal layers comes first."""
    count = np.floor(share).astype(np.int64)
    order = np.argsort(count - share, kind="stable")
    count[order[: total - int(count.sum())]] += 1
    return count


def nearest_repaired(share: Array, total: int) -> Counts:
    """Round to nearest, at least 1 each, then change by one the count furthest from its share until the total holds."""
    count = np.maximum(np.rint(share), 1).astype(np.int64)
    while int(count.sum()) < total:
        count[np.argmax(share - count)] += 1
    while int(count.sum()) > total:
        count[np.argmax(np.where(count > 1, count - share, -np.inf))] -= 1
    return count
