"""Read a plan and believe nothing in it: every number is recomputed from the file's own data.

The checks follow the chain scores -> (request) -> instance -> (conditions of optimality) -> solution -> whole units,
then the proof in fractions, and two digests of the bytes. The verdict names every check that fails.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import numpy as np

from zetaplan._digits import at_most
from zetaplan._uncollected import uncollected
from zetaplan.documents.certificate import check_certificate
from zetaplan.documents.convert import certificate_data, plan_value, regret_data, rounded_data
from zetaplan.documents.io import read
from zetaplan.documents.schemas.plan import CertificateData, PlanFile, RegretData, RoundedData
from zetaplan.documents.verdict import Check, Verdict
from zetaplan.documents.whole import whole_optimum
from zetaplan.drift.cost import Cost, stated_costs
from zetaplan.errors import CertificateError, ZetaplanError
from zetaplan.plans.notes import warnings
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import instance_of
from zetaplan.plans.proof import EnclosureProof, prove
from zetaplan.spec.instance import Instance
from zetaplan.verification.certificate import TOLERANCE

#: Share of a bound that layers may divide otherwise on another machine, where several are worst alike.
DIVIDED = 1e-3

#: The fields of a plan that its proof is about.
PROVED = {"schema_", "instance", "solution", "proof"}

#: Relative tolerance for sums of the same doubles in another order on another machine, above K units in the last place.
ROUNDING = 1e-12


def load_plan(path: str | os.PathLike[str]) -> Plan:
    """The plan in a `zetaplan.plan/1` file, with a newly computed certificate.

    Raises SpecError for any other file, and CertificateError, with the checks that fail, if the plan is not valid.

    Examples:
        >>> ranks = zp.allocate(scores, mean_rank=4)
        >>> _ = ranks.save("plan.json")
        >>> bool((zp.load_plan("plan.json").solution.x == ranks.solution.x).all())
        True
    """
    document, text = read(path, PlanFile)
    verdict = check(document, text)
    if not verdict.valid:
        failing = ", ".join(failure.name for failure in verdict.failures)
        raise CertificateError(f"{path} is refused: {failing}; make the plan again, or run `zetaplan verify`")
    return plan_value(document)


@uncollected()
def check(document: PlanFile, text: str | None = None) -> Verdict:
    """Run every check from the scores to the certificate. text : of the file of the document."""
    own, scores = document.intact(text)
    checks = [
        Check("digest", own, "the sha256 of the document equals the stored sha256"),
        Check("scores digest", scores, "the sha256 of the scores equals the one stored with the plan"),
    ]
    try:
        checks += _meaning(document, plan_value(document))
    except ZetaplanError as error:
        checks.append(Check("instance", False, str(error)))
    return Verdict(tuple(checks))


def _meaning(document: PlanFile, plan: Plan) -> Iterator[Check]:
    yield _instance(plan)
    for condition in plan.certificate.conditions:
        detail = f"{condition.meaning} (residual {condition.residual:.1e}, tolerance {condition.tolerance:.0e})"
        yield Check(condition.name, condition.ok, detail)
    yield _objective(document, plan)
    yield _certificate(document.certificate, certificate_data(plan.certificate), plan)
    yield _proof(document, plan)
    yield _whole_units(plan)
    yield _whole_limit(plan)
    yield _whole_gap(document.rounded, rounded_data(plan))
    yield Check("whole optimum", *whole_optimum(plan.rounded))
    yield _regret(document.regret, regret_data(_costs(plan)))
    yield _labels(document, plan)


def _instance(plan: Plan) -> Check:
    stored = plan.instance
    derived = instance_of(
        plan.kind,
        plan.scores,
        plan.request,
        stored.resource,
        lower=stored.lower,
        upper=stored.upper,
        **stored.parameters,
    )
    different = next(_differences(stored, derived), None)
    detail = f"{different} does not follow from the scores and the request" if different else ""
    return Check("instance", different is None, detail or "quality, resource and limit follow from scores and request")


def _differences(stored: Instance, derived: Instance) -> Iterator[str]:
    if stored.program is not derived.program:
        yield "program"
        return
    for field in ("quality", "resource", "limit"):
        if not np.allclose(getattr(stored, field), getattr(derived, field), rtol=ROUNDING, atol=0.0):
            yield field


def _objective(document: PlanFile, plan: Plan) -> Check:
    stored, derived = document.solution.objective, plan.solution.objective
    same = math.isclose(stored, derived, rel_tol=TOLERANCE)
    return Check("objective", same, f"stored {stored:g}, derived {derived:g}")


def _certificate(stored: CertificateData, derived: CertificateData, plan: Plan) -> Check:
    conditions = zip(stored.conditions, derived.conditions, strict=False)
    same = (
        stored.valid == derived.valid
        and abs(stored.gap - derived.gap) <= TOLERANCE * abs(plan.solution.objective)
        and len(stored.conditions) == len(derived.conditions)
        and all(
            (a.name, a.tolerance, a.ok) == (b.name, b.tolerance, b.ok)  # wording may be an older version's
            and abs(a.residual - b.residual) <= b.tolerance
            for a, b in conditions
        )
    )
    return Check("certificate", same, "the stored certificate equals the recomputed certificate")


def _proof(document: PlanFile, plan: Plan) -> Check:
    if isinstance(document.proof, EnclosureProof):
        return _enclosure(plan, document.proof)
    try:
        verdict = check_certificate(document.model_dump(mode="json", include=PROVED))
    except CertificateError as error:
        return Check("proof", False, str(error))
    return Check("proof", True, f"in fractions: {'; '.join(verdict.claims)}")


def _enclosure(plan: Plan, stored: EnclosureProof) -> Check:
    found, failures = prove(plan.instance, plan.solution)
    if found is None:
        return Check("proof", False, f"the recomputed enclosure of the optimum fails {failures[0].name}")
    detail = f"enclosed by Arb: each layer is within {at_most(stored.distance)} max(1, x) of the optimum"
    return Check("proof", found == stored, detail)


def _costs(plan: Plan) -> tuple[Cost, ...]:
    return stated_costs(plan.solution, plan.scores, plan.request.gain, plan.request.drift)


def _whole_units(plan: Plan) -> Check:
    return Check("whole units", *plan.kind.whole.verified(plan.rounded))


def _whole_limit(plan: Plan) -> Check:
    kept = "do not exceed the budget" if plan.instance.program.sense == "<=" else "meet the target"
    detail = f"{plan.rounded.used:,.17g} {plan.resource_unit} {kept} of {plan.instance.limit:,.17g}, exactly"
    return Check("whole limit", plan.rounded.keeps_limit, detail)


def _whole_gap(stored: RoundedData, derived: RoundedData) -> Check:
    allowed = TOLERANCE * max(abs(derived.objective), abs(derived.bound))
    figures = ("objective", "bound", "gap")
    same = (stored.layers, stored.total) == (derived.layers, derived.total) and all(
        abs(getattr(stored, figure) - getattr(derived, figure)) <= allowed for figure in figures
    )
    detail = (
        f"the objective in whole units, {derived.objective:.6g}, is within {at_most(derived.gap)} of the best possible"
    )
    return Check("whole gap", same, detail)


def _regret(stored: tuple[RegretData, ...], derived: tuple[RegretData, ...]) -> Check:
    """Compare the stored bounds with recomputed ones. The search for the best bound is the same on every machine."""
    same = len(stored) == len(derived) and all(
        (a.source, a.amount, a.assumption) == (b.source, b.amount, b.assumption)
        and (a.share is None, len(a.layers)) == (b.share is None, len(b.layers))
        and math.isclose(a.share or 0.0, b.share or 0.0, rel_tol=TOLERANCE, abs_tol=ROUNDING)
        and np.allclose(a.layers, b.layers, rtol=0.0, atol=DIVIDED * (b.share or 0.0) + TOLERANCE)
        for a, b in zip(stored, derived, strict=False)
    )
    return Check("regret", same, "the stored bounds on the regret equal the recomputed bounds")


def _labels(document: PlanFile, plan: Plan) -> Check:
    labels = ("names", "unit", "resource_unit")
    same = all(getattr(document, label) == getattr(plan, label) for label in labels)
    same &= document.warnings == warnings(plan)
    same &= tuple(document.rounded.layers) == plan.names and document.rounded.unit == plan.whole_unit
    return Check("labels", same, "names, units and warnings follow from the scores")
