"""The choice that can lose least while the losses stay in a box (method 10).

For fixed multipliers the bound on the worst regret separates over the blocks, so the choice that minimises it is the
optimum of other menus; for a fixed choice the best multipliers are those of its worst menus. The two are found in
turn. What each choice can really lose is then computed exactly: its worst menus are one vertex of the box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from zetaplan._display import Columns, Display
from zetaplan.errors import SpecError
from zetaplan.solvers.menus.exact import solve_exact
from zetaplan.spec.menus.answer import ChoiceSolution, ChoiceStatus
from zetaplan.spec.menus.choice import Array, Choice
from zetaplan.spec.menus.declare import with_losses

ROUNDS = 10


@dataclass(frozen=True, eq=False, repr=False)
class RobustChoice(Display):
    """A choice for the worst case over a box of losses.

    solution : the choice, on the nominal menus. worst : its worst regret (worst loss, if that was minimised), exactly.
    before : the same of the nominal optimum. cost : what the choice loses at the nominal losses.

    Examples:
        >>> menus = zp.choice([[3, 1], [2, 0]], costs=[[1, 2], [1, 4]], budget=3)
        >>> safe = zp.robust(menus, low=[[2, 0], [1, 0]], high=[[4, 2], [3, 1]])
        >>> type(safe).__name__, safe.worst <= safe.before
        ('RobustChoice', True)
    """

    solution: ChoiceSolution
    worst: float
    before: float
    cost: float

    def __str__(self) -> str:
        return (
            f"in the worst case the choice loses {self.worst:.4g} instead of {self.before:.4g}; "
            f"at the nominal losses it costs {self.cost:.4g}"
        )

    def _headline(self) -> str:
        return str(self)

    def _columns(self) -> Columns:
        return {"block": self.solution.keys(), "option": self.solution.values()}


def robust_choice(
    instance: Choice, low: Any, high: Any, *, worst: Literal["regret", "objective"] = "regret", **options: Any
) -> RobustChoice:
    """The choice that can lose least while the losses stay in a box.

    low, high : K menus as `losses` in `zp.choice`, low <= high.
    worst : "objective" minimises the largest loss, exactly: the optimum at `high`. "regret" minimises what one
        set of multipliers proves of the worst regret, and keeps the nominal optimum where that can lose less.
    options : those of `zp.solve` for a choice.

    Raises SpecError for another `worst`, menus of other sizes, or ends in the wrong order.
    """
    if worst not in ("regret", "objective"):
        raise SpecError(f"worst = {worst!r}: expected 'regret' or 'objective'")
    least, most = with_losses(instance, low).losses, with_losses(instance, high).losses
    if (least > most).any():
        raise SpecError("low: expected at most high for every option")
    nominal = solve_exact(instance, **options)
    if worst == "objective":
        return _for_the_worst_loss(instance, nominal, most, options)
    found, multiplier = nominal, nominal.multiplier
    lost = before = worst_regret(instance, nominal, least, most, options)
    for _ in range(ROUNDS):
        separated = _separated(instance, np.atleast_1d(np.asarray(multiplier)), least, most)
        tried = replace(solve_exact(separated, **options), instance=instance)
        loses = worst_regret(instance, tried, least, most, options)
        if not loses[0] < lost[0]:
            break
        found, lost, multiplier = tried, loses, loses[1]
    cost = math.fsum([found.objective, -nominal.objective])
    return RobustChoice(_claimed(instance, found), lost[0], before[0], cost)


def worst_regret(
    instance: Choice, solution: ChoiceSolution, low: Array, high: Array, options: dict[str, Any]
) -> tuple[float, float | Array]:
    """The largest regret over the box, rounded once (with its gap where a limit ends the search); and its multiplier.

    low, high : (n,), as the instance's own losses.
    """
    rows = instance.rows(solution.choice)
    losses = low.copy()
    losses[rows] = high[rows]
    best = solve_exact(replace(instance, losses=losses), **options)
    proved = best.status is ChoiceStatus.OPTIMAL
    least = losses[instance.rows(best.choice)] if proved else np.array([best.bound])
    return max(math.fsum([*losses[rows].tolist(), *(-least).tolist()]), 0.0), best.multiplier


def _separated(instance: Choice, multipliers: Array, low: Array, high: Array) -> Choice:
    """The menus whose optimum minimises the bound: what an option at high adds over the best of its menu then."""
    charge = instance.costs @ multipliers
    cheap, owner = low + charge, instance.owner
    least = instance.least(cheap)
    first = cheap <= least[owner]
    several = np.add.reduceat(first, instance.first[:-1], dtype=np.intp) > 1
    second = np.where(several, least, instance.least(np.where(first, np.inf, cheap)))
    others = np.where(first, second[owner], least[owner])
    return replace(instance, losses=high - np.minimum(high + charge, others))


def _for_the_worst_loss(
    instance: Choice, nominal: ChoiceSolution, high: Array, options: dict[str, Any]
) -> RobustChoice:
    at_high = replace(instance, losses=high)
    solved = solve_exact(at_high, **options)
    before = math.fsum(high[instance.rows(nominal.choice)].tolist())
    found = replace(solved, instance=instance)
    cost = math.fsum([found.objective, -nominal.objective])
    return RobustChoice(_claimed(instance, found), solved.objective, before, cost)


def _claimed(instance: Choice, found: ChoiceSolution) -> ChoiceSolution:
    """On the nominal menus the choice is a claim: its proof was about others."""
    return ChoiceSolution(instance, found.choice, found.multiplier, method="robust")
