"""Regret of a plan on known scores, and the plan with the least worst-case regret over a box of scores."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import numpy as np

from zetaplan._digits import at_most, percent
from zetaplan._display import Columns, Display
from zetaplan.errors import CertificateError, SpecError, require, shown
from zetaplan.solvers import solve
from zetaplan.solvers.menus.robust import RobustChoice, robust_choice
from zetaplan.solvers.minimax import minimax
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Array, Arrayish, Instance, weights, with_quality
from zetaplan.spec.menus.choice import Choice
from zetaplan.spec.solution import Solution, Status
from zetaplan.verification.certificate import Certificate, certify
from zetaplan.verification.regret.adversary import worst_case_floor
from zetaplan.verification.regret.bound import RegretBound, regret_bound
from zetaplan.verification.regret.boxes import decision_box, quality_ends
from zetaplan.verification.regret.dual_ends import dual_ends
from zetaplan.verification.regret.quotient import mixed


@dataclass(frozen=True, eq=False, repr=False)
class Regret(Display):
    """Regret of a plan on known scores.

    value : F_T(x) - min F_T >= 0. share : value / |min F_T|.
    best : the optimum on the target scores. certificate : the conditions of optimality of `best`.

    Examples:
        >>> inst = zp.allocation([1, 3], costs=1.0, budget=6.0)
        >>> lost = zp.regret(inst, zp.solve(inst), target_quality=[2, 6])
        >>> abs(lost.value) < 1e-12, lost.certificate.valid  # equal shares of the gain: no regret
        (True, True)
    """

    value: float
    share: float
    best: Solution
    certificate: Certificate

    def __str__(self) -> str:
        return f"regret is {self.value:.4g}, {percent(self.share)} of the best objective on these scores"

    def _headline(self) -> str:
        return str(self)

    def _columns(self) -> Columns:
        instance = self.best.instance
        return {"layer": instance.layer_names, **instance.by_term("best x", self.best.x)}


@dataclass(frozen=True, eq=False, repr=False)
class Robust(Display):
    """A plan for the worst case over a box, and its regret on the nominal scores.

    solution : the plan. worst : its proved worst-case regret (None if it minimises the worst objective).
    before : the proved worst-case regret of the nominal plan. cost : the robust plan's regret on the nominal scores.
    gap : upper bound on the improvement of the minimised quantity by any other plan: proved without the solver from a
        mixture of scores (`verification.adversary`), or the duality gap for the worst objective.

    Examples:
        >>> inst = zp.pruning([1, 3], sizes=1.0, target=1.0)
        >>> safe = zp.robust(inst, low=[0.5, 2.0], high=[1.5, 4.0])
        >>> bool(safe.cost.value >= 0.0)  # the regret if the nominal scores are right
        True
    """

    solution: Solution
    worst: RegretBound | None
    before: RegretBound | None
    cost: Regret
    gap: float

    def __str__(self) -> str:
        share = f"{percent(self.cost.share)} of the best objective"
        paid = f"its regret on the nominal scores is {self.cost.value:.4g} ({share})"
        if self.worst is None or self.before is None:
            return f"the plan minimises the worst objective; {paid}"
        worst = f"at most {at_most(self.worst.value, 4)} instead of {self.before.value:.4g}"
        return f"in the worst case the plan loses {worst}; {paid}"

    def _headline(self) -> str:
        return str(self)

    def _columns(self) -> Columns:
        return self.solution._columns()


def regret(instance: Instance, solution: Solution, target_quality: Arrayish) -> Regret:
    """The regret of a plan on known target scores, exact up to rounding.

    instance : the source's program. solution : its plan. target_quality : (K,) gains >= 0 in any unit.

    Raises SpecError for invalid gains, and CertificateError if the target's optimum violates a condition of optimality.

    Examples:
        >>> inst = zp.allocation([1, 3], costs=1.0, budget=6.0)
        >>> lost = zp.regret(inst, zp.solve(inst), target_quality=[1, 1])
        >>> lost.best.x, round(lost.value, 4)  # log 4 less log(12) / 2
        (array([3., 3.]), 0.1438)
    """
    require(instance, Instance, "instance", "make one with zetaplan.allocation, or another program")
    require(solution, Solution, "solution", "give what zetaplan.solve returns")
    target = with_quality(instance, target_quality)
    claim = certify(target, solution)
    broken = [condition for condition in claim.conditions if condition.name in ("coupling", "box") and not condition.ok]
    if broken:
        raise SpecError(
            f"solution.x violates the constraint that {broken[0].meaning}: relative residual {broken[0].residual:.2g}, "
            f"expected at most {broken[0].tolerance:.2g}; give a plan of this instance"
        )
    best = solve(target)
    certificate = certify(target, best)
    if certificate.failures:
        raise CertificateError(f"the target's optimum fails {certificate.failures[0].name}, so the regret is unknown")
    value = max(math.fsum((_terms(target, solution.x) - _terms(target, best.x)).ravel()), 0.0)
    size = abs(best.objective)
    return Regret(value, value / size if size else math.inf if value else 0.0, best, certificate)


@overload
def robust(
    instance: Instance,
    low: Arrayish,
    high: Arrayish,
    *,
    worst: Literal["regret", "objective"] = "regret",
    normalised: bool = False,
) -> Robust: ...


@overload
def robust(
    instance: Choice, low: Any, high: Any, *, worst: Literal["regret", "objective"] = "regret"
) -> RobustChoice: ...


def robust(
    instance: Instance | Choice,
    low: Any,
    high: Any,
    *,
    worst: Literal["regret", "objective"] = "regret",
    normalised: bool = False,
) -> Robust | RobustChoice:
    """The plan with the least worst-case regret while the scores stay in a box, by a convex program.

    instance : the program on the nominal scores. low, high : (K,) the box, as in `regret_bound`.
    worst : "regret" minimises the bound that one multiplier proves on the worst-case regret over one box. The box
        contains gains, or shares with separate ends for every decision if the resource has a declared price or
        exponents differ. This box contains the box of `regret_bound`; the nominal plan is returned if its bound is
        smaller. "objective" minimises the worst objective over independent shares: the program with every weight at its
        worse end.

    Of a choice, low and high are menus as `losses` in `zp.choice`.

    Raises SpecError for another `worst`, or a bad box.

    Examples:
        >>> inst = zp.allocation([1, 3], costs=1.0, budget=6.0)
        >>> safe = zp.robust(inst, low=[0.5, 1.5], high=[2.0, 6.0])
        >>> safe.worst.value <= safe.before.value
        True
    """
    if isinstance(instance, Choice):
        return robust_choice(instance, low, high, worst=worst)
    require(instance, Instance, "instance", "make one with zetaplan.allocation, or another program")
    if not isinstance(worst, str) or worst not in ("regret", "objective"):
        raise SpecError(f"worst = {shown(worst)}: expected 'regret' or 'objective'")
    if worst == "objective":
        return _for_the_worst_objective(instance, quality_ends(instance, low, high, normalised))
    nominal, box = solve(instance), decision_box(instance, low, high, normalised)
    parts = box.parts.reshape(box.weights.shape)
    found = minimax(instance, box.weights, parts, box.rest, nominal.multiplier)
    plan = Solution(instance, found.x.reshape(nominal.x.shape), found.multiplier, Status.CLAIMED, "minimax")
    after, before = (
        regret_bound(instance, made, low=low, high=high, normalised=normalised) for made in (plan, nominal)
    )
    if after.value > before.value:  # `regret_bound` uses several multipliers, by which the nominal plan is better
        plan, after = nominal, before
    expected = replace(instance, weight=mixed(box.weights, found.chances).reshape(instance.weight.shape))
    floor = worst_case_floor(instance, box, found.chances, solve(expected).multiplier, found.answers)
    gap = max(dual_ends(instance, [box], plan.x, plan.multiplier, refine=False).value - floor, 0.0)
    return Robust(plan, after, before, regret(instance, plan, instance.quality), gap)


def _for_the_worst_objective(instance: Instance, ends: Array) -> Robust:
    """The optimum with every weight at the end that makes its term larger, for every decision."""
    rows = np.array([weights(instance.program, q, instance.parameters) for q in ends])
    inside = np.minimum(instance.lower + 0.5, instance.upper)  # the sign of a term is the same at every decision
    low, high = (_terms(replace(instance, weight=row), inside) for row in rows)
    worse = replace(instance, weight=np.where(low >= high, *rows))
    solved = solve(worse)
    plan = replace(solved, instance=instance)
    return Robust(plan, None, None, regret(instance, plan, instance.quality), max(certify(worse, solved).gap, 0.0))


def _terms(instance: Instance, x: Array) -> Array:
    """The term of every decision in the objective, in the plan's shape."""
    rows = [
        np.broadcast_to(d.objective(y, 0.0, c.weight, c.unit_cost, *instance.scalars), y.shape)
        for d, c, y in zip(derive(instance.program), instance.channels, instance.rows(x), strict=True)
    ]
    return np.reshape(rows, instance.weight.shape)
