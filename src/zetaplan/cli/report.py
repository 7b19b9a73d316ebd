"""Command `zetaplan report`: explains a plan in an HTML file and a Markdown file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zetaplan._outputs import claim, report_files
from zetaplan.cli.options import Force, Json, PlanPath, Quiet
from zetaplan.cli.output import show, tell


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
    claim(report_files(out), [plan], force=force)
    html, markdown = _written(plan, out)
    show({"html": str(html), "markdown": str(markdown)}, None, as_json, quiet)
    tell(f"written: {html}, {markdown}", quiet or as_json)


def _written(plan: Path, out: Path) -> tuple[Path, Path]:
    from zetaplan.documents.io import schema_of

    if schema_of(plan) == "zetaplan.plan/2":
        from zetaplan.documents.choices import load_choice
        from zetaplan.reports.choices import write_choice_report

        return write_choice_report(load_choice(plan), out, file=plan.name)
    from zetaplan.documents.verify import load_plan
    from zetaplan.reports.report import write_report

    return write_report(load_plan(plan), out, file=plan.name)
