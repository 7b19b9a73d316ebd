"""`zetaplan schema`: the JSON Schema of every kind of file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zetaplan.cli.options import Json, Quiet
from zetaplan.cli.output import show, tell


def schema(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder.")] = Path("schemas"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the JSON Schema of every kind of file: configuration, scores, menu, plans, certificates."""
    from zetaplan._files import canonical, write
    from zetaplan.jobs.config import schemas

    files = [write(out / f"{name}.json", canonical(value)) for name, value in schemas().items()]
    show([str(file) for file in files], None, as_json, quiet)
    tell(f"written: {', '.join(map(str, files))}", quiet or as_json)
