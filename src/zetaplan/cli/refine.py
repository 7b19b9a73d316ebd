"""Command `zetaplan refine`: improves a plan by moves of single blocks, each round proved and tested."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zetaplan._outputs import Output, claim, of_choice
from zetaplan._plural import counted
from zetaplan.cli.options import Force, Json, Model, PlanOut, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.jobs.options import RefineOptions


def refine(
    model: Model,
    options: RefineOptions,
    plan: Annotated[
        Path | None, typer.Argument(metavar="[PLAN]", help="Plan to begin with; if not given, the best of several.")
    ] = None,
    out: PlanOut = Path("refined.json"),
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Improve a plan by moves of single blocks, predicted or measured, chosen with proof and tested on other text."""
    from zetaplan.documents.choices import choice_document, save_choice
    from zetaplan.jobs import pipelines
    from zetaplan.menus.refined import refined_facts, sentence
    from zetaplan.reports.tables import choice_table

    inputs = [model, plan, *options.data, *options.held_out]
    claim([Output(out, of_choice)], inputs, force=force)
    found = pipelines.refine(model, plan, options, progress=not (quiet or as_json))
    if found is None:
        return
    save_choice(found, out)
    tell(sentence(found), quiet or as_json)
    show(choice_document(found).text(), choice_table(found), as_json, quiet)
    facts = refined_facts(found.menu.provenance)
    if facts is None:
        return
    accepted = sum(bool(done.accepted) for done in facts.rounds)
    lines = [
        f"{counted(len(facts.rounds), 'round')}, {accepted} accepted, {counted(facts.evaluations, 'evaluation')}, "
        f"{facts.seconds / 60:.1f} minutes; stopped: {facts.stopped}",
        f"written to {out}",
    ]
    tell("\n".join(lines), quiet or as_json)
