"""Certificates for many plans at once, in torch: one residual per instance and condition of `certificate`.

The residuals are the same dimensionless quotients, derived from the same declaration. The resource is summed with
rounding, which is added to its volume. No solver is imported here.
"""

from __future__ import annotations

from typing import NamedTuple

import sympy as sp
import torch

from zetaplan.spec.batch import Batch
from zetaplan.spec.derivation import SMALLEST, Derivation, derive
from zetaplan.spec.instance import EPSILON
from zetaplan.verification.claim import LEAST, ROUNDING, TOLERANCE, UNITS, underflow

CONDITIONS = (
    "coupling",
    "box",
    "multiplier",
    "box multipliers",
    "stationarity",
    "complementary slackness",
    "duality gap",
)


def residuals(batch: Batch, x: torch.Tensor, multiplier: torch.Tensor) -> torch.Tensor:
    """The residual of every claim and condition, (N, 7) in the order of CONDITIONS; NaN if it is undefined."""
    (derivation,) = derive(batch.program)
    declared_price = batch.evaluate(derivation.declared_price)
    excess = batch.program.sign * (batch.term.usage * (batch.unit_cost * x).sum(1) - batch.limit)
    share = torch.where(multiplier.isinf(), 1.0, _relative(multiplier.abs(), multiplier.abs() + declared_price))
    gradient = _gradient(batch, derivation, x, multiplier)
    volume = _volume(batch, derivation, x, gradient)
    scale = _scale(batch.limit.abs(), volume)
    columns = (
        _relative(excess.clamp(min=0.0), scale),
        _outside(batch, x),
        _relative((-multiplier).clamp(min=0.0), multiplier.abs() + declared_price),
        *_misses(batch, x, gradient),
        _product(share, _relative(excess.abs(), scale)),
        _gap(batch, derivation, x, multiplier, gradient, excess, volume),
    )
    return torch.stack(columns, 1)


def certified(residual: torch.Tensor) -> torch.Tensor:
    """Whether a claim satisfies every condition, (N,) bool."""
    return (residual <= TOLERANCE).all(1)  # false for NaN


def _weighted(batch: Batch, expression: sp.Expr, x: object, multiplier: object) -> torch.Tensor:
    """The expression with 0 f = 0 for a layer without weight, even if f is infinite."""
    values = batch.evaluate(expression, x, multiplier)
    if batch.weightless is None:
        return values
    return torch.where(batch.weightless, batch.evaluate(expression.subs(batch.term.weight, 0), x, multiplier), values)


class _Gradient(NamedTuple):
    """The ends of the interval that rounds to x, and the relative gain of each layer by falling or rising to them."""

    low: torch.Tensor
    high: torch.Tensor
    falls: torch.Tensor
    rises: torch.Tensor


def _gradient(batch: Batch, derivation: Derivation, x: torch.Tensor, multiplier: torch.Tensor) -> _Gradient:
    size = x.abs()
    slip = UNITS * (torch.nextafter(size, torch.full_like(size, torch.inf)) - size)
    low, high = torch.maximum(x - slip, batch.lower), torch.minimum(x + slip, batch.upper)
    falls, rises = (_slope(batch, derivation, end, multiplier) for end in (low, high))
    return _Gradient(low, high, falls, -rises)


def _slope(batch: Batch, derivation: Derivation, x: torch.Tensor, multiplier: torch.Tensor) -> torch.Tensor:
    """dL/dx over the sum of the absolute values of its terms; the sign of dL/dx if it is infinite."""
    slope = _weighted(batch, derivation.stationarity, x, multiplier[:, None]).expand(x.shape)
    magnitude = _weighted(batch, derivation.absolute_stationarity, x, multiplier[:, None])
    magnitude = magnitude + underflow(batch.unit_cost, batch.knobs)
    slope = torch.where(slope.isinf(), slope.sign(), slope / magnitude)
    sigma = batch.program.sign * batch.term.usage
    return torch.where(multiplier.isinf()[:, None], sigma * multiplier.sign()[:, None], slope)


