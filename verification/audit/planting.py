"""Planted instances: choose multiplier and sides first, then the data that make them optimal.

In every program with a rational closed form the optimum is x_k = clip(slope_k u + offset_k, l_k, h_k). Weights, level u
and unit costs are drawn. Each box is placed around the stationary point so that the layer has its chosen side (floor,
interior, cap, or on a breakpoint). The limit is R = sum_k d_k x_k. All values are fractions. If R is a double, the
optimum of the instance is known in fractions without a solver.

Instance i of a seed depends only on (seed, i).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from flint import fmpq

from zetaplan.spec.derivation import TOTAL_PRICE, Derivation, derive
from zetaplan.spec.instance import Array, Instance, declare, normalise
from zetaplan.spec.program import Program
from zetaplan.spec.programs.allocation import ALLOCATION
from zetaplan.spec.programs.pruning import PRUNING
from zetaplan.spec.rational import fraction, fractions, total

PROGRAMS = (ALLOCATION, PRUNING)
LAYERS = 200
BITS = 8  # of the dyadic data, so that sums of products fit the 53 bits of a double

FLOOR, INTERIOR, CAP, TIE_FLOOR, TIE_CAP = range(5)

# Probabilities of the sides in an instance: floor, interior, cap, tie at the floor, tie at the cap.
MIXES = (
    (0.2, 0.6, 0.1, 0.05, 0.05),
    (0.45, 0.1, 0.45, 0.0, 0.0),
    (0.1, 0.1, 0.1, 0.35, 0.35),
    (0.0, 1.0, 0.0, 0.0, 0.0),
    (0.5, 0.0, 0.3, 0.1, 0.1),  # no layer is interior: the multiplier is an interval
    (1.0, 0.0, 0.0, 0.0, 0.0),  # the limit is the use of the floors
    (0.0, 0.0, 1.0, 0.0, 0.0),  # the limit is the use of the caps
)
MIX_ODDS = (0.4, 0.15, 0.15, 0.15, 0.07, 0.04, 0.04)


@dataclass(frozen=True)
class Planted:
    """An instance, the decades of its quality, and its optimum if that is known.

    plan, multiplier : fractions; None if the limit had to be rounded to a double.
    """

    instance: Instance
    spread: float
    plan: tuple[Fraction, ...] | None
    multiplier: Fraction | None


@dataclass(frozen=True)
class _Draw:
    """The freely chosen data of an instance without its box, as doubles."""

    program: Program
    quality: Array
    weight: Array
    unit_cost: Array
    scalars: tuple[float, ...]
    multiplier: float
    dyadic: bool

    @property
    def derivation(self) -> Derivation:
        return derive(self.program)[0]

    @property
    def declared_price(self) -> float:
        return float(self.derivation.declared_price_of(*self.scalars))

    @property
    def free(self) -> bool:
        """Whether the total price is 0."""
        return self.multiplier == 0.0 and self.declared_price == 0.0


def plant(seed: int, index: int, spread: tuple[float, float] = (0.0, 12.0)) -> Planted:
    """Instance `index` of `seed`: K from 1 to 200, quality over a number of decades drawn from `spread`."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, index])))
    decades = float(rng.uniform(*spread))
    draw = _draw(rng, PROGRAMS[rng.integers(len(PROGRAMS))], decades)
    stationary = _stationary(draw)
    lower, upper = _box(rng, draw, stationary)
    plan = [_clip(x, l, h) for x, l, h in zip(stationary, lower.tolist(), upper.tolist(), strict=True)]
    limit, exact = _limit(rng, draw, plan, lower, upper)
    knobs = {scalar.name: value for scalar, value in zip(draw.program.scalars, draw.scalars, strict=True)}
    instance = declare(draw.program, draw.quality, (draw.unit_cost,), limit, (lower,), (upper,), knobs)
    if not exact:
        return Planted(instance, decades, None, None)
    return Planted(instance, decades, tuple(map(_fraction, plan)), Fraction(draw.multiplier))


