"""Command `zetaplan verify`: recomputes everything in a plan from its own data."""

from __future__ import annotations

from dataclasses import asdict

from zetaplan._digits import at_most
from zetaplan.cli.options import Json, PlanPath, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.errors import CertificateError


def verify(plan: PlanPath, as_json: Json = False, quiet: Quiet = False) -> None:
    """Recompute everything in a plan from its own data; exit 1 with the checks that fail if a number was changed."""
    from zetaplan.documents.io import load
    from zetaplan.documents.schemas.plan import PlanFile
    from zetaplan.documents.verify import check
    from zetaplan.reports.tables import verdict_table

    document = load(plan, PlanFile)
    verdict = check(document)
    facts = {"plan": str(plan), "valid": verdict.valid, "checks": [asdict(found) for found in verdict.checks]}
    show(facts, verdict_table(verdict), as_json, quiet)
    if not verdict.valid:
        raise CertificateError(f"{plan} is refused: {', '.join(failure.name for failure in verdict.failures)}")
    whole = document.rounded
    units = (
        "no plan in whole units is better"
        if whole.optimal
        else f"the whole units are within {at_most(whole.gap)} of the optimum"
    )
    how = "also in fractions" if document.proof.schema_ == "zetaplan.certificate/1" else "by an enclosure"
    proved = f"no number was changed; the plan is proved optimal for its program, {how}"
    tell(f"{plan} is valid: {proved}; {units}", quiet or as_json)
