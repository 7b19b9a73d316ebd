"""`zetaplan sweep`: the best plan for every budget, from scores that there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer


def sweep(
    scores: Annotated[Path, typer.Argument(metavar="SCORES", help="A file written by `zetaplan score`.")],
    low: Annotated[float, typer.Option("--from", help="First uniform rank, or share removed.")],
    high: Annotated[float, typer.Option("--to", help="Last uniform rank, or share removed.")],
    program: Annotated[Literal["allocation", "pruning"], typer.Option(help="What is planned.")] = "allocation",
    points: Annotated[int, typer.Option(help="How many plans.")] = 60,
    lower: Annotated[float, typer.Option(help="The least that every layer gets.")] = 0.0,
    upper: Annotated[float | None, typer.Option(help="The most that a layer gets.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="By its suffix: .html, .svg, .csv, .json.")] = Path(
        "sweep.html"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON to standard output, and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Draw and table the best objective for every budget; no model is needed."""
    from zetaplan.documents.convert import load_scores
    from zetaplan.plans.planner import plan
    from zetaplan.reports.tradeoff import tradeoff

    middle = {"mean_rank" if program == "allocation" else "sparsity": (low + high) / 2, "lower": lower}
    bounds = middle if upper is None else {**middle, "upper": upper}
    found = tradeoff(plan(load_scores(scores), program=program, **bounds), low, high, points)
    file = found.save(out)
    limits = found.limits.tolist()
    if as_json:
        facts = {"file": str(file), "limits": limits, "objectives": found.objectives.tolist()}
        typer.echo(json.dumps(facts, indent=2))
    elif not quiet:
        typer.echo(f"{points} plans from {limits[0]:,.10g} to {limits[-1]:,.10g} parameters written to {file}")
