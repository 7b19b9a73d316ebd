"""Planted instances by the thousand: rows of one number of layers, whose optimum is known before a solver is asked.

Total price, sides and data are drawn first, and the closed forms are written here once more, by hand:

    allocation    x = t / c - 1       t = strength weight / price, c = t share
    pruning       x = n / (2 t)       n = 2 t share

Exact rows have data of few bits: qualities that add up to a power of two, prices that are powers of two, short shares
and bounds. The limit, a sum of products, is then a double without rounding (rows in which an operation is rounded are
left out), so the planted plan and multiplier are optimal in real numbers. Of eight parts of a program five have an
interior layer in every row and no layer on a breakpoint, and one has rows of all kinds: ties, and multipliers that are
an interval. The other two have rounded rows, with data of 53 bits; `slip` bounds how far the rounding of limit and
weights moves the optimum.

The rows of a part depend on (seed, part) alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zetaplan.spec.instance import EPSILON, Array
from zetaplan.spec.program import Program
from zetaplan.spec.programs.allocation import ALLOCATION
from zetaplan.spec.summation import SPLITTER
from zetaplan.verification.audit.planting import CAP, FLOOR, INTERIOR, MIX_ODDS, MIXES, PROGRAMS, TIE_CAP, TIE_FLOOR

DECADES = 12.0
LAYERS = (1, 2, 3, 3, 5, 5, 8, 8, 13, 21, 32)  # of a part
WHOLE = 2.0**40  # the largest quality of an exact row before it is topped up; DECADES lie below it
SHARE_BITS, BOUND_BITS = 5, 6
KNOBS = {"allocation": ("alpha", "gamma", "beta"), "pruning": ("bits", "eta", "kappa")}  # price, strength, exponent
MOST_SLIP = 1e-9  # rows that rounding moves further have no truth

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Rows:
    """N planted instances of K layers.

    quality, unit_cost, lower, upper, x, scale : (N, K). limit, slip, decades : (N,). least, most : (N,) the interval of
    optimal multipliers. scale : the rounding unit of the closed form, |slope u| + |offset|, 0 for a layer without
    weight. interior : (N, K) whether the optimum is stationary inside the box. exact : whether nothing is rounded.
    """

    program: Program
    knobs: dict[str, float]
    exact: bool
    quality: Array
    unit_cost: Array
    limit: Array
    lower: Array
    upper: Array
    x: Array
    scale: Array
    interior: Mask
    least: Array
    most: Array
    declared_price: float
    slip: Array
    decades: Array


def plant_rows(seed: int, part: int, count: int) -> Rows:
    """`count` instances of one program, number of layers and set of knobs."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, part])))
    program, layers = PROGRAMS[part % len(PROGRAMS)], int(rng.choice(LAYERS))
    kind = part // len(PROGRAMS) % 8
    exact, ties = kind > 1, kind == 7
    declared = 0.0 if rng.random() < 0.5 else 2.0 ** int(rng.integers(-20, 21))
    strength = float(2.0 ** rng.integers(-2, 3)) if exact else float(rng.uniform(0.1, 10.0))
    draws: list[Rows] = []
    while sum(row.limit.size for row in draws) < count:
        draws.append(_draw(rng, program, (count, layers), declared, strength, exact, ties))
    names = [name for name, value in vars(draws[0]).items() if isinstance(value, np.ndarray)]
    columns = {name: np.concatenate([getattr(row, name) for row in draws])[:count] for name in names}
    return Rows(program, draws[0].knobs, exact, declared_price=declared, **columns)


