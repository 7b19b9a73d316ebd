"""`zetaplan verify`: everything in a plan derived anew from its own data."""

from __future__ import annotations

from dataclasses import asdict

from zetaplan.cli.options import Json, PlanPath, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.errors import CertificateError


def verify(plan: PlanPath, as_json: Json = False, quiet: Quiet = False) -> None:
    """Derive everything in a plan anew from its own data; exit 1 and name what fails if a number was changed."""
    from zetaplan.documents.io import load
    from zetaplan.documents.schemas.plan import PlanFile
    from zetaplan.documents.verify import check
    from zetaplan.reports.tables import verdict_table

    verdict = check(load(plan, PlanFile))
    facts = {"plan": str(plan), "valid": verdict.valid, "checks": [asdict(found) for found in verdict.checks]}
    show(facts, verdict_table(verdict), as_json, quiet)
    if not verdict.valid:
        raise CertificateError(f"{plan} is refused: {', '.join(failure.name for failure in verdict.failures)}")
    tell(f"{plan} holds: proved optimal for its program, in fractions too; nothing was changed", quiet or as_json)
