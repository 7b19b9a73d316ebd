"""The report of a plan file of any kind."""

from __future__ import annotations

from pathlib import Path

from zetaplan.documents.plan_files import any_plan
from zetaplan.menus.plan import ChoicePlan


def report(plan: Path, out: Path) -> tuple[Path, Path]:
    """Write the HTML and the Markdown file that explain a plan, if it passes `verify`."""
    read = any_plan(plan)
    if isinstance(read, ChoicePlan):
        from zetaplan.reports.choices import write_choice_report

        return write_choice_report(read, out, file=plan.name)
    from zetaplan.reports.report import write_report

    return write_report(read, out, file=plan.name)