def _draw(
    rng: np.random.Generator,
    program: Program,
    shape: tuple[int, int],
    declared: float,
    strength: float,
    exact: bool,
    ties: bool,
) -> Rows:
    uses = program is ALLOCATION
    decades = rng.uniform(0.0, DECADES, shape[0])
    quality = _quality(rng, decades, shape, exact)
    price, multiplier = _prices(rng, declared, shape[0])
    t = strength * (quality / quality.sum(1, keepdims=True)) / price[:, None]
    side, share = _sides(rng, uses, shape, exact, ties)
    unit_cost = np.where(t > 0.0, t, _where_weightless(rng, t)) * share * (1.0 if uses else 2.0)
    stationary = 1.0 / share - 1.0 if uses else share
    lower, upper = _box(rng, side, stationary, uses, exact)
    side = np.where(t > 0.0, side, FLOOR if uses else CAP)
    interior = side == INTERIOR
    x = np.where((side == FLOOR) | (side == TIE_FLOOR), lower, np.where(interior, stationary, upper))
    moving = t if uses else t * share * share * 2.0
    use = np.where(interior & uses, t - unit_cost, unit_cost * x)
    limit, kept = _sum(use)
    kept &= (_lost(t, share) == 0.0).all(1) & ((_lost(unit_cost, x) == 0.0) | (interior & uses)).all(1)
    kept &= (~interior | (unit_cost + use == t)).all(1) if uses else True
    slack = (multiplier == 0.0) & (declared > 0.0)
    limit = np.where(slack, limit * (1.0 + _room(rng, shape[0])) ** (1.0 if uses else -1.0), limit)
    least, most = _interval(side, t * price[:, None], unit_cost, x, lower < upper, uses)
    slip = np.zeros(shape[0])
    if not exact:
        volume, moved = (np.abs(use) + unit_cost).sum(1), np.where(interior, moving, 0.0).sum(1)
        slip = np.divide(8.0 * EPSILON * shape[1] * volume, moved, out=np.full(shape[0], np.inf), where=moved > 0.0)
        kept = slip <= MOST_SLIP
    kept &= ties | slack | interior.any(1)
    scale = np.where(t > 0.0, 1.0 / share if uses else share, 0.0) + (1.0 if uses else 0.0) * (t > 0.0)
    least, most = (np.where(slack, 0.0, np.maximum(end - declared, 0.0)) for end in (least, most))
    names = (
        "quality",
        "unit_cost",
        "limit",
        "lower",
        "upper",
        "x",
        "scale",
        "interior",
        "least",
        "most",
        "slip",
        "decades",
    )
    arrays = (quality, unit_cost, limit, lower, upper, x, scale, interior, least, most, slip, decades)
    columns: dict[str, Any] = {name: array[kept] for name, array in zip(names, arrays, strict=True)}
    knobs = dict(zip(KNOBS[program.name], (declared, strength, 1.0), strict=True))
    return Rows(program, knobs, exact, declared_price=declared, **columns)


def _quality(rng: np.random.Generator, decades: Array, shape: tuple[int, int], exact: bool) -> Array:
    """Gains over the decades of their row, in some rows all equal or some zero; whole and short in an exact row."""
    quality: Array = 10.0 ** (-decades[:, None] * rng.random(shape))
    equal = rng.random(shape) < rng.choice([0.0, 0.0, 0.3, 1.0], (shape[0], 1))
    quality = np.where(equal, quality[:, :1], quality)
    zero = rng.random(shape) < rng.choice([0.0, 0.0, 0.2], (shape[0], 1))
    if not exact:
        largest = np.arange(shape[1]) == quality.argmax(1)[:, None]
        return np.where(zero & ~largest, 0.0, quality * 10.0 ** rng.uniform(-12.0, 12.0, (shape[0], 1)))
    whole = np.rint(_short(np.where(zero, 0.0, quality), SHARE_BITS) * WHOLE)
    total = 2.0 ** np.ceil(np.log2(whole.sum(1) + 1.0))
    whole[np.arange(shape[0]), whole.argmax(1)] += total - whole.sum(1)
    return whole


def _prices(rng: np.random.Generator, declared: float, rows: int) -> tuple[Array, Array]:
    """(total price, multiplier): powers of two, or a declared price times one; 0 where the limit is slack."""
    if declared == 0.0:
        price: Array = np.exp2(rng.integers(-20, 21, rows)).astype(np.float64)
        return price, price
    factor: Array = np.exp2(rng.integers(0, 12, rows)).astype(np.float64)
    return declared * factor, declared * (factor - 1.0)


def _sides(
    rng: np.random.Generator, uses: bool, shape: tuple[int, int], exact: bool, ties: bool
) -> tuple[NDArray[Any], Array]:
    """The side of every layer, and the share that puts its stationary point there."""
    mix = np.array(MIXES)[rng.choice(len(MIXES), shape[0], p=MIX_ODDS)].cumsum(1)
    side = (rng.random(shape)[:, :, None] > mix[:, None, :4]).sum(2)
    share = 2.0 ** (rng.uniform(-5.0, 3.0, shape) if uses else rng.uniform(-4.0, 0.5, shape))
    share = share * np.where(rng.random((shape[0], 1)) < 0.2, 2.0 ** -rng.integers(0, 21, shape), 1.0)
    if not ties:
        side = np.where(side == TIE_FLOOR, FLOOR, np.where(side == TIE_CAP, CAP, side))
    tied = (side == TIE_FLOOR) | (side == TIE_CAP)
    power = 2.0 ** np.minimum(np.floor(np.log2(share)), 0.0)
    share = np.where(tied, power, _short(share, SHARE_BITS) if exact else share)
    beyond = share >= 1.0  # the stationary point is at the end of the program's own box, or past it
    return np.where(beyond & ~tied, FLOOR if uses else CAP, side), share


