"""The conditions of `certificate`, for many plans at once, in torch: one residual per instance and condition.

The same quotients without unit, from the same declaration; no solver is imported here.
"""

from __future__ import annotations

import sympy as sp
import torch

from zetaplan.spec.batch import Batch
from zetaplan.spec.derivation import SMALLEST, Derivation, derive
from zetaplan.spec.program import MULTIPLIER
from zetaplan.verification.certificate import TOLERANCE

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
    """By how much each claim misses each condition, (N, 7) in the order of CONDITIONS; NaN where it is no number."""
    (derivation,) = derive(batch.program)
    unit = x.abs().clamp(min=1.0)
    price = batch.evaluate(derivation.total_price - MULTIPLIER)
    use = batch.data * x
    excess = batch.program.sign * (batch.term.usage * use.sum(1) - batch.limit)
    volume = (batch.data * unit).sum(1) + batch.limit.abs()
    share = _relative(multiplier.abs(), multiplier.abs() + price)
    wrong, missed = _gradient(batch, derivation, x, multiplier, unit)
    columns = (
        _relative(excess.clamp(min=0.0), volume),
        (torch.maximum(batch.lower - x, x - batch.upper) / unit).amax(1).clamp(min=0.0),
        _relative((-multiplier).clamp(min=0.0), multiplier.abs() + price),
        wrong,
        missed,
        share * _relative(excess.abs(), volume),
        _gap(batch, derivation, x, multiplier, volume),
    )
    return torch.stack(columns, 1)


def certified(residual: torch.Tensor) -> torch.Tensor:
    """Which claims satisfy every condition, (N,) bool."""
    return (residual <= TOLERANCE).all(1)  # false for NaN


def _weighted(batch: Batch, expression: sp.Expr, x: object, multiplier: object) -> torch.Tensor:
    """The expression with 0 f = 0 where a layer has no weight, even where f is infinite."""
    values = batch.evaluate(expression, x, multiplier)
    if batch.weightless is None:
        return values
    return torch.where(batch.weightless, batch.evaluate(expression.subs(batch.term.weight, 0), x, multiplier), values)


def _gradient(
    batch: Batch, derivation: Derivation, x: torch.Tensor, multiplier: torch.Tensor, unit: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The worst wrong sign of a box multiplier, and the worst miss of stationarity, both (N,)."""
    gradient = _weighted(batch, derivation.stationarity, x, multiplier[:, None])
    gradient = _relative(gradient, _weighted(batch, derivation.absolute_stationarity, x, multiplier[:, None]))
    up, down = x - batch.lower, batch.upper - x
    floor, cap = up <= TOLERANCE * unit, down <= TOLERANCE * unit
    wrong = torch.where(floor & ~cap, -gradient, torch.where(cap & ~floor, gradient, 0.0))
    distance = torch.where(gradient > 0.0, up, down).abs() / unit
    missed = torch.where(floor | cap, 0.0, torch.minimum(gradient.abs(), distance))
    return wrong.amax(1).clamp(min=0.0), missed.amax(1)


def _gap(
    batch: Batch, derivation: Derivation, x: torch.Tensor, multiplier: torch.Tensor, volume: torch.Tensor
) -> torch.Tensor:
    """F(x) - D(lambda) over the size of what it adds up, the spending at its price included, (N,)."""
    cheapest = _cheapest(batch, derivation, multiplier.clamp(min=0.0)[:, None])
    price = batch.program.sign * multiplier
    terms = (
        _weighted(batch, batch.term.objective, x, 0.0),
        -_weighted(batch, batch.term.objective, cheapest, 0.0),
        -(price[:, None] * batch.term.usage * batch.data) * cheapest,
    )
    rest = price * batch.limit
    gap = rest + (terms[0] + terms[1] + terms[2]).sum(1)
    scale = rest.abs() + sum(term.abs().sum(1) for term in terms) + multiplier.abs() * volume
    return torch.where(scale.isfinite(), _relative(gap.abs(), scale), torch.inf)


def _cheapest(batch: Batch, derivation: Derivation, multiplier: torch.Tensor) -> torch.Tensor:
    """The minimiser of the Lagrangian, layer by layer, as `Derivation.stationary`."""
    x = batch.evaluate(derivation.combined_form, 0.0, multiplier)
    if derivation.offset == 0:
        price = batch.evaluate(derivation.total_price - MULTIPLIER) + multiplier
        x = torch.where((price > 0.0) & price.isfinite(), x.clamp(min=SMALLEST), x)
    x = torch.clamp(x, batch.lower, batch.upper)
    if batch.weightless is None:
        return x
    return torch.where(batch.weightless, batch.lower if batch.uses else batch.upper, x)


def _relative(amount: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return torch.where(scale == 0.0, amount, amount / scale)
