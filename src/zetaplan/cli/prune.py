"""Command `zetaplan prune`: sparsity per block for a target."""

from __future__ import annotations

from pathlib import Path

from zetaplan._outputs import Output, claim, of_plan
from zetaplan.cli.options import Force, Json, PlanOut, Quiet, ScoresPath
from zetaplan.cli.output import deliver
from zetaplan.plans.kinds.sparsity import SparsityOptions


def prune(
    scores: ScoresPath,
    options: SparsityOptions,
    out: PlanOut = Path("plan.json"),
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Divide a number of weights to remove over the layers as sparsity, and prove the plan optimal."""
    from zetaplan.documents.convert import load_scores
    from zetaplan.plans import planner

    claim([Output(out, of_plan("sparsity"))], [scores], force=force)
    deliver(planner.prune(load_scores(scores), **dict(options)), out, as_json, quiet)