def _draw(rng: np.random.Generator, program: Program, decades: float) -> _Draw:
    layers = int((LAYERS + 1.0) ** rng.random() ** 1.3)  # mostly small, where special cases are frequent
    dyadic = bool(rng.random() < 0.6)
    quality = _quality(rng, layers, decades, dyadic)
    exponent, declared = program.terms[0].exponent, derive(program)[0].declared_price
    (strength,) = {scalar.symbol for scalar in program.scalars} - {exponent, declared}
    chosen = {
        exponent: 1.0 if dyadic else float(rng.choice([1.0, 1.0, 1.0, 2.0, 0.5, 0.0])),
        strength: float(rng.choice([1.0, 2.0] if dyadic else [1.0, 0.9, rng.uniform(0.1, 10.0)])),
        declared: 0.0 if rng.random() < 0.5 else _positive(rng, dyadic),
    }
    scalars = tuple(chosen[scalar.symbol] for scalar in program.scalars)
    binding = rng.random() < (0.9 if chosen[declared] == 0.0 else 0.7)
    multiplier = _multiplier(rng, chosen[declared], dyadic) if binding else 0.0
    weight = normalise(quality) ** chosen[exponent]
    unit_cost = _unit_cost(rng, program, weight, chosen[strength], (chosen[declared] + multiplier) or 1.0, dyadic)
    return _Draw(program, quality, weight, unit_cost, scalars, multiplier, dyadic)


def _quality(rng: np.random.Generator, layers: int, decades: float, dyadic: bool) -> Array:
    """Gains over the given decades, some equal, some zero; if dyadic, integers that sum to a power of two."""
    quality: Array = 10.0 ** (-decades * rng.random(layers))
    quality[rng.random(layers) < rng.choice([0.0, 0.0, 0.3, 1.0])] = quality[0]
    quality[rng.random(layers) < rng.choice([0.0, 0.0, 0.2])] = 0.0
    if not dyadic:
        quality[rng.integers(layers)] = 1.0
        quality *= 10.0 ** rng.uniform(-12.0, 12.0)
        return quality
    whole: Array = np.rint(_few_bits(quality) * 2.0**42)
    total = 2.0 ** math.ceil(math.log2(whole.sum() + 1.0))
    whole[rng.integers(layers)] += total - whole.sum()
    return whole


def _positive(rng: np.random.Generator, dyadic: bool) -> float:
    exponent = rng.uniform(-20.0, 20.0)
    return 2.0 ** round(exponent) if dyadic else float(2.0**exponent)


def _multiplier(rng: np.random.Generator, declared_price: float, dyadic: bool) -> float:
    """A multiplier for which pi is a power of two if dyadic, else 1e-8 to 1e8 times the declared price."""
    if declared_price == 0.0:
        return _positive(rng, dyadic)
    if dyadic:
        return declared_price * (2.0 ** int(rng.integers(1, 12)) - 1.0)
    return declared_price * float(10.0 ** rng.uniform(-8.0, 8.0))


def _unit_cost(
    rng: np.random.Generator, program: Program, weight: Array, strength: float, total_price: float, dyadic: bool
) -> Array:
    """Unit costs: in proportion to the weights, equal, or ill-scaled over many decades."""
    layers = weight.size
    typical = strength * (weight if rng.random() < 0.6 else np.full(layers, weight[rng.integers(layers)])) / total_price
    typical[typical == 0.0] = typical.max() or 1.0
    share = 2.0 ** rng.uniform(-5.0, 3.0, layers) if program is ALLOCATION else 2.0 * rng.uniform(0.05, 1.2, layers)
    share *= 10.0 ** (rng.choice([0.0, 0.0, 1.0, 6.0]) * rng.uniform(-1.0, 1.0, layers))
    unit_cost: Array = typical * (_few_bits(share) if dyadic else share)
    if rng.random() < 0.2:
        unit_cost[:] = unit_cost[0]
    return unit_cost


def _few_bits(values: Array) -> Array:
    mantissa, exponent = np.frexp(values)
    rounded: Array = np.ldexp(np.rint(np.ldexp(mantissa, BITS)), exponent - BITS)
    return rounded


def _stationary(draw: _Draw) -> list[fmpq | float]:
    """slope_k u + offset_k in fractions; at total price 0 the end towards which the objective falls."""
    pull = math.inf if draw.derivation.uses else 0.0
    idle = -math.inf if draw.derivation.uses else math.inf
    if draw.free:
        return [pull if w > 0.0 else 0.0 for w in draw.weight.tolist()]
    slope, offset, level = rational(draw.program)
    scalars = [fraction(value) for value in draw.scalars]
    u = level(fraction(draw.declared_price) + fraction(draw.multiplier), *scalars)
    rows = ((fraction(w), fraction(d)) for w, d in zip(draw.weight.tolist(), draw.unit_cost.tolist(), strict=True))
    return [slope(w, d, *scalars) * u + offset(w, d, *scalars) if w > 0 else idle for w, d in rows]


