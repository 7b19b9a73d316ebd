"""The data of a program as given: the knobs, the limit, and the arrays of one term, each checked against its range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from zetaplan.errors import SpecError
from zetaplan.spec import checks
from zetaplan.spec.checks import Array, Arrayish
from zetaplan.spec.program import Program, Scalar, Term

Names = Sequence[str] | None


def knobs(program: Program, given: Mapping[str, float]) -> dict[str, float]:
    """The scalar knobs by name, those that are not given at their defaults."""
    unknown = given.keys() - {scalar.name for scalar in program.scalars}
    if unknown:
        known = ", ".join(scalar.name for scalar in program.scalars)
        raise SpecError(f"{program.name} has no parameter {sorted(unknown)[0]!r}; it has {known}")
    return {scalar.name: _knob(scalar, given.get(scalar.name, scalar.default)) for scalar in program.scalars}


def _knob(scalar: Scalar, value: float) -> float:
    number = checks.number(scalar.name, value)
    low, strict = scalar.floor, scalar.strict
    if number < low or (strict and number == low) or number >= scalar.below:
        below = f" and below {scalar.below:g}" if scalar.below < math.inf else ""
        raise SpecError(f"{scalar.name} = {number:g}: expected {'above' if strict else 'at least'} {low:g}{below}")
    if not scalar.least <= number <= scalar.most:
        raise SpecError(f"{scalar.name} = {number:g}: expected a number between {scalar.least:g} and {scalar.most:g}")
    return checks.in_range(scalar.name, number, checks.LEAST)


def limit(program: Program, value: float) -> float:
    """The budget or target."""
    number = checks.number(program.limit_argument, value)
    if number < 0.0 and program.limit.is_nonnegative:
        raise SpecError(f"{program.limit_argument} = {number:g}: expected at least 0")
    return checks.in_range(program.limit_argument, number, checks.LIGHTEST)


def unit_cost(term: Term, values: Arrayish, layers: int, names: Names) -> Array:
    """(K,) the unit costs of a term."""
    vector = checks.broadcast(term.argument, values, layers, names)
    low, high = ends = checks.span(vector)
    if not (low > 0.0 and high < math.inf):
        bad = ~((vector > 0.0) & (vector < math.inf))
        checks.name_first(term.argument, vector, bad, "expected a finite number above 0")
    checks.all_in_range(term.argument, vector, ends, checks.LEAST)
    return frozen(vector)


def lower(term: Term, values: Arrayish, layers: int, names: Names) -> Array:
    """(K,) the floors of a term."""
    vector = checks.broadcast("lower", values, layers, names)
    low, high = ends = checks.span(vector)
    if not (low >= term.lower and high < math.inf):
        bad = ~((vector >= term.lower) & (vector < math.inf))
        checks.name_first("lower", vector, bad, f"expected a finite number of at least {term.lower:g}")
    checks.all_in_range("lower", vector, ends)
    return frozen(vector)


def upper(term: Term, values: Arrayish, floors: Array, layers: int, names: Names) -> Array:
    """(K,) the caps of a term."""
    vector = checks.broadcast("upper", values, layers, names)
    ends = checks.span(vector)
    if not ends[1] <= term.upper:
        checks.name_first("upper", vector, ~(vector <= term.upper), f"expected at most {term.upper}")
    if np.count_nonzero(vector >= floors) < layers:
        k = int(np.flatnonzero(~(vector >= floors))[0])
        raise SpecError(
            f"lower[{k}] = {floors[k]:g} is above upper[{k}] = {vector[k]:g}: "
            f"lower the floor or raise the cap of layer {k}"
        )
    checks.all_in_range("upper", vector, ends)
    return frozen(vector)


def frozen(array: Array) -> Array:
    """The array, read-only."""
    array.setflags(write=False)
    return array


@lru_cache(maxsize=8)  # offset, floor and cap, for pieces of two lengths
def constant(value: float, layers: int) -> Array:
    """The same number for every layer, in memory; cached because pieces of one length share it."""
    return frozen(np.full(layers, value))


def each(values: Any, like: Array) -> Array:
    """The values as float64, one per layer."""
    if isinstance(values, np.ndarray) and values.shape == like.shape:
        return values
    every = np.empty_like(like)
    every.fill(values)  # np.full and np.broadcast_to take several times as long for a few layers
    return every
