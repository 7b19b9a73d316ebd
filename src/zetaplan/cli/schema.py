"""Command `zetaplan schema`: writes the JSON Schema of every file format."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from zetaplan._outputs import Output, Own, claim
from zetaplan.cli.options import Force, Json, Quiet
from zetaplan.cli.output import show, tell


def schema(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the schemas.")] = Path("schemas"),
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the JSON Schema of every file format: configuration, scores, menu, plans, certificates."""
    from zetaplan._files import canonical, write
    from zetaplan.jobs.config import schemas

    texts = {out / f"{name}.json": canonical(value) for name, value in schemas().items()}
    claim([Output(file, _own(file.stem)) for file in texts], [], force=force)
    files = [write(file, text) for file, text in texts.items()]
    show([str(file) for file in files], None, as_json, quiet)
    tell(f"written: {', '.join(map(str, files))}", quiet or as_json)


def _own(name: str) -> Own:
    """JSON Schemas of the named format, known by the required value of `schema`, such as `zetaplan.plan/1`."""
    expected = f"zetaplan.{name.partition('-')[0]}/"

    def own(path: Path) -> bool:
        with suppress(OSError, ValueError, TypeError, KeyError):
            return str(json.loads(path.read_bytes())["properties"]["schema"]["const"]).startswith(expected)
        return False

    return own
