"""`zetaplan export`: a plan as the settings of the tool that applies it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zetaplan._outputs import Output, Own, claim, of_schema, require_apart, same
from zetaplan.cli.options import Force, Json, PlanPath, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.jobs.options import ExportOptions


def export(
    plan: PlanPath,
    options: ExportOptions,
    model: Annotated[
        str | None, typer.Option(help="As in `score`; its config is enough. Only json and csv can do without.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a plan as the settings of a tool; every entry is checked against the modules of the model first."""
    from zetaplan.documents.verify import load_plan
    from zetaplan.exports import export as exported
    from zetaplan.exports import format_of

    out = Path(options.out or format_of(options.to).FILE)
    require_apart([out], [plan, model])
    settings = exported(load_plan(plan), to=options.to, model=model)
    claim([Output(out, _own(options.to, settings.data))], [plan, model], force=force)
    file = settings.save(out)
    show({"to": options.to, "file": str(file), "usage": settings.usage}, None, as_json, quiet)
    checked = "every entry matches exactly its modules" if model else "not checked against a model: give --model"
    tell(f"written: {file} ({checked})\n{settings.usage}", quiet or as_json)


def _own(form: str, data: bytes) -> Own:
    """Our own JSON says what it is; what other tools read cannot, and may be replaced by itself only."""
    return of_schema("export") if form == "json" else same(data)
