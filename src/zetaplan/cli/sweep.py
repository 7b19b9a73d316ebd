"""Command `zetaplan sweep`: computes the best plan for every budget from a file of scores."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from zetaplan._outputs import Output, begins, claim, made_by, of_schema
from zetaplan._quantities import count, read, share
from zetaplan._uncollected import uncollected
from zetaplan.cli.options import Force, Json, Quiet, ScoresPath
from zetaplan.cli.output import show, tell

OWN = {".csv": begins(b"limit,uniform,objective,objective_uniform,multiplier,"), ".json": of_schema("sweep")}


@uncollected()
def sweep(
    scores: ScoresPath,
    low: Annotated[str, typer.Option("--from", metavar="AMOUNT", help="First limit, a uniform rank or share removed.")],
    high: Annotated[str, typer.Option("--to", metavar="AMOUNT", help="Last limit, a uniform rank or share removed.")],
    at: Annotated[
        str | None, typer.Option("--at", metavar="AMOUNT", help="Limit of the plan to mark; the middle if not given.")
    ] = None,
    kind: Annotated[str, typer.Option("--kind", "--program", help="Kind of plan; see `zetaplan list kinds`.")] = "rank",
    points: Annotated[int, typer.Option(help="Number of plans.")] = 60,
    lower: Annotated[str, typer.Option(metavar="AMOUNT", help="Smallest amount of every layer.")] = "0",
    upper: Annotated[str | None, typer.Option(metavar="AMOUNT", help="Largest amount of every layer.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Output file, of type .html, .svg, .csv or .json.")] = Path(
        "sweep.html"
    ),
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compute the best objective for a range of budgets, as a chart or a table, without the model."""
    from zetaplan.documents.convert import load_scores
    from zetaplan.plans.kinds import kind_for, kind_names, kind_of
    from zetaplan.plans.planner import plan
    from zetaplan.reports.tradeoff import tradeoff

    claim([Output(out, OWN.get(out.suffix, made_by("zetaplan sweep")))], [scores], force=force)
    chosen = kind_of(kind) if kind in kind_names() else kind_for(kind)
    amount = partial(read, kind=share if chosen.whole.shares else count)
    first, last = amount("from", low), amount("to", high)
    marked = (first + last) / 2 if at is None else amount("at", at)
    options: dict[str, Any] = {chosen.options.default.kind: marked, "lower": amount("lower", lower)}
    options["upper"] = None if upper is None else amount("upper", upper)
    found = tradeoff(plan(load_scores(scores), kind=chosen.name, **options), first, last, points)
    file = found.save(out)
    limits = found.limits.tolist()
    show({"file": str(file), "limits": limits, "objectives": found.objectives.tolist()}, None, as_json, quiet)
    tell(f"{points} plans from {limits[0]:,.10g} to {limits[-1]:,.10g} parameters written to {file}", quiet or as_json)
