"""Command `zetaplan export`: writes a plan as a settings file of another tool."""

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
        str | None,
        typer.Option(help="Model as in `score`, of which only the config is read; optional for json and csv."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a plan as a settings file of another tool, after checking every entry against the modules of the model."""
    from zetaplan.documents.plan_files import any_plan
    from zetaplan.exports import export as exported
    from zetaplan.exports import format_of

    out = Path(options.out or format_of(options.to).FILE)
    require_apart([out], [plan, model])
    settings = exported(any_plan(plan), to=options.to, model=model, **options.lora)
    claim([Output(out, _own(options.to, settings.data))], [plan, model], force=force)
    file = settings.save(out)
    show({"to": options.to, "file": str(file), "usage": settings.usage}, None, as_json, quiet)
    checked = "every entry matches exactly its modules" if model else "not checked against a model"
    tell(f"written: {file} ({checked})\n{settings.usage}", quiet or as_json)


def _own(form: str, data: bytes) -> Own:
    """Ownership of an existing export: by schema for JSON, by equal bytes for formats of other tools."""
    return of_schema("export") if form == "json" else same(data)
