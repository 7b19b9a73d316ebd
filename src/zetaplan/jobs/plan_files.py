"""What needs a plan file alone, of any kind: its verdict and its report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zetaplan.errors import CertificateError

if TYPE_CHECKING:
    from zetaplan.documents.verdict import Verdict


def verify(path: Path) -> Verdict:
    """The verdict on a plan of any kind. Raises CertificateError, with the checks that fail, if it is negative."""
    verdict = _verdict(path)
    if not verdict.valid:
        raise CertificateError(f"{path} is refused: {', '.join(failure.name for failure in verdict.failures)}")
    return verdict


def _verdict(path: Path) -> Verdict:
    from zetaplan.documents.io import load, schema_of

    if schema_of(path) == "zetaplan.plan/2":
        from zetaplan.documents.choices import check_choice
        from zetaplan.documents.schemas.choice import ChoiceFile

        return check_choice(load(path, ChoiceFile))
    from zetaplan.documents.schemas.plan import PlanFile
    from zetaplan.documents.verify import check

    return check(load(path, PlanFile))


def report(plan: Path, out: Path) -> tuple[Path, Path]:
    """The HTML and the Markdown file that explain a plan of any kind, if it passes `verify`."""
    from zetaplan.documents.io import schema_of

    if schema_of(plan) == "zetaplan.plan/2":
        from zetaplan.documents.choices import load_choice
        from zetaplan.reports.choices import write_choice_report

        return write_choice_report(load_choice(plan), out, file=plan.name)
    from zetaplan.documents.verify import load_plan
    from zetaplan.reports.report import write_report

    return write_report(load_plan(plan), out, file=plan.name)
