"""Is this plan optimal? The Karush-Kuhn-Tucker conditions and the duality gap, derived from the declaration.

For a convex program with affine constraints the conditions are sufficient: a plan x with a multiplier
lambda that satisfies them is optimal, whoever proposed it. With L = f + sigma lambda r and g = dL/dx:

    coupling          sigma (sum_k r(x_k) - R) <= 0
    box               l_k <= x_k <= u_k
    multiplier        lambda >= 0
    box multipliers   g_k >= 0 at the floor, g_k <= 0 at the cap
    stationarity      g_k = 0 between floor and cap
    complementarity   lambda (sum_k r(x_k) - R) = 0
    duality gap       F(x) - D(lambda) = 0,  D(lambda) = sum_k min_x L_k(x, lambda) - sigma lambda R

Every residual is a quotient without unit. Three things are never held against a claim: that a multiplier or a
gradient below the least double is 0, that x is rounded (a layer is judged by the signs of g within four units in the
last place of x), and that slope u + offset is. Feasibility is relative to the limit, the gap to the objective. No
solver is imported here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, overload

import numpy as np

from zetaplan.errors import SpecError
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Array, Instance
from zetaplan.spec.solution import Solution
from zetaplan.spec.stationary import excess
from zetaplan.verification.claim import LEAST, ROUNDING, Claim, product
from zetaplan.verification.claim import TOLERANCE as TOLERANCE
from zetaplan.verification.condition import Condition as Condition

if TYPE_CHECKING:
    from zetaplan.verification.exact import ExactCertificate


@dataclass(frozen=True)
class Certificate:
    """The verdict on a claimed optimum. gap: F(x) - D(multiplier), in the unit of the objective.

    Examples:
        >>> inst = zp.allocation([1, 3], costs=1.0, budget=6.0)
        >>> cert = zp.certify(inst, zp.solve(inst))
        >>> cert.valid, len(cert.conditions), abs(cert.gap) < 1e-12
        (True, 7, True)
    """

    conditions: tuple[Condition, ...]
    gap: float

    @property
    def valid(self) -> bool:
        return all(condition.ok for condition in self.conditions)

    @property
    def failures(self) -> tuple[Condition, ...]:
        return tuple(condition for condition in self.conditions if not condition.ok)


@overload
def certify(instance: Instance, solution: Solution, exact: Literal[False] = False) -> Certificate: ...


@overload
def certify(instance: Instance, solution: Solution, exact: Literal[True]) -> ExactCertificate: ...


def certify(instance: Instance, solution: Solution, exact: bool = False) -> Certificate | ExactCertificate:
    """Check a claimed optimum against every condition, in float64; or, if `exact`, by `certify_exactly` in fractions.

    Raises SpecError where the claim has another shape than the instance; whatever is wrong with its numbers
    is said by the certificate.

    Examples:
        >>> inst = zp.allocation([1, 3], costs=1.0, budget=6.0)
        >>> zp.certify(inst, zp.solve(inst)).valid
        True
        >>> claim = zp.Solution(inst, np.array([2.0, 4.0]), multiplier=0.125)  # uses the budget, but not as it should
        >>> [condition.name for condition in zp.certify(inst, claim).conditions if not condition.ok]
        ['stationarity', 'duality gap']
    """
    if exact:
        from zetaplan.verification.exact import certify_exactly

        return certify_exactly(instance, solution)
    x = np.asarray(solution.x, dtype=np.float64)
    if x.shape != instance.weight.shape:
        raise SpecError(f"solution.x has shape {x.shape}, the instance has {instance.weight.shape}")
    multiplier = float(solution.multiplier)
    claims = [
        Claim(derivation, channel, row, multiplier, instance.scalars)
        for derivation, channel, row in zip(derive(instance.program), instance.channels, instance.rows(x), strict=True)
    ]
    with np.errstate(all="ignore"):  # a broken claim gives NaN, and NaN satisfies nothing
        spending = _spending(instance, x, claims)
        gap, scale = _gap(instance, claims, spending)
        conditions = (
            _coupling(instance, spending),
            _box(claims),
            _multiplier(claims),
            _box_multipliers(claims),
            _stationarity(claims),
            _complementarity(claims, spending),
            Condition(
                "duality gap",
                _relative(abs(gap), scale),
                TOLERANCE,
                "no plan within the constraints can be better than this one by more than the gap",
            ),
        )
    return Certificate(conditions, gap)


class _Spending(NamedTuple):
    """sigma (sum r - R), free of rounding; what it is relative to; and the sum of what rounding can touch."""

    excess: float
    scale: float
    volume: float


def _spending(instance: Instance, x: Array, claims: list[Claim]) -> _Spending:
    volume = math.fsum(claim.volume for claim in claims)
    return _Spending(excess(instance, x), _scale(abs(instance.limit), volume), volume)


def _scale(amount: float, volume: float) -> float:
    """TOLERANCE of it is TOLERANCE of the amount, and what the rounding of the volume can do."""
    return amount + ROUNDING / TOLERANCE * volume


def _coupling(instance: Instance, spending: _Spending) -> Condition:
    kept = "the budget is not exceeded" if instance.program.sense == "<=" else "the target is met"
    return Condition("coupling", _relative(_positive(spending.excess), spending.scale), TOLERANCE, kept)


def _box(claims: list[Claim]) -> Condition:
    """Relative to x or to the bound, whichever is larger: a floor of 0 is kept by no negative number."""
    outside = []
    for claim in claims:
        bound = np.clip(claim.x, claim.channel.lower, claim.channel.upper)
        size = np.maximum(np.abs(claim.x), np.abs(bound))
        outside.append(np.divide(np.abs(claim.x - bound), size, out=np.zeros_like(size), where=size != 0.0))
    return Condition("box", _worst(outside), TOLERANCE, "every layer is between its floor and its cap")


def _multiplier(claims: list[Claim]) -> Condition:
    multiplier = claims[0].multiplier
    price = claims[0].derivation.declared_price_of(*claims[0].scalars)
    residual = _relative(_positive(-multiplier), abs(multiplier) + price)
    return Condition("multiplier", residual, TOLERANCE, "the price of the resource is not negative")


def _box_multipliers(claims: list[Claim]) -> Condition:
    wrong = [
        np.where(
            claim.at_floor & ~claim.at_cap, claim.rises, np.where(claim.at_cap & ~claim.at_floor, claim.falls, 0.0)
        )
        for claim in claims
    ]
    return Condition(
        "box multipliers",
        _worst(wrong),
        TOLERANCE,
        "a layer at its floor would not gain by rising, nor one at its cap by falling",
    )


def _stationarity(claims: list[Claim]) -> Condition:
    """A layer that the gradient pushes towards a bound is as far from stationary as it is from that bound."""
    missed = []
    for claim in claims:
        goal = np.where(claim.falls > 0.0, claim.channel.lower, claim.channel.upper)
        distance = np.abs(claim.x - goal) / claim.unit
        inside = ~(claim.at_floor | claim.at_cap)
        missed.append(np.where(inside, np.minimum(np.maximum(claim.falls, claim.rises), distance), 0.0))
    return Condition(
        "stationarity",
        _worst(missed),
        TOLERANCE,
        "every layer between its bounds has the same marginal benefit per unit",
    )


def _complementarity(claims: list[Claim], spending: _Spending) -> Condition:
    multiplier = abs(claims[0].multiplier)
    price = claims[0].derivation.declared_price_of(*claims[0].scalars)
    share = 1.0 if math.isinf(multiplier) else _relative(multiplier, multiplier + price)
    left = _relative(abs(spending.excess), spending.scale)
    return Condition(
        "complementary slackness",
        share * left if share else 0.0,  # what is left of a limit of 0 may be infinitely more than the limit
        TOLERANCE,
        "a resource with a price is used to the full",
    )


def _gap(instance: Instance, claims: list[Claim], spending: _Spending) -> tuple[float, float]:
    """F(x) - D(lambda) = sum_k (L_k(x_k) - min L_k) - lambda (excess), and what it is relative to."""
    multiplier = claims[0].multiplier
    losses = np.concatenate([claim.losses for claim in claims] + [product(-multiplier, np.array([spending.excess]))])
    if not np.isfinite(losses).all():
        return math.inf, 1.0
    if math.isinf(multiplier):  # the least use of the resource, and no other plan is allowed
        return math.fsum(losses.tolist()), 1.0
    objective = math.fsum(float(claim.objective(claim.x).sum()) for claim in claims)
    sizes = math.fsum(float(claim.sizes.sum()) for claim in claims) + abs(multiplier) * spending.volume
    least = LEAST * (losses.size + abs(instance.limit))
    return math.fsum(losses.tolist()), _scale(abs(objective), sizes) + least


def _relative(amount: float, scale: float) -> float:
    return amount / scale if scale != 0.0 else amount


def _positive(value: float) -> float:
    return value if math.isnan(value) else max(value, 0.0)


def _worst(residuals: list[Array]) -> float:
    """The largest residual, 0 if none is positive, NaN if any is NaN."""
    return _positive(float(np.max([residual.max() for residual in residuals])))
