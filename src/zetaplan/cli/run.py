"""`zetaplan run`: the whole job from one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def run(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file; see the folder `examples`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON to standard output, and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Score, plan, verify, report and export as the file says; a step whose inputs did not change is not run again."""
    from zetaplan.jobs.run import run as done

    steps = done(config, progress=not (quiet or as_json))
    if as_json:
        facts = [{"step": step.name, "ran": step.ran, "files": [str(file) for file in step.files]} for step in steps]
        typer.echo(json.dumps(facts, indent=2))
    elif not quiet:
        for step in steps:
            typer.echo(f"{step.name}: {'done' if step.ran else 'unchanged'}, {', '.join(map(str, step.files))}")


def schema(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder.")] = Path("schemas"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON to standard output, and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Write the JSON Schema of every kind of file: configuration, scores, plan, certificate."""
    from zetaplan.documents.schemas import canonical, write
    from zetaplan.jobs.config import schemas

    files = [write(out / f"{name}.json", canonical(value)) for name, value in schemas().items()]
    if as_json:
        typer.echo(json.dumps([str(file) for file in files], indent=2))
    elif not quiet:
        typer.echo(f"written: {', '.join(map(str, files))}")
