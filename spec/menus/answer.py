"""What a solver claims of a choice, and the data that prove it. A claim is data; verification decides its worth.

A proof is a tree that covers every choice. A branch splits the options of one decision; a leaf is a sweep: blocks are
added one by one to partial choices, and a partial choice is dropped where a dual bound of its completions, at one of
the stage's multipliers, reaches what is to be proved, or where another one costs no more and loses no more. A sweep
that drops the empty choice at once is the plain dual bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from zetaplan._display import ByName, Columns
from zetaplan._plural import counted
from zetaplan.spec.menus.choice import Array, Choice, Indices

Multipliers = tuple[Fraction, ...]  # one per budget


class ChoiceStatus(Enum):
    """Why the solver stopped; the value says cause and remedy.

    Examples:
        >>> zp.solve(zp.choice([[3, 1], [2, 0]], costs=[[1, 2], [1, 4]], budget=3)).status.name
        'OPTIMAL'
    """

    OPTIMAL = "optimal: no choice within the budgets has a smaller loss, and the proof shows it"
    GAP = "feasible, and within the gap of the optimum: raise time_limit or states for a proof of optimality"
    CLAIMED = "claimed: from a method that proves nothing; zetaplan.certify says what the choice is worth"


@dataclass(frozen=True)
class Stage:
    """Decisions that a sweep adds, in this order, and the multipliers whose bounds it uses meanwhile."""

    multipliers: tuple[Multipliers, ...]
    decisions: tuple[int, ...] = ()


@dataclass(frozen=True)
class Branch:
    """The options of one decision (by their place in the menu) in parts that cover them, and a node for each."""

    decision: int
    parts: tuple[tuple[int, ...], ...]
    children: tuple[int, ...]


Leaf = tuple[Stage, ...]


@dataclass(frozen=True)
class Tree:
    """Nodes; the first is the root, and children come after their parents."""

    nodes: tuple[Branch | Leaf, ...]


@dataclass(frozen=True, eq=False, repr=False)
class ChoiceSolution(ByName):
    """A claimed optimum of a choice instance.

    choice : (K,) the place of each block's option in its menu. multiplier : (M,) >= 0, the fall of the relaxation's
        value per unit of each budget (a float where there is one budget).
    bound : no feasible choice has a smaller objective (-inf where the method proves none; of an optimum its objective,
        which is rounded once). proof : of optimality, or
        of the bound; None where the method gives none.

    Examples:
        >>> sol = zp.solve(zp.choice([[3, 1], [2, 0]], costs=[[1, 2], [1, 4]], budget=3))
        >>> sol.choice, sol.objective, sol.gap
        (array([1, 0]), 3.0, 0.0)
    """

    instance: Choice
    choice: Indices
    multiplier: float | Array
    bound: float = -math.inf
    status: ChoiceStatus = ChoiceStatus.CLAIMED
    method: str = "claimed"
    proof: Tree | None = None

    @property
    def objective(self) -> float:
        """The total loss, rounded once."""
        return math.fsum(self.instance.losses[self.instance.rows(self.choice)].tolist())

    @property
    def spent(self) -> tuple[float, ...]:
        """(M,) the total cost under every budget, rounded once."""
        return tuple(math.fsum(column.tolist()) for column in self.instance.costs[self.instance.rows(self.choice)].T)

    @property
    def gap(self) -> float:
        """objective - bound: no choice within the budgets is better by more."""
        return max(self.objective - self.bound, 0.0)

    @property
    def taken(self) -> dict[str, str]:
        """The label of the option that each block takes."""
        pairs = zip(self.instance.names, self.instance.labels, self.choice.tolist(), strict=True)
        return {name: labels[j] for name, labels, j in pairs}

    def _headline(self) -> str:
        if not self.instance.admits(self.choice):
            return "not one option of every block"
        blocks = counted(self.instance.blocks, "block")
        return f"{blocks}, total loss {self.objective:.6g}, gap {self.gap:.3g}, {self.status.name} by {self.method!r}"

    def _columns(self) -> Columns:
        return {"block": list(self.taken), "option": list(self.taken.values())}

    def _entries(self) -> dict[str, str]:
        return self.taken
