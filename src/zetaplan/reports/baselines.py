"""What other rules plan under the same limit and the same box: the same for all, and the program with other scores.

By construction no baseline has a better objective for the measured gains. The distance of its objective, and the share
that it would put elsewhere, show what the gains decide; only a measurement shows which plan gives the better model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from zetaplan.scoring.peers.mola import mola_experts
from zetaplan.solvers import solve
from zetaplan.spec.instance import Array, Arrayish, with_quality

if TYPE_CHECKING:
    from zetaplan.plans.plan import Plan


@dataclass(frozen=True, eq=False)
class Baseline:
    """Another plan for the same limit. kind : its class in charts. x : (K,). rule : where it comes from, in words."""

    plan: Plan
    kind: str
    name: str
    rule: str
    x: Array

    @property
    def allowed(self) -> bool:
        """Whether it keeps floors and caps."""
        instance = self.plan.instance
        return bool(((instance.lower <= self.x) & (self.x <= instance.upper)).all())

    @property
    def behind(self) -> float | None:
        """How far its objective is behind the plan's, as a share of its own; None where that says nothing."""
        objective = replace(self.plan.solution, x=self.x).objective
        if not self.allowed or objective == 0:
            return None
        return (objective - self.plan.solution.objective) / abs(objective)

    @property
    def elsewhere(self) -> float:
        """The share of the plan's resource that it would put on other layers."""
        resource, x = self.plan.instance.resource, self.plan.solution.x
        used = math.fsum(resource * x)
        return math.fsum(resource * np.maximum(x - self.x, 0.0)) / used if used else 0.0


def baselines(plan: Plan) -> tuple[Baseline, ...]:
    """Uniform first; then, where the scores hold what they need, the gradient norm and MoLA's rule of depth."""
    return tuple(_baselines(plan))


def _baselines(plan: Plan) -> Iterator[Baseline]:
    scores, layers = plan.scores, len(plan.names)
    yield Baseline(plan, "uniform", "uniform", "the same for all", np.full(layers, plan.uniform))
    if scores.curvature != "gradient" and scores.gradient_norm.any():
        rule = "the same program with |g|² in place of the gain: no curvature"
        yield Baseline(plan, "gradient", "gradient norm", rule, _under(plan, np.square(scores.gradient_norm)))
    if "tied" not in scores.provenance:
        rule = "the same program with 2, 4, 6, 8 by quarter of the depth (MoLA) in place of the gain: no measurement"
        yield Baseline(plan, "depth", "depth", rule, _under(plan, mola_experts(layers)))


def _under(plan: Plan, quality: Arrayish) -> Array:
    return solve(with_quality(plan.instance, quality)).x
