"""Validation of numbers at the public edge. Messages name the argument, the layer, the value and the expected range.

Every program multiplies a few numbers (multiplier, unit cost, decision). The ranges keep these products inside the
range of a double, so no solver has to handle overflow or underflow of its sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zetaplan.errors import SpecError, shown
from zetaplan.spec.named import in_order

Array = NDArray[np.float64]
Arrayish = ArrayLike

LEAST, LARGEST = 1e-50, 1e50  # range of unit costs and nonzero knobs; LARGEST bounds limits and finite bounds too
MANY = 2**16  # layers
LIGHTEST = 1e-100  # least nonzero weight or limit


def number(name: str, value: Any) -> float:
    """The value as a finite float; raises SpecError otherwise."""
    try:
        checked = float(value)
    except (TypeError, ValueError, OverflowError):
        raise SpecError(f"{name} = {shown(value)}: expected a number") from None
    if not math.isfinite(checked):
        raise SpecError(f"{name} = {checked}: expected a finite number")
    return checked


def in_range(name: str, value: float, least: float = 0.0) -> float:
    """The value, if it is 0 or least <= |value| <= LARGEST; raises SpecError otherwise."""
    if value and not least <= abs(value) <= LARGEST:
        raise SpecError(f"{name} = {value:g}: {_range(least)}")
    return value


def all_in_range(name: str, vector: Array, ends: tuple[float, float], least: float = 0.0) -> None:
    """Raise SpecError unless every entry is infinite or between `least` and LARGEST. ends : the span of the vector."""
    if least <= ends[0] and (ends[1] <= LARGEST or ends[0] == math.inf):
        return
    bad = (vector < least) | ((vector > LARGEST) & (vector < math.inf))
    if bad.any():
        name_first(name, vector, bad, _range(least))


def span(vector: Array) -> tuple[float, float]:
    """(smallest, largest), NaN if any entry is NaN; for a few layers a reduction takes ten times as long."""
    return vector.item(vector.argmin()), vector.item(vector.argmax())


def _range(least: float) -> str:
    span = f"between {least:g} and {LARGEST:g}" if least else f"of at most {LARGEST:g}"
    return f"expected a number {span}; choose another unit"


def vector(name: str, values: Arrayish, names: Sequence[str] | None = None) -> Array:
    """A finite float64 vector; always a copy, so later changes of the caller's array do not reach the instance.

    names : of the layers, for values by name.
    """
    checked = numbers(name, in_order(name, values, names))
    if checked.ndim != 1:
        raise SpecError(f"{name}: expected one number per layer, shape (K,), got shape {checked.shape}")
    if checked.size and not (-math.inf < (ends := span(checked))[0] and ends[1] < math.inf):
        name_first(name, checked, ~np.isfinite(checked), "expected a finite number; check the score of this layer")
    return checked


def numbers(name: str, values: Arrayish) -> Array:
    """A new float64 array of any shape, from numbers, arrays, or tensors of any type on any device."""
    try:
        return np.array(detached(values), dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a list of tensors with a gradient
        raise SpecError(f"{name}: expected numbers, got {type(values).__name__}: {shown(values)}") from None


def detached(values: Any) -> Any:
    """A tensor as numbers that numpy can read, without its gradient, its device and its type; others as they are."""
    return values.detach().cpu().double().numpy() if hasattr(values, "detach") else values


def broadcast(name: str, values: Arrayish, layers: int, names: Sequence[str] | None = None) -> Array:
    """The values as one number per layer, shape (K,). names : of the layers, for values by name."""
    checked = numbers(name, in_order(name, values, names))
    if checked.ndim == 0:
        return one_number(float(checked), layers)
    if checked.shape != (layers,):
        raise SpecError(
            f"{name}: expected one number or {layers} of them, as many as quality has layers, got shape {checked.shape}"
        )
    return checked


def one_number(value: float, layers: int) -> Array:
    """The same number for every layer, shape (K,); of many layers it is in memory once."""
    if layers > MANY:
        return np.broadcast_to(np.float64(value), layers)
    every = np.empty(layers)
    every.fill(value)  # np.full and np.broadcast_to take several times as long for a few layers
    return every


def name_first(name: str, values: Array, bad: NDArray[np.bool_], expected: str) -> NoReturn:
    """Raise SpecError for the first bad entry."""
    k = int(np.flatnonzero(bad)[0])
    more = int(bad.sum()) - 1
    raise SpecError(f"{name}[{k}] = {values[k]:g}: {expected}" + (f" ({more} more)" if more else ""))
