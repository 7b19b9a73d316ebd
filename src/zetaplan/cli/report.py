"""Command `zetaplan report`: explains a plan in an HTML file and a Markdown file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zetaplan._outputs import claim, report_files
from zetaplan._uncollected import uncollected
from zetaplan.cli.options import Force, Json, PlanPath, Quiet
from zetaplan.cli.output import show, tell


@uncollected()
def report(
    plan: PlanPath,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="HTML file; the Markdown file is written to the same folder.")
    ] = Path("report.html"),
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Explain a plan in one self-contained HTML file and one Markdown file, if the plan passes `verify`."""
    from zetaplan.jobs import reporting

    claim(report_files(out), [plan], force=force)
    html, markdown = reporting.report(plan, out)
    show({"html": str(html), "markdown": str(markdown)}, None, as_json, quiet)
    tell(f"written: {html}, {markdown}", quiet or as_json)
