"""Optimal plans in whole units (method 5.7): LoRA ranks, experts, bits, layers that stay or go.

A plan in whole units is a choice from menus, one for each layer, with convex losses (method 10). So it is optimised
and proved as every choice is. The proof is about doubles: the losses are the objective's terms as they are computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zetaplan._display import ByName, Columns, Picture, bars
from zetaplan._plural import counted
from zetaplan.solvers.exact import solve_exact
from zetaplan.solvers.whole.grid import OUTWARD, Groups, whole_problem
from zetaplan.solvers.whole.menus import best_counts
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Instance
from zetaplan.spec.menus.answer import ChoiceSolution
from zetaplan.spec.solution import Solution
from zetaplan.spec.stationary import excess, plan_at
from zetaplan.spec.summation import rational_dot
from zetaplan.spec.values import Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METHOD = "choice from menus"


@dataclass(frozen=True, eq=False, repr=False)
class IntegerSolution(Value, ByName, Picture):
    """A plan in whole units and what it gives away.

    x : (K,) int64. objective : the program's, at x. bound : no plan, whole or not, is below it (the Lagrangian dual at
    the relaxed multiplier, rounded down; -inf where that multiplier is infinite). relaxed : the optimum without whole
    units. method : how x was found. proof : the choice from menus that x is, an optimum; None where x may not be one.
    rounding : by how much a plan in whole units can be better all the same, as the losses of the menus are doubles,
    each near the real term; inf without a proof.

    Examples:
        >>> whole = zp.solve_integer(zp.allocation([1, 3], costs=1.0, budget=3.0))
        >>> whole.x, whole.method, whole.objective >= whole.bound
        (array([0, 3]), 'choice from menus', True)
    """

    instance: Instance
    x: NDArray[np.int64]
    objective: float
    bound: float
    relaxed: Solution
    method: str
    proof: ChoiceSolution | None
    rounding: float

    @property
    def optimal(self) -> bool:
        """Is it proved that no plan in whole units is better, up to rounding of the losses?"""
        return self.proof is not None

    @property
    def gap(self) -> float:
        """objective - bound >= 0: what whole units cost at most."""
        return self.objective - self.bound

    @property
    def used(self) -> float:
        """sum_k r(x_k), rounded once: on the right side of the limit."""
        term = self.instance.program.terms[0]
        return float(term.usage * rational_dot(self.instance.resource, self.x.astype(np.float64)))

    def _headline(self) -> str:
        layers, proved = counted(self.x.size, "layer"), "proved optimal" if self.optimal else f"gap {self.gap:.3g}"
        return (
            f"{layers}, {int(self.x.sum()):,} whole units, objective {self.objective:.6g}, {proved}, by {self.method!r}"
        )

    def _columns(self) -> Columns:
        return {"layer": self.instance.layer_names, "x": self.x.tolist(), "relaxed": self.relaxed.x.tolist()}

    def _entries(self) -> dict[str, int]:
        return dict(zip(self.instance.layer_names, self.x.tolist(), strict=True))

    def _draw(self, axes: Axes) -> None:
        bars(axes, self.x.tolist(), "x", names=self.instance.names or (), label="whole units")
        axes.plot(self.relaxed.x, "k_", label="relaxed optimum")
        axes.legend()


def solve_integer(instance: Instance, step: ArrayLike = 1, groups: Groups | None = None) -> IntegerSolution:
    """The best plan whose entries are multiples of `step`.

    step : whole number > 0, or (K,) of them. Floors are rounded up to a multiple, caps down. groups : lists of layers
    (indices 0..K-1, each in one list at most) that must have equal entries, and then in steps of their least common
    multiple. A sparsity in whole units is 0 or 1: layers stay or go.

    Raises SpecError for bad steps or groups and InfeasibleError where no multiple lies in a box or the limit cannot
    be met.

    Examples:
        >>> whole = zp.solve_integer(zp.allocation([3, 4], costs=[2.0, 3.0], budget=7.0))
        >>> whole.x, whole.optimal
        (array([2, 1]), True)
    """
    problem = whole_problem(instance, step, groups)
    found = best_counts(problem.units)
    x = problem.grid.plan(found.z)
    x.setflags(write=False)
    relaxed = solve_exact(instance)
    return IntegerSolution(instance, x, _objective(instance, x), _dual(relaxed), relaxed, METHOD, *found[1:])


def _objective(instance: Instance, x: NDArray[np.int64]) -> float:
    (derivation,), (channel,) = derive(instance.program), instance.channels
    values = derivation.objective(x.astype(np.float64), 0.0, channel.weight, channel.unit_cost, *instance.scalars)
    return math.fsum(values.tolist())


def _dual(relaxed: Solution) -> float:
    """A number that is not above the Lagrangian dual at the relaxed multiplier; -inf where that is not finite.

    x(lambda) minimises the Lagrangian up to rounding, and so its value is right to the square of that; the rest is
    the rounding of the terms, which is subtracted.
    """
    instance, multiplier = relaxed.instance, relaxed.multiplier
    x = plan_at(instance, multiplier)
    price = multiplier * excess(instance, x)
    if not math.isfinite(price):
        return -math.inf
    (derivation,), (channel,) = derive(instance.program), instance.channels
    values = derivation.objective(x, 0.0, channel.weight, channel.unit_cost, *instance.scalars)
    terms: list[float] = [*values.tolist(), price]
    declared = float(derivation.declared_price_of(*instance.scalars)) * float(channel.unit_cost @ np.abs(x))
    return math.fsum(terms) - OUTWARD * (math.fsum(map(abs, terms)) + declared)
