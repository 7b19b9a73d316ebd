"""`zetaplan export`: a plan as the settings of the tool that applies it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def export(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A file written by `allocate` or `prune`.")],
    to: Annotated[
        str, typer.Option(help="peft, axolotl, mola; llm-compressor, alphapruning, torch-prune; json, csv.")
    ] = "json",
    model: Annotated[
        str | None, typer.Option(help="As in `score`; its config is enough. Only json and csv can do without.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file; the name that the tool expects if not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON to standard output, and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Write a plan as the settings of a tool; every entry is checked against the modules of the model first."""
    from zetaplan.documents.verify import load_plan
    from zetaplan.exports import export as exported

    settings = exported(load_plan(plan), to=to, model=model)
    file = settings.save(out or Path(settings.file))
    if as_json:
        typer.echo(json.dumps({"to": to, "file": str(file), "usage": settings.usage}, indent=2))
    elif not quiet:
        checked = "every entry hits what it means" if model else "not held against a model: give --model for that"
        typer.echo(f"written: {file} ({checked})\n{settings.usage}")
