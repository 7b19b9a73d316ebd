"""Bounds on the regret R = F_T(x_S) - min F_T of a source's plan, for all target scores in a box; no solver is used.

dual-endpoint  R <= sum_k max over ends e of [L_ke(x_k) - min_y L_ke(y)] + spare, L the Lagrangian at any multiplier
               >= 0: weak duality, convex in every weight (proof `drift`, see `dual_ends`). No assumption.
separable      R <= sum_k (Lq_k |dq_k|)^2 / (2 mu_k): the variational inequality of x_S, layer by layer (proof
               `separable`).
variational    R <= L_q^2 |dq|^2 / (2 mu): the same with one constant for all layers.
theorem-4      R <= L L_q^2 |dq|^2 / (2 mu^2): the paper's, larger by the condition number L / mu >= 1 (proof `regret`).

The last three need mu > 0 and a plan that is optimal for the source. Their constants are derived from the declaration
and are the worst of both ends of the box and the source's scores (proof `constants`). |dq| is the distance to the
farther end.

A box bounds gains, which are normalised afterwards, or shares. The bounds assume that the target's shares sum to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import numpy as np

from zetaplan._display import Columns, Display, table
from zetaplan.errors import SpecError, require
from zetaplan.spec.constants import Constants, constants
from zetaplan.spec.instance import Array, Arrayish, Instance, weights
from zetaplan.spec.menus.answer import ChoiceSolution
from zetaplan.spec.menus.choice import Choice
from zetaplan.spec.solution import Solution
from zetaplan.verification.regret.boxes import quality_ends, regret_boxes
from zetaplan.verification.regret.dual_ends import dual_ends

if TYPE_CHECKING:
    from zetaplan.verification.menus.drift import ChoiceRegretBound

Kind = Literal["dual-endpoint", "separable", "variational", "theorem-4"]

NEEDS: dict[Kind, str] = {
    "dual-endpoint": "no assumption: any plan, any multiplier",
    "separable": "an optimal plan, and strong convexity of every layer",
    "variational": "an optimal plan, and strong convexity",
    "theorem-4": "an optimal plan, strong convexity and smoothness",
}


@dataclass(frozen=True, eq=False, repr=False)
class RegretBound(Display):
    """Upper bound on the regret of a plan over a box of scores, in the unit of the objective.

    value : R <= value for all scores in the box; infinite if no bound is proved. kind : the theorem used.
    layers : contribution of each layer, in the plan's shape; None if only the sum is known.

    Examples:
        >>> inst = zp.allocation([1, 3], costs=1.0, budget=6.0)
        >>> bound = zp.regret_bound(inst, zp.solve(inst), low=[0.9, 2.7], high=[1.1, 3.3], kind="theorem-4")
        >>> bound.kind, bound.layers is None
        ('theorem-4', True)
    """

    value: float
    kind: Kind
    layers: Array | None

    @property
    def needs(self) -> str:
        """The assumptions of the bound."""
        return NEEDS[self.kind]

    def __str__(self) -> str:
        if math.isinf(self.value):
            return f"no bound on the regret is proved by {self.kind} (needs {self.needs})"
        return f"regret is at most {self.value:.4g} for all scores in the box, by {self.kind} (needs {self.needs})"

    def _headline(self) -> str:
        return str(self)

    def _columns(self) -> Columns:
        return table({"contribution": np.zeros(0) if self.layers is None else self.layers})


@overload
def regret_bound(
    instance: Instance,
    solution: Solution,
    *,
    low: Arrayish,
    high: Arrayish,
    kind: Kind = "dual-endpoint",
    normalised: bool = False,
    refine: bool = True,
) -> RegretBound: ...


@overload
def regret_bound(
    instance: Choice, solution: ChoiceSolution, *, low: Any, high: Any, refine: bool = True
) -> ChoiceRegretBound: ...


def regret_bound(
    instance: Instance | Choice,
    solution: Solution | ChoiceSolution,
    *,
    low: Any,
    high: Any,
    kind: Kind = "dual-endpoint",
    normalised: bool = False,
    refine: bool = True,
) -> RegretBound | ChoiceRegretBound:
    """Bound the regret of a plan over a box of scores, or that of a choice over a box of losses.

    instance : the source's program. solution : its plan x and multiplier.
    low, high : (K,) 0 <= low <= high, gains in any unit, or shares q if `normalised`; the source's scores may
        lie outside. kind : see this module.
    refine : search for the best multiplier, halve the box and search again, about 130 evaluations in total;
        if False, one evaluation at the plan's own multiplier. Used by "dual-endpoint" only.
    Of a choice, low and high are menus as `losses` in `zp.choice`, and kind is "dual-endpoint".

    Raises SpecError for another kind, for other shapes, for low > high, and for a box without shares that sum to 1.

    Examples:
        >>> inst = zp.allocation([1, 3], costs=1.0, budget=6.0)
        >>> sol = zp.solve(inst)
        >>> bound = zp.regret_bound(inst, sol, low=[0.9, 2.7], high=[1.1, 3.3])
        >>> bound.value >= zp.regret(inst, sol, [1.1, 2.7]).value
        True
    """
    if isinstance(instance, Choice) or isinstance(solution, ChoiceSolution):
        return _of_a_choice(instance, solution, low, high, kind, refine)
    require(instance, Instance, "instance", "make one with zetaplan.allocation, or another program")
    require(solution, Solution, "solution", "give what zetaplan.solve returns")
    if kind not in get_args(Kind):
        raise SpecError(f"kind = {kind!r}: expected one of {', '.join(get_args(Kind))}")
    if kind != "dual-endpoint":
        return _by_constants(instance, quality_ends(instance, low, high, normalised), kind)
    boxes = regret_boxes(instance, low, high, normalised)
    found = dual_ends(instance, boxes, solution.x, solution.multiplier, refine=refine)
    return RegretBound(found.value, kind, found.layers.reshape(instance.weight.shape))


def _of_a_choice(
    instance: Instance | Choice, solution: Solution | ChoiceSolution, low: Any, high: Any, kind: Kind, refine: bool
) -> ChoiceRegretBound:
    from zetaplan.verification.menus.drift import choice_regret_bound

    if not (isinstance(instance, Choice) and isinstance(solution, ChoiceSolution)):
        raise SpecError(f"solution: a {type(solution).__name__} is none of a {type(instance).__name__}")
    if kind != "dual-endpoint":
        raise SpecError(f"kind = {kind!r}: expected 'dual-endpoint' for a choice")
    return choice_regret_bound(instance, solution, low, high, refine=refine)


def box_constants(instance: Instance, ends: Array) -> Constants:
    """mu_k, L_k and Lq_k at the worst of both ends and the source: f'' and its change with q are monotone in q."""
    found = [
        constants(replace(instance, quality=q, weight=weights(instance.program, q, instance.parameters)))
        for q in (*ends, instance.quality)
    ]
    return Constants(
        np.minimum.reduce([c.strong_convexity for c in found]),
        np.maximum.reduce([c.smoothness for c in found]),
        np.maximum.reduce([c.score_lipschitz for c in found]),
    )


def _by_constants(instance: Instance, ends: Array, kind: Kind) -> RegretBound:
    c, drift = box_constants(instance, ends), np.abs(ends - instance.quality).max(axis=0)
    if kind == "separable":
        layers = _quotient(_product(c.score_lipschitz, drift) ** 2, 2 * c.strong_convexity)
        return RegretBound(float(layers.sum()), kind, layers)
    moved = _product(np.array(c.L_q**2), np.array(drift @ drift))
    value = float(_quotient(moved, np.array(2 * c.mu)))
    if kind == "theorem-4" and value > 0:
        value *= float(_quotient(np.array(c.L), np.array(c.mu)))
    return RegretBound(value, kind, None)


def _product(constant: Array, drift: Array) -> Array:
    """constant drift with inf 0 = 0."""
    with np.errstate(invalid="ignore"):
        found: Array = np.where(drift == 0.0, 0.0, constant * drift)
    return found


def _quotient(top: Array, bottom: Array) -> Array:
    """top / bottom with 0 / 0 = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Array = np.where(top == 0.0, 0.0, top / bottom)
    return found
