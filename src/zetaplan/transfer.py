"""Regret of a plan: exactly on known scores, and the plan that can lose least over a box of scores."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from zetaplan.errors import CertificateError, SpecError
from zetaplan.solvers import solve
from zetaplan.solvers.minimax import minimax
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Arrayish, Instance, weights, with_quality
from zetaplan.spec.solution import Solution, Status
from zetaplan.verification.certificate import Certificate, certify
from zetaplan.verification.regret import RegretBound, quality_ends, regret_bound


@dataclass(frozen=True, eq=False)
class Regret:
    """What a plan loses on known scores.

    value : F_T(x) - min F_T >= 0. share : of the best objective, |min F_T|.
    best : the optimum on the target scores. certificate : that it is one.
    """

    value: float
    share: float
    best: Solution
    certificate: Certificate

    def __str__(self) -> str:
        return f"regret is {self.value:.4g}, {self.share:.2%} of the best objective on these scores"


@dataclass(frozen=True, eq=False)
class Robust:
    """A plan for the worst case over a box, and what that costs.

    solution : the plan. worst : its proved worst regret (None if it minimises the worst objective).
    before : the same of the nominal plan. cost : the regret of the robust plan at the nominal scores.
    """

    solution: Solution
    worst: RegretBound | None
    before: RegretBound | None
    cost: Regret

    def __str__(self) -> str:
        paid = f"at the nominal scores it costs {self.cost.value:.4g} ({self.cost.share:.2%} of the best objective)"
        if self.worst is None or self.before is None:
            return f"the plan minimises the worst objective; {paid}"
        worst = f"at most {self.worst.value:.4g} instead of {self.before.value:.4g}"
        return f"in the worst case the plan loses {worst}; {paid}"


def regret(instance: Instance, solution: Solution, target_quality: Arrayish) -> Regret:
    """The exact regret, to rounding, of a plan on known target scores.

    instance : the source's program. solution : its plan. target_quality : (K,) gains >= 0 in any unit.

    Raises SpecError for gains that are none, CertificateError where the target's optimum does not verify.
    """
    target = with_quality(instance, target_quality)
    best = solve(target)
    certificate = certify(target, best)
    if certificate.failures:
        raise CertificateError(f"the target's optimum fails {certificate.failures[0].name}; no regret is known")
    terms = zip(derive(target.program), target.channels, target.rows(solution.x), target.rows(best.x), strict=True)
    lost = [
        np.subtract(*(d.objective(y, 0.0, c.weight, c.data, *target.scalars) for y in (x, y_best)))
        for d, c, x, y_best in terms
    ]
    value = max(math.fsum(np.concatenate([np.atleast_1d(row) for row in lost])), 0.0)
    size = abs(best.objective)
    return Regret(value, value / size if size else math.inf if value else 0.0, best, certificate)


def robust(
    instance: Instance,
    low: Arrayish,
    high: Arrayish,
    *,
    worst: Literal["regret", "objective"] = "regret",
    normalised: bool = False,
) -> Robust:
    """The plan that can lose least while the scores stay in a box, by a convex program.

    instance : the program at the nominal scores. low, high : (K,) the box, as in `regret_bound`.
    worst : "regret" minimises the proved worst regret (its dual-endpoint bound); "objective" the worst objective, which
        is the same program with every weight at its worse end.

    Raises SpecError for another `worst`, a bad box, or programs of several terms.
    """
    if worst not in ("regret", "objective"):
        raise SpecError(f"worst = {worst!r}: expected 'regret' or 'objective'")
    if len(instance.channels) > 1:
        raise SpecError(f"{instance.program.name}: a robust plan is found for programs of one term only")
    ends = [weights(instance.program, q, instance.parameters) for q in quality_ends(instance, low, high, normalised)]
    nominal = solve(instance)
    if worst == "objective":
        plan = _worst_weights(instance, ends)
        return Robust(plan, None, None, regret(instance, plan, instance.quality))
    x, price = minimax(instance, np.array(ends), nominal.multiplier)
    plan = Solution(instance, x, price, Status.CLAIMED, "minimax")
    after, before = (
        regret_bound(instance, made, low=low, high=high, normalised=normalised) for made in (plan, nominal)
    )
    if after.value > before.value:  # the search has a resolution: below it the nominal plan is as good
        plan, after = nominal, before
    return Robust(plan, after, before, regret(instance, plan, instance.quality))


def _worst_weights(instance: Instance, ends: list[np.ndarray]) -> Solution:
    """The optimum where every weight stands at the end that makes its layer's term larger, whatever the decision."""
    (derivation,), (channel,) = derive(instance.program), instance.channels
    probe = np.minimum(channel.lower + 1.0, np.minimum(channel.upper, channel.lower + 0.5))
    low, high = (derivation.objective(probe, 0.0, w, channel.data, *instance.scalars) for w in ends)
    chosen = np.where(low >= high, *ends)
    solved = solve(replace(instance, weight=chosen))
    return Solution(instance, solved.x, solved.multiplier, solved.status, solved.method)