def _where_weightless(rng: np.random.Generator, t: Array) -> Array:
    return np.broadcast_to(t.max(1, keepdims=True) * 2.0 ** -rng.integers(0, 8, (len(t), 1)), t.shape)


def _box(rng: np.random.Generator, side: NDArray[Any], x: Array, uses: bool, exact: bool) -> tuple[Array, Array]:
    """Floors and caps around the stationary points, or on them, for the sides drawn."""
    base = np.clip(x, 0.0, np.inf if uses else 1.0)
    span = 4.0 * (base + 1.0) if uses else 1.0 - base
    tiny = rng.choice([1.0, 1.0, 1e-6], (len(x), 1))
    up = base + span * rng.random(x.shape) * tiny
    down = base * (1.0 - rng.random(x.shape) * tiny)
    up, down = (_short(up, BOUND_BITS, np.ceil), _short(down, BOUND_BITS, np.floor)) if exact else (up, down)
    loose = rng.random((len(x), 1)) < 0.5
    widest = np.where(loose, np.inf if uses else 1.0, up)
    none = np.where(rng.random(x.shape) < 0.5, 0.0, down)
    lower = np.choose(side, [up, none, none, base, none])
    upper = np.choose(side, [np.maximum(widest, up), widest, down, widest, base])
    pinned = rng.random(x.shape) < rng.choice([0.0, 0.0, 0.3], (len(x), 1))
    upper = np.where(pinned & (side == FLOOR), lower, upper)
    lower = np.where(pinned & (side == CAP), upper, np.minimum(lower, upper))
    return lower, upper


def _sum(values: Array) -> tuple[Array, Mask]:
    """The sums of the rows, and whether no addition was rounded (Knuth 1969)."""
    total, kept = values[:, 0], np.ones(len(values), dtype=np.bool_)
    for column in values.T[1:]:
        longer = total + column
        shift = longer - total
        kept &= ((total - (longer - shift)) + (column - shift)) == 0.0
        total = longer
    return total, kept


def _lost(a: Array, b: Array) -> Array:
    """What rounding takes from the products (Dekker 1971)."""
    (a_high, a_low), (b_high, b_low) = _split(a), _split(b)
    return np.asarray(((a_high * b_high - a * b) + a_high * b_low + a_low * b_high) + a_low * b_low, dtype=np.float64)


def _split(values: Array) -> tuple[Array, Array]:
    scaled = SPLITTER * values
    high = scaled - (scaled - values)
    return high, values - high


def _room(rng: np.random.Generator, rows: int) -> Array:
    drawn: Array = rng.choice([1e-9, 1.0, 3.0], rows) * (1.0 - rng.random(rows))
    return np.maximum(drawn, 1e-10)


def _interval(
    side: NDArray[Any], strength: Array, unit_cost: Array, x: Array, open_box: Mask, uses: bool
) -> tuple[Array, Array]:
    """Least and largest total price at which every layer stays where it is. strength : (N, K) strength weight."""
    with np.errstate(divide="ignore"):
        here = strength / (unit_cost * (1.0 + x)) if uses else 2.0 * strength * x / unit_cost
    weighted, floor = strength > 0.0, (side == FLOOR) | (side == TIE_FLOOR)
    inside, dear, cheap = side == INTERIOR, weighted & open_box, weighted & open_box
    above, below = (floor, ~floor) if uses else (~floor, floor)
    least = np.where(inside | (dear & above), here, 0.0).max(1)
    most = np.where(inside | (cheap & below), here, np.inf).min(1)
    return least, most


def _short(values: Array, bits: int, nearest: Any = np.rint) -> Array:
    """The values with mantissas of a few bits."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(nearest(np.ldexp(mantissa, bits)), exponent - bits), dtype=np.float64)
