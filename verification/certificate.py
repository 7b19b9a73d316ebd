"""Certificates of optimality: Karush-Kuhn-Tucker conditions and duality gap, derived from the declaration.

The conditions are sufficient for a convex program with affine constraints: a plan x and a multiplier lambda that
satisfy them are optimal, whatever their source. With L = f + sigma lambda r and g = dL/dx:

    coupling          sigma (sum_k r(x_k) - R) <= 0
    box               l_k <= x_k <= u_k
    multiplier        lambda >= 0
    box multipliers   g_k >= 0 at the floor, g_k <= 0 at the cap
    stationarity      g_k = 0 between floor and cap
    complementarity   lambda (sum_k r(x_k) - R) = 0
    duality gap       F(x) - D(lambda) = 0,  D(lambda) = sum_k min_x L_k(x, lambda) - sigma lambda R

Every residual is dimensionless. The tolerances cover three kinds of rounding: a multiplier or gradient below the least
double is 0; x is rounded (the signs of g are taken within four units in the last place of x); slope u + offset is
rounded. Feasibility is relative to the limit, the gap to the objective, and an entry to max(1, |x_k|), because programs
fix the unit of a decision. An x_k of 1e-8 that is claimed as x_k (1 + 1e-6) is off by 1e-14 of that unit, and passes;
certificates in fractions bound this distance itself. No solver is imported here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, overload

import numpy as np

from zetaplan.errors import SpecError, require, shown
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Array, Instance
from zetaplan.spec.menus.answer import ChoiceSolution
from zetaplan.spec.menus.choice import Choice
from zetaplan.spec.solution import Solution
from zetaplan.spec.stationary import excess
from zetaplan.verification.claim import LEAST, ROUNDING, Claim, product
from zetaplan.verification.claim import TOLERANCE as TOLERANCE
from zetaplan.verification.condition import Condition as Condition
from zetaplan.verification.condition import Conditions

if TYPE_CHECKING:
    from zetaplan.verification.exact import ExactCertificate
    from zetaplan.verification.menus.proof import ChoiceCertificate


@dataclass(frozen=True, repr=False)
class Certificate(Conditions):
    """Result of checking a claimed optimum. gap : F(x) - D(multiplier), in the unit of the objective.

    Examples:
        >>> inst = zp.allocation([1, 3], costs=1.0, budget=6.0)
        >>> cert = zp.certify(inst, zp.solve(inst))
        >>> cert.valid, len(cert.conditions), abs(cert.gap) < 1e-12
        (True, 7, True)
    """

    conditions: tuple[Condition, ...]
    gap: float


@overload
def certify(instance: Instance, solution: Solution, exact: Literal[False] = False) -> Certificate: ...


@overload
def certify(instance: Instance, solution: Solution, exact: Literal[True]) -> ExactCertificate: ...


@overload
def certify(instance: Choice, solution: ChoiceSolution, exact: bool = False) -> ChoiceCertificate: ...


def certify(
    instance: Instance | Choice, solution: Solution | ChoiceSolution, exact: bool = False
) -> Certificate | ExactCertificate | ChoiceCertificate:
    """Check a claimed optimum against every condition, in float64; or, if `exact`, by `certify_exactly` in fractions.

    A choice is always certified in fractions: that it keeps the budgets, and its gap to the optimum (0: optimal).

    Raises SpecError if the claim has another shape than the instance. All other faults are reported as failed
    conditions.

    Examples:
        >>> inst = zp.allocation([1, 3], costs=1.0, budget=6.0)
        >>> zp.certify(inst, zp.solve(inst)).valid
        True
        >>> claim = zp.Solution(inst, np.array([2.0, 4.0]), multiplier=0.125)  # keeps the budget, is not optimal
        >>> [condition.name for condition in zp.certify(inst, claim).conditions if not condition.ok]
        ['stationarity', 'duality gap']
    """
    if isinstance(instance, Choice) or isinstance(solution, ChoiceSolution):
        from zetaplan.verification.menus.proof import certify_choice

        if not (isinstance(instance, Choice) and isinstance(solution, ChoiceSolution)):
            raise SpecError(f"solution: a {type(solution).__name__} is none of a {type(instance).__name__}")
        return certify_choice(instance, solution)
    require(instance, Instance, "instance", "make one with zetaplan.allocation, or another program")
    require(solution, Solution, "solution", "give what zetaplan.solve returns")
    if exact is not False and exact is not True:
        raise SpecError(f"exact = {shown(exact)}: expected True or False")
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
    with np.errstate(all="ignore"):  # an invalid claim gives NaN, which satisfies no condition
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
                "no feasible plan has an objective that is smaller by more than the gap",
            ),
        )
    return Certificate(conditions, gap)


class _Spending(NamedTuple):
    """excess : sigma (sum r - R), without rounding. volume : the part of the resource that rounding affects."""

    excess: float
    scale: float
    volume: float


def _spending(instance: Instance, x: Array, claims: list[Claim]) -> _Spending:
    volume = math.fsum(claim.volume for claim in claims)
    return _Spending(excess(instance, x), _scale(abs(instance.limit), volume), volume)


def _scale(amount: float, volume: float) -> float:
    """A scale whose product with TOLERANCE is TOLERANCE amount + ROUNDING volume."""
    return amount + ROUNDING / TOLERANCE * volume


def _coupling(instance: Instance, spending: _Spending) -> Condition:
    kept = "the budget is not exceeded" if instance.program.sense == "<=" else "the target is met"
    return Condition("coupling", _relative(_positive(spending.excess), spending.scale), TOLERANCE, kept)


def _box(claims: list[Claim]) -> Condition:
    """Relative to the larger of |x| and |bound|, so that every negative number violates a floor of 0."""
    outside = []
    for claim in claims:
        bound = np.clip(claim.x, claim.channel.lower, claim.channel.upper)
        size = np.maximum(np.abs(claim.x), np.abs(bound))
        outside.append(np.divide(np.abs(claim.x - bound), size, out=np.zeros_like(size), where=size != 0.0))
    return Condition("box", _worst(outside), TOLERANCE, "every layer is between its floor and its cap")


def _multiplier(claims: list[Claim]) -> Condition:
    multiplier = claims[0].multiplier
    declared_price = claims[0].derivation.declared_price_of(*claims[0].scalars)
    residual = _relative(_positive(-multiplier), abs(multiplier) + declared_price)
    return Condition("multiplier", residual, TOLERANCE, "the multiplier is not negative")


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
        "the Lagrangian does not fall if a layer leaves its floor or its cap",
    )


def _stationarity(claims: list[Claim]) -> Condition:
    """The residual of an interior layer is at most its distance to the bound towards which the Lagrangian falls."""
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
        "all layers between their bounds have the same marginal benefit per unit of resource",
    )


def _complementarity(claims: list[Claim], spending: _Spending) -> Condition:
    multiplier = abs(claims[0].multiplier)
    declared_price = claims[0].derivation.declared_price_of(*claims[0].scalars)
    share = 1.0 if math.isinf(multiplier) else _relative(multiplier, multiplier + declared_price)
    left = _relative(abs(spending.excess), spending.scale)
    return Condition(
        "complementary slackness",
        share * left if share else 0.0,  # what is left of a limit of 0 may be infinitely more than the limit
        TOLERANCE,
        "the constraint holds with equality if the multiplier is positive",
    )


def _gap(instance: Instance, claims: list[Claim], spending: _Spending) -> tuple[float, float]:
    """F(x) - D(lambda) = sum_k (L_k(x_k) - min L_k) - lambda excess, and its scale."""
    multiplier = claims[0].multiplier
    losses = np.concatenate([claim.losses for claim in claims] + [product(-multiplier, np.array([spending.excess]))])
    if not np.isfinite(losses).all():
        return math.inf, 1.0
    if math.isinf(multiplier):  # only the plan of least use minimises L
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
