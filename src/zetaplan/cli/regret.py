"""Command `zetaplan regret`: regret of a plan on other scores, or its upper bound if the scores drift."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zetaplan._digits import percent
from zetaplan._plural import counted
from zetaplan._quantities import read, share
from zetaplan._uncollected import uncollected
from zetaplan.errors import CertificateError, SpecError

if TYPE_CHECKING:
    from rich.table import Table

    from zetaplan.drift.cost import Cost
    from zetaplan.drift.intervals import Intervals
    from zetaplan.plans.plan import Plan


@uncollected()
def regret(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="Plan file written by `allocate` or `prune`.")],
    scores: Annotated[
        Path | None, typer.Option(help="Other scores of the same blocks, for the exact regret on them.")
    ] = None,
    drift: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Instead: largest relative change of every gain, such as 10%, for a bound."),
    ] = None,
    confidence: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Instead: confidence of the intervals of the plan's scores (95%)."),
    ] = None,
    tolerance: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Exit 1 if the regret exceeds this share of the best objective."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")] = False,
) -> None:
    """Compute the regret of a plan against the best plan for other scores, and the contribution of every layer."""
    from zetaplan.documents.verify import load_plan

    accepted = _share("tolerance", tolerance)
    if accepted is not None and not 0.0 <= accepted < math.inf:
        raise SpecError(f"tolerance = {tolerance}: expected a share of the best objective, at least 0, such as 1%")
    cost = _cost(load_plan(plan), scores, _share("drift", drift), _share("confidence", confidence))
    if as_json:
        typer.echo(json.dumps({"plan": str(plan), **_facts(cost)}, indent=2))
    elif not quiet:
        from rich.console import Console

        typer.echo(str(cost))
        Console().print(_table(cost))
    if accepted is not None and not cost.share <= accepted:
        raise CertificateError(f"{plan}: {cost}; the tolerance is {percent(accepted)} of it")


def _share(argument: str, text: str | None) -> float | None:
    return None if text is None else read(argument, text, share)


def _cost(plan: Plan, scores: Path | None, drift: float | None, confidence: float | None) -> Cost:
    from zetaplan.documents.convert import load_scores
    from zetaplan.drift.cost import cost_on, cost_over

    if sum(option is not None for option in (scores, drift, confidence)) > 1:
        raise SpecError("scores, drift and confidence: give one of the three, not more")
    if scores is None:
        return cost_over(plan.solution, plan.names, _intervals(plan, drift, confidence))
    other = load_scores(scores)
    if other.names != plan.names:
        raise SpecError(f"scores: expected the {counted(len(plan.names), 'block')} of the plan in their order")
    gain = other.counted(plan.request.gain)
    return cost_on(plan.solution, plan.names, gain, f"the scores in {scores} are right")


def _intervals(plan: Plan, drift: float | None, confidence: float | None) -> Intervals:
    """Intervals of the gains by the given drift, by sampling, or by the surrogate's enclosure."""
    from zetaplan.drift.intervals import CONFIDENCE, enclosure_intervals, expected_intervals, measured_intervals

    scores, gain = plan.scores, plan.request.gain
    if drift is not None:
        return expected_intervals(scores, gain, drift)
    found = measured_intervals(scores, gain, CONFIDENCE if confidence is None else confidence)
    if found is None and confidence is None:
        found = enclosure_intervals(scores, gain)
    if found is None:
        raise SpecError(
            f"{scores.curvature} scores have no standard error, so no gain has an interval; give --scores or --drift"
        )
    return found


def _facts(cost: Cost) -> dict[str, object]:
    return {
        "if": cost.meaning,
        "strength": "exact" if cost.exact else "upper bound",
        "regret": cost.share if math.isfinite(cost.share) else None,
        "unit": "share of the best objective",
        "layers": dict(zip(cost.names, cost.layers.tolist(), strict=True)),
    }


def _table(cost: Cost) -> Table:
    """Contribution of every layer, the largest first."""
    from rich.text import Text

    from zetaplan.reports.tables import layer_table, short_names

    table = layer_table("layer", "of the best objective", "of the regret", names=cost.names)
    columns = (cost.layers.tolist(), cost.shares.tolist(), short_names(cost.names))
    for lost, part, name in sorted(zip(*columns, strict=True), key=lambda row: -row[0]):
        table.add_row(Text(name), percent(lost), percent(part))
    return table
