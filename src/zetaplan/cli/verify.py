"""Command `zetaplan verify`: recomputes everything in a plan from its own data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from zetaplan._digits import at_most
from zetaplan.cli.options import Json, PlanPath, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.errors import CertificateError

if TYPE_CHECKING:
    from zetaplan.documents.schemas.choice import ChoiceFile
    from zetaplan.documents.schemas.plan import PlanFile
    from zetaplan.documents.verify import Verdict


def verify(plan: PlanPath, as_json: Json = False, quiet: Quiet = False) -> None:
    """Recompute everything in a plan from its own data; exit 1 with the checks that fail if a number was changed."""
    from zetaplan.reports.tables import verdict_table

    verdict, proved = _checked(plan)
    facts = {"plan": str(plan), "valid": verdict.valid, "checks": [asdict(found) for found in verdict.checks]}
    refused = f"{plan} is refused: {', '.join(failure.name for failure in verdict.failures)}"
    tell(f"{plan} is valid: no number was changed; {proved}" if verdict.valid else refused, quiet or as_json)
    show(facts, verdict_table(verdict), as_json, quiet)
    if not verdict.valid:
        raise CertificateError(refused)


def _checked(path: Path) -> tuple[Verdict, str]:
    """The verdict on a file of any kind of plan, and what a valid one proves."""
    from zetaplan.documents.choices import check_choice
    from zetaplan.documents.io import load, schema_of
    from zetaplan.documents.schemas.choice import ChoiceFile
    from zetaplan.documents.schemas.plan import PlanFile
    from zetaplan.documents.verify import check

    if schema_of(path) == "zetaplan.plan/2":
        choice = load(path, ChoiceFile)
        return check_choice(choice), _choice(choice)
    document = load(path, PlanFile)
    return check(document), _plan(document)


def _plan(document: PlanFile) -> str:
    whole = document.rounded
    units = (
        "no plan in whole units is better"
        if whole.optimal
        else f"the whole units are within {at_most(whole.gap)} of the optimum"
    )
    how = "also in fractions" if document.proof.schema_ == "zetaplan.certificate/1" else "by an enclosure"
    return f"the plan is proved optimal for its program, {how}; {units}"


def _choice(document: ChoiceFile) -> str:
    if document.status == "optimal":
        return "the choice is proved optimal, in fractions"
    return f"the choice is proved to be within {at_most(document.gap)} of the best possible, in fractions"
