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

Every residual is a quotient without unit: the amount by which a condition is missed over the size of what it
adds up, every decision counted as one unit at least. No solver is imported here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from zetaplan.errors import SpecError, require, shown
from zetaplan.spec.derivation import Derivation, derive
from zetaplan.spec.instance import Array, Channel, Instance
from zetaplan.spec.solution import Solution

if TYPE_CHECKING:
    from zetaplan.verification.exact import ExactCertificate

TOLERANCE = 1e-9  # a million times the rounding of a double, a thousandth of what any plan can resolve


@dataclass(frozen=True)
class Condition:
    """One condition: by how much it is missed (relative, no unit), what was tolerated, and what it means."""

    name: str
    residual: float
    tolerance: float
    meaning: str

    @property
    def ok(self) -> bool:
        return self.residual <= self.tolerance  # false for NaN


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


@dataclass(frozen=True)
class _Claim:
    """One term of the claim, with what the declaration implies for it."""

    derivation: Derivation
    channel: Channel
    x: Array
    multiplier: float
    scalars: tuple[float, ...]

    @property
    def gradient(self) -> Array:
        """dL/dx over the sum of the absolute values of its terms: between -1 and 1, shape (K,)."""
        arguments = (self.x, self.multiplier, self.channel.weight, self.channel.data, *self.scalars)
        gradient = np.broadcast_to(self.derivation.lagrangian_gradient(*arguments), self.x.shape)
        magnitude = np.broadcast_to(self.derivation.magnitude(*arguments), self.x.shape)
        relative: Array = np.divide(gradient, magnitude, out=np.zeros_like(self.x), where=magnitude != 0.0)
        return relative

    @property
    def at_floor(self) -> NDArray[np.bool_]:
        return self.x - self.channel.lower <= TOLERANCE * self.unit

    @property
    def at_cap(self) -> NDArray[np.bool_]:
        return self.channel.upper - self.x <= TOLERANCE * self.unit

    @property
    def unit(self) -> Array:
        """The decision's own unit is fixed by the program (the 1 of log(1 + m), the whole of a fraction)."""
        return np.maximum(1.0, np.abs(self.x))

    @property
    def use(self) -> Array:
        """r(x_k), signed."""
        return self.channel.term.usage * self.channel.data * self.x

    def objective(self, x: Array) -> Array:
        values = self.derivation.objective(x, 0.0, self.channel.weight, self.channel.data, *self.scalars)
        return np.broadcast_to(values, x.shape)

    @property
    def cheapest(self) -> Array:
        """The minimiser of the Lagrangian, layer by layer."""
        return self.derivation.stationary(max(self.multiplier, 0.0), self.channel, self.scalars)


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
        _Claim(derivation, channel, row, multiplier, instance.scalars)
        for derivation, channel, row in zip(derive(instance.program), instance.channels, instance.rows(x), strict=True)
    ]
    with np.errstate(all="ignore"):  # a broken claim gives NaN, and NaN satisfies nothing
        gap, scale = _gap(instance, claims)
        conditions = (
            _coupling(instance, claims),
            _box(claims),
            _multiplier(claims),
            _box_multipliers(claims),
            _stationarity(claims),
            _complementarity(instance, claims),
            Condition(
                "duality gap",
                abs(gap) / scale if scale else abs(gap),
                TOLERANCE,
                "no plan within the constraints can be better than this one by more than the gap",
            ),
        )
    return Certificate(conditions, gap)


def _spending(instance: Instance, claims: list[_Claim]) -> tuple[float, float]:
    """sigma (sum r - R), and the size of what it adds up; a plan is as accurate as its unit, not as a tiny x."""
    use = math.fsum(float(claim.use.sum()) for claim in claims)
    volume = math.fsum(float(claim.channel.data @ claim.unit) for claim in claims) + abs(instance.limit)
    return instance.program.sign * (use - instance.limit), volume


def _coupling(instance: Instance, claims: list[_Claim]) -> Condition:
    excess, volume = _spending(instance, claims)
    kept = "the budget is not exceeded" if instance.program.sense == "<=" else "the target is met"
    return Condition("coupling", _relative(_positive(excess), volume), TOLERANCE, kept)


def _box(claims: list[_Claim]) -> Condition:
    outside = [
        np.maximum(claim.channel.lower - claim.x, claim.x - claim.channel.upper) / claim.unit for claim in claims
    ]
    return Condition("box", _worst(outside), TOLERANCE, "every layer is between its floor and its cap")


def _multiplier(claims: list[_Claim]) -> Condition:
    multiplier = claims[0].multiplier
    price = claims[0].derivation.declared_price_of(*claims[0].scalars)
    residual = _relative(_positive(-multiplier), abs(multiplier) + price)
    return Condition("multiplier", residual, TOLERANCE, "the price of the resource is not negative")


def _box_multipliers(claims: list[_Claim]) -> Condition:
    wrong = []
    for claim in claims:
        gradient, floor, cap = claim.gradient, claim.at_floor, claim.at_cap
        wrong.append(np.where(floor & ~cap, -gradient, np.where(cap & ~floor, gradient, 0.0)))
    return Condition(
        "box multipliers",
        _worst(wrong),
        TOLERANCE,
        "a layer at its floor would not gain by rising, nor one at its cap by falling",
    )


def _stationarity(claims: list[_Claim]) -> Condition:
    """A layer that the gradient pushes towards a bound is as far from stationary as it is from that bound."""
    missed = []
    for claim in claims:
        gradient = claim.gradient
        goal = np.where(gradient > 0.0, claim.channel.lower, claim.channel.upper)
        distance = np.abs(claim.x - goal) / claim.unit
        inside = ~(claim.at_floor | claim.at_cap)
        missed.append(np.where(inside, np.minimum(np.abs(gradient), distance), 0.0))
    return Condition(
        "stationarity",
        _worst(missed),
        TOLERANCE,
        "every layer between its bounds has the same marginal benefit per unit",
    )


def _complementarity(instance: Instance, claims: list[_Claim]) -> Condition:
    excess, volume = _spending(instance, claims)
    multiplier = abs(claims[0].multiplier)
    price = claims[0].derivation.declared_price_of(*claims[0].scalars)
    share = _relative(multiplier, multiplier + price)
    return Condition(
        "complementary slackness",
        share * _relative(abs(excess), volume),
        TOLERANCE,
        "a resource with a price is used to the full",
    )


def _gap(instance: Instance, claims: list[_Claim]) -> tuple[float, float]:
    """F(x) - D(lambda), and the size of what it adds up, the spending at its price included."""
    sign, multiplier = instance.program.sign, claims[0].multiplier
    terms = [np.array([sign * multiplier * instance.limit])]
    for claim in claims:
        cheapest = claim.cheapest
        price = sign * multiplier * claim.channel.term.usage * claim.channel.data
        terms += [claim.objective(claim.x), -claim.objective(cheapest), -price * cheapest]
    values = np.concatenate(terms)
    if not np.isfinite(values).all():
        return math.inf, 1.0
    _, volume = _spending(instance, claims)
    return math.fsum(values.tolist()), float(np.abs(values).sum()) + abs(multiplier) * volume


def _relative(amount: float, scale: float) -> float:
    return amount / scale if scale != 0.0 else amount


def _positive(value: float) -> float:
    return value if math.isnan(value) else max(value, 0.0)


def _worst(residuals: list[Array]) -> float:
    """The largest residual, 0 if none is positive, NaN if any is NaN."""
    return _positive(float(np.max([residual.max() for residual in residuals])))
