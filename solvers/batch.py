"""Variable fixing for many knapsack equations at once, on tensors with one row per instance.

    sum_k a_k clip(p_k u + r_k, l_k, h_k) = R

Each pass solves the equation as if all free layers were interior. Layers outside the box on the prevailing side are at
that bound in the solution, so the pass fixes them (Bitran & Hax 1981, Kiwiel 2008). Every pass fixes at least one layer
of each unsolved row. The last quotient of a row is recomputed with error-free sums (Dekker 1971, Knuth 1969). It is the
solution if its sides are those from which it was computed. `solve_exact` solves all other rows one by one.
"""

from __future__ import annotations

import torch

from zetaplan.solvers.exact import TAME, solve_exact
from zetaplan.solvers.knapsack import DOUBT, MISSED
from zetaplan.spec.batch import Batch
from zetaplan.spec.derivation import TOTAL_PRICE, Derivation, derive
from zetaplan.spec.program import MULTIPLIER
from zetaplan.spec.summation import CANCELS, SPLITTER

EPSILON = torch.finfo(torch.float64).eps


def solve_rows(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(x, multiplier): plans (N, K) and multipliers (N,), 0 for a slack constraint.

    `solve_exact` solves a row alone if rounding could change the result (a layer at a bound, a limit that is just met,
    powers outside the range of doubles), so every row agrees with `solve`.
    """
    (derivation,) = derive(batch.program)
    p, r, lower, upper = _equation(batch, derivation)
    start = batch.evaluate(
        derivation.level.subs(TOTAL_PRICE, derivation.total_price), multiplier=torch.zeros_like(batch.limit)
    )
    at_zero = _at(p, r, lower, upper, start.expand(batch.limit.shape))
    slack, certain = _satisfied(batch, at_zero)
    u, solved = _solve(batch.unit_cost, p, r, lower, upper, batch.limit)
    multiplier = batch.evaluate(derivation.inverse_level.subs(TOTAL_PRICE, MULTIPLIER), multiplier=u).clamp(min=0.0)
    x = torch.where(slack[:, None], at_zero, _at(p, r, lower, upper, u))
    multiplier = torch.where(slack, 0.0, multiplier)
    met = ((batch.unit_cost * x).sum(1) - batch.limit).abs() <= MISSED * batch.limit.abs()
    certain &= torch.where(slack, not _shares(batch, derivation), solved & met) & _in_range(derivation, p)
    for n in certain.logical_not().nonzero().flatten().tolist():
        alone = solve_exact(batch.instance(n))
        x[n], multiplier[n] = x.new_tensor(alone.x), alone.multiplier
    return x, multiplier


def _satisfied(batch: Batch, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(satisfied, certain), both (N,): whether a plan keeps the limit, and whether rounding cannot change that."""
    use = (batch.unit_cost * x).sum(1)
    surplus = batch.program.sign * (batch.limit - batch.term.usage * use)
    certain = surplus.abs() > x.shape[1] * EPSILON * (use.abs() + batch.limit.abs())
    return surplus >= 0.0, certain | use.isinf()


def _shares(batch: Batch, derivation: Derivation) -> bool:
    """Whether weightless layers share a target at declared price 0 (`solvers.weightless`)."""
    if batch.weightless is None or batch.uses:
        return False
    return float(batch.evaluate(derivation.declared_price)) == 0.0


def _in_range(derivation: Derivation, p: torch.Tensor) -> torch.Tensor:
    """Whether the slopes of a row are far enough inside the range of doubles for sums, (N,)."""
    if not derivation.has_powers:
        return torch.ones_like(p[:, 0], dtype=torch.bool)
    return ((p > 1.0 / TAME) & (p < TAME)).all(1)


def _equation(batch: Batch, derivation: Derivation) -> tuple[torch.Tensor, ...]:
    """(p, r, lower, upper), each (N, K); a layer without weight is fixed at the bound that uses least of the limit."""
    p, r = (batch.evaluate(e).expand(batch.weight.shape) for e in (derivation.slope, derivation.offset))
    weightless = batch.weightless
    if weightless is None:
        return p, r, batch.lower, batch.upper
    spared = batch.lower if batch.uses else batch.upper
    box = (torch.where(weightless, spared, bound) for bound in (batch.lower, batch.upper))
    return torch.where(weightless, 1.0, p), torch.where(weightless, 0.0, r), *box


def _at(p: torch.Tensor, r: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    return torch.clamp(p * u[:, None] + r, lower, upper)


def _solve(
    a: torch.Tensor, p: torch.Tensor, r: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor, limit: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(level, certain), both (N,): certain if every layer is on its side of the box by more than rounding."""
    moving, constant = p, r
    while True:
        u = (limit - (a * constant).sum(1)) / (a * moving).sum(1)
        x = torch.addcmul(constant, moving, u[:, None])
        y = torch.clamp(x, lower, upper)
        outside = y - x
        prevailing = (a * outside).sum(1, keepdim=True)
        fixed = (outside * prevailing > 0.0) & (moving > 0.0)
        if not bool(fixed.any()):
            break
        constant, moving = torch.where(fixed, y, constant), moving.masked_fill(fixed, 0.0)
    u = _rest(a, constant, limit) / (a * moving).sum(1)
    moved = p * u[:, None]
    x, doubt = moved + r, DOUBT * (moved.abs() + r.abs())
    inside = (x > lower + doubt) & (x < upper - doubt)
    beyond = torch.where(constant == lower, x < lower - doubt, x > upper + doubt) | (lower == upper)
    return u, torch.where(moving > 0.0, inside, beyond).all(1) & (moving > 0.0).any(1) & u.isfinite()


def _rest(a: torch.Tensor, b: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """limit - sum_k a_k b_k, (N,): in float64, or with error-free sums where the terms cancel."""
    product = a * b
    rest = limit - product.sum(1)
    cancels = rest.abs() < CANCELS * (limit.abs() + product.abs_().sum(1))
    if bool(cancels.any()):
        rest[cancels] = exact_rest(a[cancels], b[cancels], limit[cancels])
    return rest


def exact_rest(a: torch.Tensor, b: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """limit - sum_k a_k b_k, (N,), as in twice the precision and rounded once."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _split(a), _split(b)
    lost = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    total, lost = limit[:, None], -lost.sum(1)
    values = torch.cat((-product, total), 1)
    while values.shape[1] > 1:
        half = values.shape[1] // 2
        head, tail, odd = values[:, :half], values[:, half : 2 * half], values[:, 2 * half :]
        total = head + tail
        shift = total - head
        lost = lost + ((head - (total - shift)) + (tail - shift)).sum(1)
        values = torch.cat((total, odd), 1)
    return values[:, 0] + lost


def _split(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scaled = SPLITTER * values
    high = scaled - (scaled - values)
    return high, values - high
