"""Command `zetaplan verify`: recomputes everything in a plan from its own data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zetaplan._digits import at_most
from zetaplan._uncollected import uncollected
from zetaplan.cli.options import Json, PlanPath, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.errors import CertificateError, SpecError

if TYPE_CHECKING:
    from zetaplan.documents.schemas.choice import ChoiceFile
    from zetaplan.documents.schemas.plan import PlanFile
    from zetaplan.documents.verdict import Verdict

Formal = Annotated[
    bool, typer.Option("--formal", help="Also run the checker that Coq has proved correct; `make checker` builds it.")
]


@uncollected()
def verify(plan: PlanPath, formal: Formal = False, as_json: Json = False, quiet: Quiet = False) -> None:
    """Recompute everything in a plan from its own data; exit 1 with the checks that fail if a number was changed."""
    from zetaplan.documents.plan_files import checked
    from zetaplan.reports.tables import verdict_table

    document, verdict = checked(plan)
    verdict = _formally(plan, verdict) if formal else verdict
    facts = {"plan": str(plan), "valid": verdict.valid, "checks": [asdict(found) for found in verdict.checks]}
    refused = f"{plan} is refused: {', '.join(failure.name for failure in verdict.failures)}"
    tell(f"{plan} is valid: no number was changed; {_proved(document)}" if verdict.valid else refused, quiet or as_json)
    show(facts, verdict_table(verdict), as_json, quiet)
    if not verdict.valid:
        raise CertificateError(refused)


def _formally(path: Path, verdict: Verdict) -> Verdict:
    """The verdict with that of the proved checker; SpecError if that is not built, or reads no proof in the file."""
    from zetaplan.documents.verdict import Check, Verdict
    from zetaplan.verification.formal.proved import check_proved

    answer = check_proved(path)
    if answer.status == 2:
        raise SpecError(f"{path}: the proved checker reads proofs in fractions alone, and found {answer.line}")
    return Verdict((*verdict.checks, Check("proved checker", answer.status == 0, answer.line)))


def _proved(document: PlanFile | ChoiceFile) -> str:
    """What a valid file proves."""
    return _plan(document) if document.schema_ == "zetaplan.plan/1" else _choice(document)


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
