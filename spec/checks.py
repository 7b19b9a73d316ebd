"""Validation of numbers at the edge: every message names the argument, the layer, the value and what was expected.

Products of a few numbers occur in every program (multiplier, cost, decision). The ranges keep all of them inside the
range of a double, so that no solver has to handle overflow or underflow of its own sums.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zetaplan.errors import SpecError

Array = NDArray[np.float64]
Arrayish = ArrayLike

LEAST, LARGEST = 1e-50, 1e50  # of costs, sizes and knobs other than 0; LARGEST also of limits and finite bounds
LIGHTEST = 1e-100  # of a weight or a limit other than 0


def number(name: str, value: Any) -> float:
    """A finite number."""
    try:
        checked = float(value)
    except (TypeError, ValueError, OverflowError):
        raise SpecError(f"{name} = {_short(value)}: expected a number") from None
    if not math.isfinite(checked):
        raise SpecError(f"{name} = {checked}: expected a finite number")
    return checked


def in_range(name: str, value: float, least: float = 0.0) -> float:
    """0, or a number whose size is at least `least` and at most LARGEST."""
    if value and not least <= abs(value) <= LARGEST:
        raise SpecError(f"{name} = {value:g}: {_range(least)}")
    return value


def all_in_range(name: str, vector: Array, least: float = 0.0) -> None:
    """Every entry is infinite, or between `least` and LARGEST."""
    bad = (vector < least) | ((vector > LARGEST) & (vector < math.inf))
    if bad.any():
        name_first(name, vector, bad, _range(least))


def _range(least: float) -> str:
    span = f"between {least:g} and {LARGEST:g}" if least else f"of at most {LARGEST:g}"
    return f"expected a number {span}; choose another unit"


def vector(name: str, values: Arrayish) -> Array:
    """A finite float64 vector; the caller's array is never shared, so it cannot change under the instance."""
    checked = numbers(name, values)
    if checked.ndim != 1:
        raise SpecError(f"{name}: expected one number per layer, shape (K,), got shape {checked.shape}")
    if not np.isfinite(checked).all():
        name_first(name, checked, ~np.isfinite(checked), "expected a finite number; find out which layer's score broke")
    return checked


def numbers(name: str, values: Arrayish) -> Array:
    """A new float64 array of any shape."""
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise SpecError(f"{name}: expected numbers, got {type(values).__name__}: {str(values)[:60]}") from None


def broadcast(name: str, values: Arrayish, layers: int) -> Array:
    """One number per layer."""
    checked = numbers(name, values)
    if checked.ndim == 0:
        return np.full(layers, checked)
    if checked.shape != (layers,):
        raise SpecError(
            f"{name}: expected one number or {layers} of them, as many as quality has layers, got shape {checked.shape}"
        )
    return checked


def name_first(name: str, values: Array, bad: NDArray[np.bool_], expected: str) -> NoReturn:
    """Raise SpecError for the first bad entry."""
    k = int(np.flatnonzero(bad)[0])
    more = int(bad.sum()) - 1
    raise SpecError(f"{name}[{k}] = {values[k]:g}: {expected}" + (f" ({more} more like it)" if more else ""))


def _short(value: Any) -> str:
    """The value in a message; an integer may have thousands of digits."""
    text = f"an integer of {value.bit_length()} bits" if isinstance(value, int) else repr(value)
    return text[:60]
