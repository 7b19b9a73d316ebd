"""Solutions: the plan and the multiplier that a solver claims to be optimal."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zetaplan._display import ByName, Columns, Picture, bars
from zetaplan._plural import counted
from zetaplan.spec.instance import Instance
from zetaplan.spec.values import Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Status(Enum):
    """Reason why the solver stopped; the value states cause and remedy.

    Examples:
        >>> zp.solve(zp.allocation([1, 3], costs=1.0, budget=6.0)).status.name
        'BINDING'
        >>> zp.solve(zp.allocation([1, 3], costs=1.0, budget=6.0, alpha=2.0)).status.name
        'SLACK'
    """

    BINDING = "optimal: the constraint binds"
    SLACK = (
        "optimal: the constraint is slack at the optimum, so the multiplier is 0; "
        "set alpha = 0 (or bits = 0) to use the whole budget"
    )
    INACCURATE = "inaccurate: the solver stopped before it reached its tolerance; use method='exact'"
    CLAIMED = "claimed: read from a file or another tool; check it with zetaplan.certify"


@dataclass(frozen=True, eq=False, repr=False)
class Solution(Value, ByName, Picture):
    """A claimed optimum of an instance.

    x : (K,) the plan, in the decision's unit (shape (T, K) for a program of T terms).
    multiplier : lambda >= 0, the decrease of the optimal value per unit of budget, or its increase per unit of target.

    Examples:
        >>> sol = zp.solve(zp.allocation([1, 3], costs=1.0, budget=6.0))
        >>> sol.x, sol.multiplier
        (array([1., 5.]), 0.125)
    """

    instance: Instance
    x: NDArray[np.float64]
    multiplier: float
    status: Status = Status.CLAIMED
    method: str = "claimed"

    @property
    def objective(self) -> float:
        """The program's objective at x."""
        from zetaplan.spec.derivation import derive  # sympy loads when first needed

        inst = self.instance
        channels = zip(derive(inst.program), inst.channels, inst.rows(self.x), strict=True)
        return float(sum(d.objective(x, 0.0, c.weight, c.unit_cost, *inst.scalars).sum() for d, c, x in channels))

    def _headline(self) -> str:
        program, x = self.instance.program.name, np.asarray(self.x)
        size = f"{program} of {counted(self.instance.quality.size, 'layer')}"
        extent = f"x from {x.min():.4g} to {x.max():.4g}" if x.size else "no x"
        return f"{size}, {extent}, multiplier {self.multiplier:.4g}, {self.status.name} by {self.method!r}"

    def _columns(self) -> Columns:
        return {"layer": self.instance.layer_names, **self.instance.by_term("x", self.x)}

    def _entries(self) -> dict[str, float]:
        return dict(zip(self.instance.layer_names, self.x.T.tolist(), strict=True))

    def _draw(self, axes: Axes) -> None:
        for heading, row in self.instance.by_term("x", self.x).items():
            bars(axes, row, "x", names=self.instance.names or (), label=heading, alpha=0.7)
