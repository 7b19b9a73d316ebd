"""`zetaplan allocate`: LoRA rank per block from a budget of parameters."""

from __future__ import annotations

from pathlib import Path

from zetaplan.cli.options import Json, PlanOut, Quiet, ScoresPath
from zetaplan.cli.output import deliver
from zetaplan.plans.kinds.experts import ExpertsOptions


def allocate(
    scores: ScoresPath,
    options: ExpertsOptions,
    out: PlanOut = Path("plan.json"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Divide a budget of parameters over the layers as LoRA rank, prove the plan, and round it to whole ranks."""
    from zetaplan.documents.convert import load_scores
    from zetaplan.plans import planner

    deliver(planner.allocate(load_scores(scores), **dict(options)), out, as_json, quiet)