@cache
def rational(program: Program) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """slope(w, d, *scalars), offset(w, d, *scalars) and u(total price, *scalars) in fractions."""
    derivation = derive(program)[0]
    scalars = [scalar.symbol for scalar in program.scalars]
    layer = [derivation.term.weight, derivation.term.unit_cost]
    return (
        _quotient([*layer, *scalars], derivation.slope),
        _quotient([*layer, *scalars], derivation.offset),
        _quotient([TOTAL_PRICE, *scalars], derivation.level),
    )


def _quotient(symbols: list[sp.Symbol], expression: sp.Expr) -> Callable[..., Any]:
    """A rational function with integer coefficients, so that no decimal number enters."""
    above, below = (sp.lambdify(symbols, part, modules="math") for part in sp.fraction(sp.together(expression)))
    return lambda *values: fmpq(above(*values)) / fmpq(below(*values))


def _box(rng: np.random.Generator, draw: _Draw, stationary: list[fmpq | float]) -> tuple[Array, Array]:
    """Floors and caps that give every layer the side drawn for it, as far as the program's own box allows."""
    term, layers = draw.derivation.term, draw.weight.size
    largest = term.upper if math.isfinite(term.upper) else 64.0
    x = np.clip(np.array([_float(value) for value in stationary]), term.lower, largest)
    side = rng.choice(5, size=layers, p=MIXES[rng.choice(len(MIXES), p=MIX_ODDS)])
    up, down = x + (largest - x) * _share(rng, layers), x * _share(rng, layers)
    loose = rng.random() < 0.5 and not draw.free
    widest = np.full(layers, term.upper if loose else largest)
    lower = np.choose(side, [up, down, down * rng.choice([0.0, 1.0]), x, down])
    upper = np.choose(side, [widest, np.where(loose, widest, up), down, widest, x])
    tight = rng.random(layers) < rng.choice([0.0, 0.0, 0.3])
    upper = np.where(tight & (side == FLOOR), lower, upper)  # caps equal to floors
    lower = np.where(tight & (side == CAP), upper, np.minimum(lower, upper))
    if draw.dyadic:
        lower, upper = _few_bits(lower), np.where(np.isfinite(upper), _few_bits(upper), upper)
    return lower, np.maximum(lower, upper)


def _share(rng: np.random.Generator, layers: int) -> Array:
    """Shares of the distance to the bound: uniform in [0, 1), sometimes scaled by 1e-6 or 1e-12."""
    return rng.random(layers) * float(rng.choice([1.0, 1.0, 1.0, 1e-6, 1e-12]))


def _clip(x: fmpq | float, lower: float, upper: float) -> fmpq:
    if isinstance(x, float):
        return fraction(min(max(x, lower), upper))
    x = max(x, fraction(lower))
    return x if math.isinf(upper) else min(x, fraction(upper))


def _limit(rng: np.random.Generator, draw: _Draw, plan: list[fmpq], lower: Array, upper: Array) -> tuple[float, bool]:
    """A limit as a double, and whether the plan is the optimum under it without any rounding."""
    use = total([d * x for d, x in zip(fractions(draw.unit_cost), plan, strict=True)])
    uses = draw.derivation.uses
    limit = _float(use)
    if draw.multiplier > 0.0:
        if uses and fraction(limit) < _rational_dot(draw.unit_cost, lower):
            return math.nextafter(limit, math.inf), False
        if not uses and np.isfinite(upper).all() and fraction(limit) > _rational_dot(draw.unit_cost, upper):
            return math.nextafter(limit, 0.0), False
        return limit, fraction(limit) == use
    room = float(rng.choice([0.0, 1e-9, rng.random(), 3.0]))
    limit = limit * (1.0 + room) if uses else max(limit * (1.0 - room), 0.0)
    slack = fraction(limit) >= use if uses else fraction(limit) <= use
    if not slack:
        limit = math.nextafter(limit, math.inf if uses else 0.0)
    unique = not draw.free or uses or bool((draw.weight > 0.0).all())
    return limit, unique


def _rational_dot(a: Array, b: Array) -> fmpq:
    return total([x * y for x, y in zip(fractions(a), fractions(b), strict=True)])


def _fraction(value: fmpq) -> Fraction:
    return Fraction(int(value.p), int(value.q))


def _float(value: fmpq | float) -> float:
    return value if isinstance(value, float) else int(value.p) / int(value.q)
