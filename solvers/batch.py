"""Many knapsack equations at once, on tensors: variable fixing, one row per instance.

    sum_k a_k clip(p_k u + r_k, l_k, h_k) = R

Solve as if all free layers were interior; those that leave the box on the prevailing side stay there in the
solution, so fix them and repeat (Bitran & Hax 1981, Kiwiel 2008). Every pass fixes a layer of every row that is not
solved yet. The last quotient of each row is taken again with sums that lose nothing (Dekker 1971, Knuth 1969).
"""

from __future__ import annotations

import torch

from zetaplan.spec.batch import Batch
from zetaplan.spec.derivation import PRICE, Derivation, derive
from zetaplan.spec.program import MULTIPLIER
from zetaplan.spec.summation import CANCELS, SPLITTER

EPSILON = torch.finfo(torch.float64).eps


def solve_rows(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(x, multiplier): plans (N, K) and the price of each constraint (N,), 0 where it is slack."""
    (derivation,) = derive(batch.program)
    p, r, lower, upper = _equation(batch, derivation)
    start = batch.evaluate(
        derivation.price.subs(PRICE, derivation.total_price), multiplier=torch.zeros_like(batch.limit)
    )
    unpriced = _at(p, r, lower, upper, start.expand(batch.limit.shape))
    slack = _satisfied(batch, unpriced)
    u = _solve(batch.data, p, r, lower, upper, batch.limit, batch.uses)
    multiplier = batch.evaluate(derivation.inverse_price.subs(PRICE, MULTIPLIER), multiplier=u).clamp(min=0.0)
    x = torch.where(slack[:, None], _settle(batch, derivation, unpriced), _at(p, r, lower, upper, u))
    return x, torch.where(slack, 0.0, multiplier)


def _satisfied(batch: Batch, x: torch.Tensor) -> torch.Tensor:
    """Which plans satisfy the coupling constraint, (N,); summed without error only where rounding could decide."""
    use = (batch.data * x).sum(1)
    surplus = batch.limit - batch.term.usage * use
    doubtful = surplus.abs() <= x.shape[1] * EPSILON * (use.abs() + batch.limit.abs())
    doubtful &= use.isfinite()
    if bool(doubtful.any()):
        surplus[doubtful] = exact_rest(batch.term.usage * batch.data[doubtful], x[doubtful], batch.limit[doubtful])
    return batch.program.sign * surplus >= 0.0


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


def _settle(batch: Batch, derivation: Derivation, x: torch.Tensor) -> torch.Tensor:
    """Weightless layers share a target that costs nothing at one level, as `solvers.weightless` does."""
    free = batch.weightless
    if free is None or batch.uses or float(batch.evaluate(derivation.total_price - MULTIPLIER)) != 0.0:
        return x
    lower, upper = torch.where(free, batch.lower, x), torch.where(free, batch.upper, x)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    level = _solve(batch.data, one, zero, lower, upper, batch.limit, last=False)
    short = (batch.data * lower).sum(1) < batch.limit
    return torch.where(short[:, None], _at(one, zero, lower, upper, level), lower)


def _solve(
    a: torch.Tensor,
    p: torch.Tensor,
    r: torch.Tensor,
    lower: torch.Tensor,
    upper: torch.Tensor,
    limit: torch.Tensor,
    last: bool,
) -> torch.Tensor:
    """The price of every row, (N,)."""
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
    rate = (a * moving).sum(1)
    u = _rest(a, constant, limit) / rate
    vertex = rate == 0.0
    if bool(vertex.any()):
        u[vertex] = _vertex(p[vertex], r[vertex], lower[vertex], upper[vertex], constant[vertex], last)
    return u


def _vertex(
    p: torch.Tensor, r: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor, x: torch.Tensor, last: bool
) -> torch.Tensor:
    """Every layer stands at a bound: u lies between the last cap reached and the next floor to be left."""
    movable = lower < upper
    floor = torch.where(movable & (x == lower), (lower - r) / p, torch.inf).amin(1)
    cap = torch.where(movable & (x == upper), (upper - r) / p, -torch.inf).amax(1)
    first, second = (floor, cap) if last else (cap, floor)
    return torch.where(first.isfinite(), first, second)


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
