"""Many knapsack equations at once, on tensors: variable fixing, one row per instance.

    sum_k a_k clip(p_k u + r_k, l_k, h_k) = R

Solve as if all free layers were interior; those that leave the box on the prevailing side stay there in the
solution, so fix them and repeat (Bitran & Hax 1981, Kiwiel 2008). Every pass fixes a layer of every row that is not
solved yet. The last quotient of each row is taken again with sums that lose nothing (Dekker 1971, Knuth 1969). Where
the sides that it was computed from are its own, it is the solution; every other row is solved alone.
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
    """(x, multiplier): plans (N, K) and the price of each constraint (N,), 0 where it is slack.

    A row whose answer depends on rounding (a layer at a bound, a limit that is just met, powers beyond the doubles) is
    solved alone by `solve_exact`, so that every row is what `solve` gives.
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
    """Which plans satisfy the coupling constraint, and of which of them rounding leaves no doubt, (N,) both."""
    use = (batch.unit_cost * x).sum(1)
    surplus = batch.program.sign * (batch.limit - batch.term.usage * use)
    certain = surplus.abs() > x.shape[1] * EPSILON * (use.abs() + batch.limit.abs())
    return surplus >= 0.0, certain | use.isinf()


def _shares(batch: Batch, derivation: Derivation) -> bool:
    """Do weightless layers share a target that costs nothing (`solvers.weightless`)?"""
    if batch.weightless is None or batch.uses:
        return False
    return float(batch.evaluate(derivation.total_price - MULTIPLIER)) == 0.0


def _in_range(derivation: Derivation, p: torch.Tensor) -> torch.Tensor:
    """Which rows have slopes with room for sums, (N,)."""
    if not derivation.has_powers:
        return torch.ones_like(p[:, 0], dtype=torch.bool)
    return ((p > 1.0 / TAME) & (p < TAME)).all(1)


def _equation(batch: Batch, derivation: Derivation) -> tuple[torch.Tensor, ...]:
    """(p, r, lower, upper), each (N, K); a layer without weight is pinned where it spares the resource."""
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
    """The price of every row, and whether every layer is, beyond the doubt of rounding, on its side of the box."""
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
    """limit - sum_k a_k b_k, (N,): in plain float64 where nothing cancels, else without losing a digit."""
    product = a * b
    rest = limit - product.sum(1)
    cancels = rest.abs() < CANCELS * (limit.abs() + product.abs_().sum(1))
    if bool(cancels.any()):
        rest[cancels] = exact_rest(a[cancels], b[cancels], limit[cancels])
    return rest


def exact_rest(a: torch.Tensor, b: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """limit - sum_k a_k b_k, (N,): as if in twice the precision, rounded once."""
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
