"""Command `zetaplan allocate`: LoRA rank per block under a budget of parameters."""

from __future__ import annotations

from pathlib import Path

from zetaplan._outputs import Output, claim, of_plan
from zetaplan.cli.options import Force, Json, PlanOut, Quiet, ScoresPath
from zetaplan.cli.output import deliver
from zetaplan.plans.kinds.experts import ExpertsOptions


def allocate(
    scores: ScoresPath,
    options: ExpertsOptions,
    out: PlanOut = Path("plan.json"),
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Divide a budget of parameters over the layers as LoRA ranks, prove the plan optimal, and round it."""
    from zetaplan.documents.convert import load_scores
    from zetaplan.plans import planner

    claim([Output(out, of_plan("rank", "experts"))], [scores], force=force)
    deliver(planner.allocate(load_scores(scores), **dict(options)), out, as_json, quiet)
