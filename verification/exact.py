"""Certificates in fractions, which can be checked without zetaplan (method 5.3).

The sides of the claimed plan give the multiplier as one quotient of fractions. It is optimal if its plan has the same
sides; Newton steps in fractions correct sides that rounding has changed. The optimum bounds the errors of the
claim, in doubles that are rounded upwards:

    distance    max_k |x_k - x*_k| / max(1, x_k), over the layers whose optimum is unique
    coupling    excess over the limit (0: the limit is kept)
    price       distance of the claimed multiplier (`price` in the document) from an optimal one
    gap         F(x) - F(x*) <= sum_k |dL/dx_k| |x_k - x*_k| + multiplier (unused part of the limit)

The bound on the gap follows from convexity, so no logarithm is evaluated. No solver is imported here. `checker`, which
verifies the document, shares no code with this file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from flint import fmpq
from numpy.typing import NDArray

from zetaplan.errors import SpecError
from zetaplan.spec.instance import Instance
from zetaplan.spec.rational import CAP, FLOOR, INTERIOR, RationalInstance, Sides, fraction, fractions, rational, total
from zetaplan.spec.solution import Solution
from zetaplan.verification.claim import ROUNDING, TOLERANCE
from zetaplan.verification.condition import Condition, Conditions

BITS = 128  # of the total price in bounds on distances; the checker uses more, so its bounds are never larger

Array = NDArray[np.float64]
Interval = tuple[fmpq, fmpq]


@dataclass(frozen=True, repr=False)
class ExactCertificate(Conditions):
    """Proved bounds on the errors of a claimed optimum. gap : F(x) - F(x*) at most, in the unit of the objective.

    document : `zetaplan.certificate/1` as a dict for JSON; `check_certificate` accepts it if and only if `valid`. None
    for a claim that is not a finite plan inside its box.

    Examples:
        >>> inst = zp.allocation([1, 3], costs=1.0, budget=6.0)
        >>> proof = zp.certify(inst, zp.solve(inst), exact=True)
        >>> proof.valid, proof.document["schema"]
        (True, 'zetaplan.certificate/1')
    """

    conditions: tuple[Condition, ...]
    gap: float
    document: dict[str, Any] | None


def certify_exactly(instance: Instance, solution: Solution) -> ExactCertificate:
    """Bound the errors of a claimed optimum in fractions, for the doubles of instance and claim.

    Raises SpecError for a claim of another shape than the instance, or a program whose optimum is not rational.
    """
    x = np.asarray(solution.x, dtype=np.float64)
    if x.shape != instance.weight.shape:
        raise SpecError(f"solution.x has shape {x.shape}, the instance has {instance.weight.shape}")
    truth = rational(instance)
    if not (np.isfinite(x).all() and math.isfinite(solution.multiplier)):
        return _refused("finite", "every entry of the plan and its multiplier is a finite number")
    if not ((instance.lower <= x) & (x <= instance.upper)).all():
        return _refused("box", "every layer is between its floor and its cap, without tolerance")
    claimed = fraction(float(solution.multiplier))
    return _certificate(instance, solution, _Claim(truth, fractions(x), claimed, *_locate(truth, x, claimed)))


@dataclass(frozen=True, eq=False)
class _Claim:
    """A claimed plan and multiplier, with the optimal multiplier and the sides of the layers with weight."""

    truth: RationalInstance
    x: list[fmpq]
    claimed: fmpq
    multiplier: fmpq
    weighted_sides: Sides

    @cached_property
    def total_price(self) -> fmpq:
        return self.multiplier + self.truth.declared_price

    @cached_property
    def sides(self) -> list[int]:
        """The side of every layer. A layer without weight is at the bound of least use. The side of a layer with equal
        bounds follows from the sign of its gradient."""
        spare = FLOOR if self.truth.uses else CAP
        known = dict(zip(self.truth.weighted, self.weighted_sides, strict=True))
        bounds = enumerate(zip(self.truth.lower, self.truth.upper, strict=True))
        pinned = {k: self._pushed_against(k) for k, (low, high) in bounds if low == high}
        return [pinned.get(k, known.get(k, spare)) for k in range(len(self.x))]

    def _pushed_against(self, k: int) -> int:
        return FLOOR if self.truth.gradient_of(k, self.truth.lower[k], self.multiplier) >= 0 else CAP

    @cached_property
    def free(self) -> set[int]:
        """The layers without weight if the total price is 0; every value of them is optimal."""
        return set(self.truth.weightless) if self.total_price == 0 else set()

    @cached_property
    def multipliers(self) -> Interval:
        """Two fractions of few bits with the multiplier between them."""
        low, high = _short(self.total_price)
        return low - self.truth.declared_price, high - self.truth.declared_price

    @cached_property
    def off(self) -> list[fmpq]:
        """Upper bounds on |x_k - x*_k|."""
        truth, bounds = self.truth, {FLOOR: self.truth.lower, CAP: self.truth.upper}
        line = dict(zip(truth.weighted, zip(truth.equation.p, truth.equation.r, strict=True), strict=True))
        levels = [truth.level_of(multiplier) for multiplier in self.multipliers]
        return [
            max(abs(x - line[k][0] * u - line[k][1]) for u in levels) if side == INTERIOR else abs(x - bounds[side][k])
            for k, (x, side) in enumerate(zip(self.x, self.sides, strict=True))
        ]

    @property
    def distance(self) -> fmpq:
        """max_k |x_k - x*_k| / max(1, x_k) over the layers whose optimum is unique, from above."""
        unique = (k for k in range(len(self.x)) if k not in self.free)
        return max((self.off[k] / max(self.x[k], fmpq(1)) for k in unique), default=fmpq(0))

    @cached_property
    def excess(self) -> fmpq:
        """The excess over the budget, or the shortfall below the target."""
        use = total([a * x for a, x in zip(self.truth.unit_cost, self.x, strict=True)])
        return use - self.truth.limit if self.truth.uses else self.truth.limit - use

    @property
    def volume(self) -> fmpq:
        """Scale of the excess: the limit plus the rounding of layers that are not at their bounds."""
        bounds = {FLOOR: self.truth.lower, CAP: self.truth.upper}
        layers = enumerate(zip(self.truth.unit_cost, self.x, self.sides, strict=True))
        touched = [a * (x + (side == INTERIOR or x != bounds[side][k])) for k, (a, x, side) in layers]
        return self.truth.limit + fraction(ROUNDING) / fraction(TOLERANCE) * total(touched)

    @property
    def gap(self) -> fmpq:
        """Upper bound on F(x) - F(x*)."""
        steepest = [
            max(abs(self.truth.gradient_of(k, x, multiplier)) for multiplier in self.multipliers)
            for k, x in enumerate(self.x)
        ]
        lost = total([off * slope for off, slope in zip(self.off, steepest, strict=True)])
        return lost + max(-self.excess, fmpq(0)) * self.multipliers[1]


def _locate(truth: RationalInstance, x: Array, claimed: fmpq) -> tuple[fmpq, Sides]:
    """The multiplier and the sides of the optimum, starting from the sides of the claimed plan."""
    u, sides = truth.at_zero
    surplus = truth.surplus(u, sides)
    if surplus is None or surplus < 0:
        u, sides = truth.equation.root(_stands(truth, x))
    elif surplus > 0:
        return fmpq(0), sides
    if INTERIOR in sides:
        return truth.multiplier_of(u), sides
    return _nearest(truth, sides, claimed), sides


def _stands(truth: RationalInstance, x: Array) -> Sides:
    values = [(value, truth.lower[k], truth.upper[k]) for k, value in enumerate(fractions(x))]
    sides = [FLOOR if v <= l else CAP if h is not None and v >= h else INTERIOR for v, l, h in values]
    return [sides[k] for k in truth.weighted]


def _nearest(truth: RationalInstance, sides: Sides, claimed: fmpq) -> fmpq:
    """The optimal multiplier closest to the claimed one, if every layer is fixed and an interval is optimal."""
    ends = [None if u is None else truth.multiplier_of(u) for u in truth.equation.support(sides)]
    low, high = reversed(ends) if truth.uses else ends
    nearest = claimed if high is None else min(claimed, high)
    return max(nearest, fmpq(0) if low is None else max(low, fmpq(0)))


def _certificate(instance: Instance, solution: Solution, claim: _Claim) -> ExactCertificate:
    distance, coupling, gap = _above(claim.distance), _above(max(claim.excess, fmpq(0))), _above(claim.gap)
    price = _above(abs(claim.claimed - claim.multiplier))
    conditions = (
        _condition("coupling", fraction(coupling), claim.volume, "the limit is kept within the tolerance"),
        _condition("distance", fraction(distance), fmpq(1), "the plan equals the unique optimum within the tolerance"),
        _condition(
            "price",
            fraction(price),
            claim.total_price,
            "the claimed multiplier equals an optimal one within the tolerance",
        ),
    )
    claims = {"distance": distance, "coupling": coupling, "price": price, "gap": gap}
    return ExactCertificate(conditions, gap, _document(instance, solution, claim, claims))


def _condition(name: str, amount: fmpq, scale: fmpq, meaning: str) -> Condition:
    residual = _above(amount / scale) if scale else math.inf if amount else 0.0
    return Condition(name, residual, TOLERANCE, meaning)


def _refused(name: str, meaning: str) -> ExactCertificate:
    return ExactCertificate((Condition(name, math.inf, 0.0, meaning),), math.inf, None)


def _document(instance: Instance, solution: Solution, claim: _Claim, claims: dict[str, float]) -> dict[str, Any]:
    """The document; JSON writes doubles by `repr`, which every reader of JSON converts to the same double."""
    objective = instance.program.terms[0].objective
    at = {side: [k for k, other in enumerate(claim.sides) if other == side] for side in (INTERIOR, FLOOR, CAP)}
    return {
        "schema": "zetaplan.certificate/1",
        "program": instance.program.name,
        "parameters": {
            scalar.name: instance.parameters[scalar.name]
            for scalar in instance.program.scalars
            if scalar.symbol in objective.free_symbols
        },
        "limit": float(instance.limit),
        "weight": instance.weight.tolist(),
        "resource": instance.resource.tolist(),
        "lower": instance.lower.tolist(),
        "upper": [value if value < math.inf else None for value in instance.upper.tolist()],
        "plan": np.asarray(solution.x, dtype=np.float64).tolist(),
        "price": float(solution.multiplier),
        "multiplier": f"{int(claim.multiplier.p):#x}/{int(claim.multiplier.q):#x}",
        "interior": at[INTERIOR],
        "floor": at[FLOOR],
        "cap": at[CAP],
        "claim": claims,
    }


def _above(value: fmpq) -> float:
    """The value rounded up to a double."""
    return math.nextafter(int(value.p) / int(value.q), math.inf) if value else 0.0  # a quotient of ints is rounded once


def _short(value: fmpq) -> Interval:
    """The value rounded down and up to BITS bits."""
    scale = fmpq(2) ** max(0, BITS + value.q.bit_length() - value.p.bit_length())
    scaled = value * scale
    return fmpq(scaled.p // scaled.q) / scale, fmpq(-(-scaled.p // scaled.q)) / scale