def _volume(batch: Batch, derivation: Derivation, x: torch.Tensor, gradient: _Gradient) -> torch.Tensor:
    """The part of the resource that rounding affects, with the rounding of the sum itself, (N,)."""
    offset = batch.evaluate(derivation.offset).abs()
    flat = ROUNDING * (1.0 + offset)
    inside = (x > batch.lower) | (gradient.falls < flat)
    inside &= ((x < batch.upper) | (gradient.rises < flat)) & (batch.weight > 0.0)
    summed = (batch.unit_cost * x.abs() + LEAST).sum(1) + batch.limit.abs()  # LEAST: products below the normal doubles
    return torch.where(inside, batch.unit_cost * (x.abs() + offset), 0.0).sum(1) + EPSILON / ROUNDING * summed


def _outside(batch: Batch, x: torch.Tensor) -> torch.Tensor:
    bound = torch.clamp(x, batch.lower, batch.upper)
    return torch.where(bound == x, 0.0, (x - bound).abs() / torch.maximum(x.abs(), bound.abs())).amax(1)


def _misses(batch: Batch, x: torch.Tensor, gradient: _Gradient) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest residuals of the box multipliers and of stationarity, both (N,)."""
    unit = x.abs().clamp(min=1.0)
    up, down = x - batch.lower, batch.upper - x
    floor, cap = up <= TOLERANCE * unit, down <= TOLERANCE * unit
    wrong = torch.where(floor & ~cap, gradient.rises, torch.where(cap & ~floor, gradient.falls, 0.0))
    distance = torch.where(gradient.falls > 0.0, up, down).abs() / unit
    missed = torch.minimum(torch.maximum(gradient.falls, gradient.rises), distance)
    missed = torch.where(floor | cap, 0.0, missed)
    return wrong.amax(1).clamp(min=0.0), missed.amax(1).clamp(min=0.0)


def _gap(
    batch: Batch,
    derivation: Derivation,
    x: torch.Tensor,
    multiplier: torch.Tensor,
    gradient: _Gradient,
    excess: torch.Tensor,
    volume: torch.Tensor,
) -> torch.Tensor:
    """F(x) - D(lambda) over its scale, (N,)."""
    optimal = ((gradient.falls <= 0.0) | (gradient.low <= batch.lower)) & (
        (gradient.rises <= 0.0) | (gradient.high >= batch.upper)
    )
    cheapest = _cheapest(batch, derivation, multiplier.clamp(min=0.0)[:, None])
    cheapest = torch.where(optimal | ((x - cheapest).abs() <= LEAST), x, cheapest)
    declared_price = batch.evaluate(derivation.declared_price)
    value, least = (_weighted(batch, batch.term.objective, plan, 0.0) for plan in (x, cheapest))
    moved = batch.program.sign * batch.term.usage * batch.unit_cost * (x - cheapest)
    losses = value - least + _product(multiplier[:, None], moved)
    gap = losses.sum(1) - _product(multiplier, excess)
    use = _product(multiplier.abs()[:, None] + declared_price, batch.unit_cost * (x.abs() + cheapest.abs()))
    sizes = torch.where(x == cheapest, 0.0, value.abs() + least.abs() + use).sum(1)
    scale = _scale(value.sum(1).abs(), sizes + _product(multiplier.abs(), volume))
    scale = scale + LEAST * (x.shape[1] + batch.limit.abs())
    relative = torch.where(multiplier.isinf(), gap.abs(), _relative(gap.abs(), scale))
    return torch.where(gap.isfinite(), relative, torch.inf)


def _scale(amount: torch.Tensor, volume: torch.Tensor) -> torch.Tensor:
    return amount + ROUNDING / TOLERANCE * volume


def _product(factor: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The product, with 0 inf = 0."""
    return torch.where((values == 0.0) | (factor == 0.0), 0.0, factor * values)


def _cheapest(batch: Batch, derivation: Derivation, multiplier: torch.Tensor) -> torch.Tensor:
    """The minimiser of the Lagrangian of every layer, as `Derivation.stationary`."""
    x = batch.evaluate(derivation.combined_form, 0.0, multiplier)
    if derivation.offset == 0:
        total_price = batch.evaluate(derivation.declared_price) + multiplier
        x = torch.where((total_price > 0.0) & total_price.isfinite(), x.clamp(min=SMALLEST), x)
    x = torch.clamp(x, batch.lower, batch.upper)
    if batch.weightless is None:
        return x
    return torch.where(batch.weightless, batch.lower if batch.uses else batch.upper, x)


def _relative(amount: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return torch.where(scale == 0.0, amount, amount / scale)
