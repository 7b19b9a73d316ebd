"""Warnings and notes about scores and plans, one sentence each."""

from __future__ import annotations

import math

from zetaplan.plans.exponent import exponent_warning
from zetaplan.plans.plan import Plan
from zetaplan.scoring.scores import Scores

#: Smallest reliability of a ranking of layers without a warning, a threshold from psychometrics (Nunnally 1978).
RELIABLE = 0.9

#: Largest share of the noise floor in the total gain without a warning.
NOISY = 0.5


def warnings(plan: Plan) -> tuple[str, ...]:
    """The warnings about a plan; empty if there are none."""
    found = (
        exponent_warning(plan),
        noise_warning(plan.scores),
        ranking_warning(plan.scores),
        box_warning(plan),
        step_warning(plan),
    )
    return tuple(warning for warning in found if warning)


def noise_warning(scores: Scores) -> str | None:
    """The warning if the noise floor is most of the total gain; None if it is not, or if it was not measured."""
    share = scores.noise_share
    if share is None or share <= NOISY:
        return None
    return (
        f"{share:.0%} of the total gain is noise floor: more sequences, or more damping, would make the "
        "differences between layers mean more"
    )


def ranking_warning(scores: Scores) -> str | None:
    """The warning if the two halves of the text rank the layers differently; None if they agree."""
    reached = scores.reliability
    if reached is None or reached >= RELIABLE:
        return None
    needed = scores.sequences_for(RELIABLE)
    remedy = (
        "the two halves of the text do not agree at all, so more text of the same kind may not settle it"
        if needed is None
        else f"about {needed} sequences like these would support it to {RELIABLE:g}"
    )
    return f"The data do not support the ranking of the layers (reliability {reached:.2f}): {remedy}"


def box_warning(plan: Plan) -> str | None:
    """The warning if floors or caps alone determine the plan, so that its resource differs from the limit."""
    instance, x = plan.instance, plan.solution.x
    spare = instance.limit - math.fsum(instance.resource * x)
    if instance.program.sense == "<=" and spare > 0 and (x >= instance.upper).all():
        return f"every layer is at its cap: {spare:,.10g} {plan.resource_unit} of the budget are left over"
    if instance.program.sense == ">=" and spare < 0 and (x <= instance.lower).all():
        return f"every layer is at its floor: {-spare:,.10g} {plan.resource_unit} more go than the target asks"
    return None


def step_warning(plan: Plan) -> str | None:
    """The warning if every layer is rounded to 0 although the budget is positive."""
    rounded = plan.rounded
    if rounded.whole.shares or rounded.units.any() or not plan.solution.x.any():
        return None
    return f"every layer gets 0: the budget does not pay for a step of {rounded.step} anywhere; take a smaller step"


def prediction_note(scores: Scores) -> str | None:
    """The agreement of predicted and measured decreases of the loss; None where no steps were taken."""
    if scores.decrease is None or scores.held_out_decrease is None:
        return None
    here, elsewhere = (scores.rank_correlation(fall) for fall in (scores.decrease, scores.held_out_decrease))
    kept = int((scores.decrease > 0).sum())
    return (
        f"the step of zeta^2 lowered the loss in {kept} of {len(scores.names)} blocks; rank correlation of zeta^2/2 "
        f"with the measured decrease of the loss: {here:.2f} on the scored text, {elsewhere:.2f} on held-out text"
    )
