"""Baseline plans under the same limit and box: the uniform plan, and the same program with other scores.

By construction no baseline has a better objective for the measured gains. The difference of the objectives, and the
share of the resource on other layers, show the effect of the gains; only a measurement shows which plan gives the
better model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from zetaplan.scoring.peers.mola import mola_experts
from zetaplan.solvers import solve
from zetaplan.spec.instance import Array, Arrayish, with_quality

if TYPE_CHECKING:
    from zetaplan.plans.plan import Plan
    from zetaplan.spec.solution import Solution


@dataclass(frozen=True, eq=False)
class Baseline:
    """Another plan for the same limit. kind : its class in charts. x : (K,) amounts. rule : its rule in words."""

    plan: Plan
    kind: str
    name: str
    rule: str
    x: Array

    @property
    def allowed(self) -> bool:
        """Whether the baseline satisfies all floors and caps."""
        instance = self.plan.instance
        return bool(((instance.lower <= self.x) & (self.x <= instance.upper)).all())

    @property
    def behind(self) -> float | None:
        """Difference of the objectives as a share of the baseline's; None if the baseline is not allowed or has 0."""
        objective = replace(self.plan.solution, x=self.x).objective
        if not self.allowed or objective == 0:
            return None
        return (objective - self.plan.solution.objective) / abs(objective)

    @property
    def elsewhere(self) -> float:
        """The share of the plan's resource that the baseline would assign to other layers."""
        resource, x = self.plan.instance.resource, self.plan.solution.x
        used = math.fsum(resource * x)
        return math.fsum(resource * np.maximum(x - self.x, 0.0)) / used if used else 0.0


def baselines(plan: Plan) -> tuple[Baseline, ...]:
    """The uniform plan first, then the gradient norm and MoLA's depth rule, if the scores have the required columns."""
    return tuple(_baselines(plan))


def uniform_objectives(points: Sequence[Solution]) -> list[float]:
    """The objectives of the uniform plans that use the limits of the points, without floors and caps."""
    return [
        replace(point, x=np.full(len(point.x), point.instance.limit / float(point.instance.resource.sum()))).objective
        for point in points
    ]


def _baselines(plan: Plan) -> Iterator[Baseline]:
    scores, layers = plan.scores, len(plan.names)
    yield Baseline(plan, "uniform", "uniform", "the same for all", np.full(layers, plan.uniform))
    if scores.curvature != "gradient" and scores.gradient_norm.any():
        rule = "the same program with |g|² in place of the gain, without curvature"
        yield Baseline(plan, "gradient", "gradient norm", rule, _under(plan, np.square(scores.gradient_norm)))
    if "tied" not in scores.provenance:
        rule = "the same program with 2, 4, 6, 8 by quarter of the depth (MoLA) in place of the gain, not measured"
        yield Baseline(plan, "depth", "depth", rule, _under(plan, mola_experts(layers)))


def _under(plan: Plan, quality: Arrayish) -> Array:
    return solve(with_quality(plan.instance, quality)).x
