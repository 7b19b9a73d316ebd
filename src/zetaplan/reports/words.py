"""Sentences of a report: the request, the plan, the proof and their limitations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from zetaplan._digits import at_least, at_most, percent
from zetaplan.documents.convert import plan_document
from zetaplan.drift.cost import drift_sentence
from zetaplan.plans.notes import prediction_note
from zetaplan.plans.plan import Plan
from zetaplan.plans.proof import EnclosureProof

CAVEATS = {
    "surrogate": (
        "The gain is measured with one curvature surrogate ({curvature}), on {sequences} sequences, at the current "
        "weights of the model. Another surrogate can rank the layers differently."
    ),
    "damping": (
        "The ranking depends on the damping (as the damping tends to zero, the block Fisher gain of every layer tends "
        "to 1). Compare plans only at the same damping."
    ),
    "noise": (
        "{noise:.0%} of the total gain is noise floor, the gain that gradients of random sign would have. Differences "
        "between layers that are smaller than their standard errors are not significant."
    ),
    "kind": "{caveat}",
    "certificate": (
        "The certificate covers the convex program, not the task. It proves that no other plan has a better objective "
        "for these gains, and does not predict the accuracy after training or pruning. Measure the accuracy."
    ),
}


def amounts(plan: Plan) -> str:
    """The meaning of requested, relaxed, rounded and achieved."""
    return plan.kind.words.requested.format(step=plan.rounded.step)


def whole(plan: Plan) -> str:
    """The resource that the whole units use, and the proved bound on their distance from the best objective."""
    rounded = plan.rounded
    share = f" ({at_most(rounded.gap / abs(rounded.objective))} of it)" if rounded.objective else ""
    return (
        f"In whole units ({plan.whole_unit}, by {rounded.method}) the plan uses {rounded.used:,.10g} of "
        f"{plan.instance.limit:,.10g} {plan.resource_unit}. Its objective, {rounded.objective:.6g}, is "
        f"within {at_most(rounded.gap)}{share} of the best possible. The multiplier proves that no plan, whole or not, "
        f"has an objective below {at_least(rounded.bound, 6)}"
    )


def model(plan: Plan) -> str:
    return str(plan.scores.provenance.get("model", "the model"))


def displayed(plan: Plan) -> str:
    """The program in mathematical notation."""
    return repr(plan.instance.program)


def limit(plan: Plan) -> str:
    """The requested limit in words."""
    limit, unit = plan.request.limit, plan.resource_unit
    amount = f"{plan.instance.limit:,.0f} {unit}"
    return plan.kind.limits[limit.kind].format(amount=amount, value=limit.value, share=percent(limit.value))


def spent(plan: Plan) -> str:
    use = math.fsum(plan.instance.resource * plan.solution.x)
    return f"{use:,.0f} {plan.resource_unit}"


def multiplier(plan: Plan) -> str:
    """The multiplier in words, with its sign and unit."""
    return plan.kind.words.multiplier.format(multiplier=plan.solution.multiplier)


def regret(plan: Plan) -> str | None:
    """The bounds on the regret, if the gains differ from the measured gains."""
    return drift_sentence(plan.regret)


def prediction(plan: Plan) -> str | None:
    note = prediction_note(plan.scores)
    return note and note.replace("zeta^2", "ζ²")


def proof(plan: Plan) -> str:
    """The claims of the proof, in fractions or as an enclosure."""
    proof = plan.proof
    if isinstance(proof, EnclosureProof):
        return (
            "The file also contains an enclosure of the optimum by interval arithmetic. It proves that every layer is "
            f"within {at_most(proof.distance)} (relative for amounts above 1) of the optimum, if that is unique"
        )
    claim = proof.claim
    return (
        "The file also contains a proof in fractions for its exact doubles, without any tolerance. It proves that "
        f"every layer is within {at_most(claim.distance)} (relative for amounts above 1) of the optimum, if that is "
        f"unique, and that no allowed plan has an objective that is better by more than {at_most(claim.gap)}"
    )


def caveats(plan: Plan) -> tuple[str, ...]:
    scores = plan.scores
    facts = {
        "curvature": scores.curvature,
        "sequences": scores.provenance.get("sequences", "an unknown number of"),
        "noise": scores.noise_share or 0.0,
        "caveat": plan.kind.words.caveat,
    }
    besides = {
        "kind": plan.kind.words.caveat is None,
        "damping": not scores.damping.any(),
        "noise": scores.noise_floor is None,
    }
    return tuple(text.format(**facts) for name, text in CAVEATS.items() if not besides.get(name))


def gain_meaning(plan: Plan) -> str:
    """The definition of the measured gain (Lemma 1 of the paper)."""
    if plan.scores.curvature == "gradient":
        return "The gain is |g|², the squared norm of each layer's gradient; no curvature is used."
    return (
        "The gain is the curvature-adjusted gain ζ² = gᵀ(H + τI)⁻¹g of each layer. It is twice the decrease of the "
        "loss that the damped quadratic model predicts for the best step on this layer alone."
    )


def measured(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Model, text, surrogate and damping, for a repetition of the measurement."""
    scores, given = plan.scores, plan.scores.provenance
    share = float(scores.counted(plan.request.gain).sum() / scores.gain.sum())
    return (
        ("model", model(plan)),
        ("text", str(given.get("data", "unknown"))),
        ("loss", f"{scores.loss:.4f} nats per token"),
        ("blocks", f"{len(scores.names)} {scores.blocks}"),
        ("surrogate", scores.curvature),
        ("damping τ", _damping(scores.damping)),
        ("gain counted", f"{plan.request.gain} ({share:.0%} of what was measured)"),
        ("left out", _few(scores.left_out)),
    )


def provenance(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Digests, versions, precision, device and time."""
    document = plan_document(plan)
    facts = [
        ("plan sha256", document.sha256_),
        ("scores sha256", document.scores_sha256),
        ("created", plan.created),
        *_flat(plan.versions, "versions."),
        *_flat(plan.scores.provenance, "scores."),
    ]
    return tuple((name, str(value)) for name, value in facts)


def _few(names: tuple[str, ...], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more or "nothing"


def _damping(damping: Any) -> str:
    low, high = float(damping.min()), float(damping.max())
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
