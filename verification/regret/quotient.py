"""The largest quotient of two separable sums under one constraint, by Dinkelbach's method (1967)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zetaplan.spec.instance import Array

Chances = Array | NDArray[np.bool_]  # of the higher end; true or false where no end counts in part

STEPS = 50  # of Dinkelbach's method; about five suffice, and the remainder is added to the bound


class Quotient(NamedTuple):
    """value : t. left : bound on top - t bottom. chances : (C,) of the higher ends. multiplier : mu of the sizes."""

    value: float
    left: float
    chances: Chances
    multiplier: float


def largest_quotient(
    top: Array, bottom: Array, more_top: float, more_bottom: float, sizes: Array, exact: bool = False
) -> Quotient:
    """max over ends e of t = (sum_k top[e_k, k] + more_top) / (sum_k bottom[e_k, k] + more_bottom), the divisor > 0.

    top, bottom, sizes : (2, C). If sizes[e_k, k] sum to more than 1 (or, if `exact`, less), one end counts in part.
    """
    t = 0.0
    for _ in range(STEPS):
        values = top - t * bottom
        chances, multiplier = _chosen(values, sizes, exact)
        above, below = (
            float(mixed(ends, chances).sum()) + more for ends, more in ((top, more_top), (bottom, more_bottom))
        )
        if above / below <= t:
            break
        t = above / below
    left = float((values - multiplier * sizes).max(axis=0).sum()) + multiplier + more_top - t * more_bottom
    return Quotient(t, left, chances, multiplier)


def mixed(ends: Array, chances: Chances) -> Array:
    """The mean of the lower and the higher end, (2, ...), by the chance of the higher one, or whether it is taken."""
    whole = chances.dtype == np.bool_
    found: Array = np.where(chances, ends[1], ends[0]) if whole else (1.0 - chances) * ends[0] + chances * ends[1]
    return found


def _chosen(values: Array, sizes: Array, exact: bool) -> tuple[Chances, float]:
    """The chances of the higher ends that maximise the sum while the sizes sum to 1, and the multiplier of the sizes.

    Ends are chosen in the order of rise per size; the last one gets a fractional chance.
    """
    rise, room = values[1] - values[0], sizes[1] - sizes[0]
    rises = rise > 0.0
    fits = np.flatnonzero((room > 0.0) & (rises | exact))
    if not fits.size:
        return rises, 0.0
    chances = rises.astype(np.float64)
    worth = rise[fits] / room[fits]
    order = np.argsort(-worth, kind="stable")
    spent = float(sizes[0].sum()) + np.cumsum(room[fits][order])
    first = int(np.searchsorted(spent, 1.0, side="right"))  # the first that does not fit
    if first == fits.size:
        return chances, 0.0
    last = fits[order[first]]
    chances[fits[order]] = np.arange(fits.size) < first
    chances[last] = min(max(1.0 - (spent[first] - 1.0) / room[last], 0.0), 1.0)
    return chances, float(worth[order[first]])
