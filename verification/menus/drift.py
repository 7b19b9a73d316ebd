"""What a choice can lose while the losses stay in intervals (method 10), without a solver.

Let w_kj range over [low, high]. For fixed multipliers the gap of a choice x is largest where x's options stand at high
and all others at low: one vertex of the box, whatever the multipliers. So

    regret <= sum_k [p_k,x(k) - min_j p_kj] + lambda . (B - cost(x)),    p = (high on x, low elsewhere) + lambda . c,

the duality gap of x on the menus with those losses. It is convex and piecewise linear in lambda, and the least over
lambda is sought. The regret itself is largest at the same vertex: the optimum there (a solver's) gives it exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zetaplan._display import Columns, Display
from zetaplan.errors import SpecError
from zetaplan.spec.menus.answer import ChoiceSolution
from zetaplan.spec.menus.choice import Array, Choice
from zetaplan.spec.menus.declare import with_losses
from zetaplan.verification.menus.multiplier import best_multipliers
from zetaplan.verification.menus.proof import ChoiceCertificate, certify_choice

Menus = Sequence[ArrayLike] | NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class ChoiceRegretBound(Display):
    """What a choice can lose while the losses stay in a box, in the unit of the losses.

    value : regret <= value for all losses in the box. multipliers : (M,) that prove it. spare : what the budgets left
    over add. blocks : (G,) what each decision adds, >= 0. names : (G,) the first block of each.
    worst : the menus at the vertex of the box at which the bound is attained.

    Examples:
        >>> menus = zp.choice([[3, 1], [2, 0]], costs=[[1, 2], [1, 4]], budget=3)
        >>> bound = zp.regret_bound(menus, zp.solve(menus), low=[[2, 1], [2, 0]], high=[[3, 2], [2, 0]])
        >>> bound.certificate.valid, bound.matters
        (True, ('0',))
    """

    value: float
    multipliers: Array
    spare: float
    blocks: Array
    names: tuple[str, ...]
    worst: Choice
    solution: ChoiceSolution

    @property
    def matters(self) -> tuple[str, ...]:
        """The blocks whose drift can cost something, the worst first."""
        order = np.argsort(-self.blocks, kind="stable")
        return tuple(self.names[g] for g in order.tolist() if self.blocks[g] > 0.0)

    @property
    def certificate(self) -> ChoiceCertificate:
        """The proof in fractions: the gap of the choice on the worst menus, for `check_certificate`."""
        claim = ChoiceSolution(self.worst, self.solution.choice, self.multipliers)
        return certify_choice(self.worst, claim)

    def __str__(self) -> str:
        return f"regret is at most {self.value:.4g} for all losses in the box; blocks that matter: {len(self.matters)}"

    def _headline(self) -> str:
        return str(self)

    def _columns(self) -> Columns:
        return {"block": self.names, "contribution": self.blocks.tolist()}


def choice_regret_bound(
    instance: Choice, solution: ChoiceSolution, low: Menus, high: Menus, *, refine: bool = True
) -> ChoiceRegretBound:
    """Bound the regret of a choice over a box of losses.

    low, high : K menus as `losses` in `zp.choice`, low <= high; the instance's own losses need not lie between them.
    refine : search for the multipliers that prove most; if False, those of the solution.

    Raises SpecError for menus of other sizes, ends in the wrong order, and a choice that breaks a budget.
    """
    worst = worst_menus(instance, solution, low, high)
    start = np.broadcast_to(np.asarray(solution.multiplier, dtype=np.float64), instance.budgets.shape)
    start = np.where(np.isfinite(start), np.maximum(start, 0.0), 0.0)
    multipliers = best_multipliers(worst, start) if refine else start
    rows = instance.rows(solution.choice)
    priced = worst.priced(multipliers)
    blocks = priced[rows] - worst.least(priced)
    left = [
        m * math.fsum([budget, *(-used).tolist()])
        for m, budget, used in zip(multipliers.tolist(), instance.budgets.tolist(), instance.costs[rows].T, strict=True)
    ]
    total = math.fsum([*worst.losses[rows].tolist(), -worst.dual_bound(multipliers)])
    leaders = np.unique(instance.decision, return_index=True)[1].tolist()
    names = tuple(instance.names[k] for k in leaders)
    value = max(math.nextafter(total, math.inf), 0.0)
    return ChoiceRegretBound(value, multipliers, math.fsum(left), blocks, names, worst, solution)


def worst_menus(instance: Choice, solution: ChoiceSolution, low: Menus, high: Menus) -> Choice:
    """The menus at the vertex of the box that is worst for a choice: its own options at high, all others at low."""
    if not instance.admits(solution.choice):
        raise SpecError(
            "solution.choice: expected one option per block that is not ruled out; give a choice of this instance"
        )
    rows = instance.rows(solution.choice)
    for m, (used, budget) in enumerate(zip(instance.costs[rows].T.tolist(), instance.budgets.tolist(), strict=True)):
        if math.fsum([*used, -budget]) > 0.0:
            raise SpecError(f"solution.choice: it exceeds budget {m}; give a choice of this instance")
    least, most = with_losses(instance, low).losses, with_losses(instance, high).losses
    if (least > most).any():
        row = int(np.argmax(least > most))
        raise SpecError(f"low: option {row} of the menus has low = {least[row]:g} above high = {most[row]:g}")
    losses = least.copy()
    losses[rows] = most[rows]
    return replace(instance, losses=losses)
