"""The sentences of a report: what was asked for, what was planned, what is proved, and how far to believe it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from zetaplan._digits import at_least, at_most
from zetaplan.documents.convert import plan_document
from zetaplan.drift.cost import drift_sentence
from zetaplan.plans.notes import prediction_note
from zetaplan.plans.plan import Plan
from zetaplan.plans.proof import EnclosureProof

CAVEATS = {
    "surrogate": (
        "The gain is measured with one surrogate ({curvature}), on {sequences} sequences, around the "
        "model as it is. Another surrogate can rank the layers differently."
    ),
    "damping": (
        "The damping decides the ranking (as it tends to zero, the block Fisher gain of every layer tends to 1): "
        "compare plans only at the same damping."
    ),
    "noise": (
        "{noise:.0%} of the total gain is what gradients of random sign would give (the noise floor). Differences "
        "between layers that are smaller than their standard errors mean nothing."
    ),
    "kind": "{caveat}",
    "certificate": (
        "The certificate covers the convex program, not the task: it proves that no other plan has a better objective "
        "for these gains, and says nothing about the accuracy after training or pruning. Measure that."
    ),
}


def amounts(plan: Plan) -> str:
    """What requested, relaxed, rounded and achieved mean."""
    return plan.kind.words.requested.format(step=plan.rounded.step)


def whole(plan: Plan) -> str:
    """What whole units use, and what they are proved to lose at most."""
    rounded = plan.rounded
    share = f" ({at_most(rounded.gap / abs(rounded.objective))} of it)" if rounded.objective else ""
    return (
        f"In whole units ({plan.whole_unit}, by {rounded.method}) the plan comes to {rounded.used:,.10g} of "
        f"{plan.instance.limit:,.10g} {plan.resource_unit}. Its objective, {rounded.objective:.6g}, is "
        f"within {at_most(rounded.gap)}{share} of the best possible: the multiplier proves that no plan, whole or not, "
        f"is below {at_least(rounded.bound, 6)}"
    )


def model(plan: Plan) -> str:
    return str(plan.scores.provenance.get("model", "the model"))


def displayed(plan: Plan) -> str:
    """The program as it is written in mathematics."""
    return repr(plan.instance.program)


def limit(plan: Plan) -> str:
    """What was asked for, in words."""
    limit, unit = plan.request.limit, plan.resource_unit
    amount = f"{plan.instance.limit:,.0f} {unit}"
    return plan.kind.limits[limit.kind].format(amount=amount, value=limit.value)


def spent(plan: Plan) -> str:
    use = math.fsum(plan.instance.resource * plan.solution.x)
    return f"{use:,.0f} {plan.resource_unit}"


def multiplier(plan: Plan) -> str:
    """The multiplier in words, with its sign and unit."""
    return plan.kind.words.multiplier.format(multiplier=plan.solution.multiplier)


def regret(plan: Plan) -> str | None:
    """What it can cost that the gains are not what was measured."""
    return drift_sentence(plan.regret)


def prediction(plan: Plan) -> str | None:
    return prediction_note(plan.scores)


def proof(plan: Plan) -> str:
    """What the certificate in fractions claims."""
    proof = plan.proof
    if isinstance(proof, EnclosureProof):
        return (
            "The file also carries an enclosure of the optimum by interval arithmetic: every layer "
            f"is within {at_most(proof.distance)} (relative where above 1) of the optimum, where that is unique"
        )
    claim = proof.claim
    return (
        "The file also carries a proof in fractions, of the doubles that it holds and without any tolerance: every "
        f"layer is within {at_most(claim.distance)} (relative where above 1) of the optimum, where that is unique, and "
        f"no allowed plan has an objective that is better by more than {at_most(claim.gap)}"
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
    """What the measured number is (Lemma 1 of the paper)."""
    if plan.scores.curvature == "gradient":
        return "The gain here is |g|², the squared norm of each layer's gradient: no curvature is used."
    return (
        "The curvature-adjusted gain ζ² = g′(H + τI)⁻¹g of each layer: twice the fall of the loss that the best "
        "step on this layer alone promises in the damped quadratic model."
    )


def measured(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Model, text, surrogate and damping: what a reader needs to measure again."""
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
    """Hashes, versions, precision, device, time."""
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
