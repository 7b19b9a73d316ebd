"""The top of a report: whole units, sizes before and after, sources, commands, layers that can be told apart."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from zetaplan._digits import percent
from zetaplan.drift.intervals import Intervals, enclosure_intervals, measured_intervals
from zetaplan.plans.notes import RELIABLE
from zetaplan.reports.pages import HALF, HEX

if TYPE_CHECKING:
    from zetaplan.plans.plan import Plan
    from zetaplan.scoring.scores import Scores


def whole(plan: Plan, k: int) -> str:
    """The whole amount of a layer: units, or the share of its weights."""
    return percent(plan.rounded.solution.x[k]) if plan.kind.whole.shares else f"{plan.rounded.units[k]:,}"


def uniform(plan: Plan) -> str:
    """The amount of the uniform plan, which need not be whole."""
    return percent(plan.uniform) if plan.kind.whole.shares else f"{plan.uniform:.4g}"


def sizes(plan: Plan) -> str | None:
    """Parameters and bytes before and after; None if the caller's own costs are no parameters."""
    if plan.resource_unit != "parameters":
        return None
    if plan.kind.whole.shares:
        before, removed = int(plan.instance.resource.sum()), int(plan.rounded.units.sum())
        return (
            f"Weights of the planned linears: {before:,} before, {before - removed:,} other than zero after. Bytes: "
            f"{HALF * before:,} in 16 bits, before and after, because zeros are stored"
        )
    before, added = int(plan.scores.parameters.sum()), int(plan.rounded.used)
    return (
        f"Parameters: {before:,} in the scored blocks before, and {added:,} more ({percent(added / before)}) in the "
        f"adapters. Bytes in 16 bits: {HALF * before:,} before, and {HALF * added:,} more"
    )


def sources(plan: Plan) -> str:
    """Date, model and text, with the beginning of their sha256."""
    given = plan.scores.provenance
    named = ((word, str(given.get(word, "unknown")), given.get(f"{word}_sha256")) for word in ("model", "data"))
    parts = [f"{word} {name}" + (f" (sha256 {digest[:HEX]}…)" if digest else "") for word, name, digest in named]
    return " · ".join((plan.created[:10], *parts))


def made_by(plan: Plan) -> Iterator[str]:
    """The commands that measure and plan, with the options that the plan records."""
    scores, limit = plan.scores, plan.request.limit
    options = {"curvature": scores.curvature, "blocks": scores.blocks}
    options |= {name: given for name in ("sequences", "length") if (given := scores.provenance.get(name))}
    chosen = " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in options.items())
    yield f"zetaplan score {_model(plan)} {chosen} --data TEXT --out scores.json"
    form, value = (
        ("budget", percent(limit.value)) if limit.kind == "parameter_share" else (limit.kind, f"{limit.value:.10g}")
    )
    yield f"zetaplan {plan.kind.words.command} scores.json --{form.replace('_', '-')} {value}"


def next_steps(plan: Plan, file: str) -> tuple[str, ...]:
    """The commands that check, use and measure the plan."""
    model, check = _model(plan), f"zetaplan verify {file}"
    use = {
        "ranks": (f"zetaplan export {file} --to peft --model {model} -o adapter_config.json",),
        "weights": (
            f"zetaplan apply {model} {file} --method wanda --data TEXT -o pruned",
            f"zetaplan evaluate pruned --text HELD_OUT --against {model}",
        ),
    }
    return check, *use.get(plan.kind.counts, ())


def intervals(plan: Plan) -> Intervals | None:
    """The intervals of the gains by sampling, or the enclosure of the surrogate; None if there are neither."""
    gain = plan.request.gain
    return measured_intervals(plan.scores, gain) or enclosure_intervals(plan.scores, gain)


def told_apart(plan: Plan) -> str:
    """How many pairs of layers have intervals without a common value."""
    found, layers = intervals(plan), len(plan.names)
    if found is None:
        return f"Scores by {plan.scores.curvature} have no intervals here, so it is unknown which layers differ"
    above, top = found.low[:, None] > found.high[None, :], int(np.argmax(plan.instance.quality))
    return (
        f"If {found.meaning}, {int(above.sum())} of {layers * (layers - 1) // 2} pairs of layers can be told apart: "
        f"their intervals have no common value. The layer with the largest gain, {plan.names[top]}, is above "
        f"{int(above[top].sum())} of the {layers - 1} others"
    )


def reliability(scores: Scores) -> str:
    """The reliability of the ranking, also where it is high or was not measured."""
    reached = scores.reliability
    if reached is None:
        return f"Reliability of the ranking: not measured; scores by {scores.curvature} compare no two halves"
    verdict = "supported by the data" if reached >= RELIABLE else "not supported by the data"
    return f"Reliability of the ranking: {reached:.2f}, {verdict} (threshold {RELIABLE:g}, maximum 1)"


def _model(plan: Plan) -> str:
    return shlex.quote(str(plan.scores.provenance.get("model", "MODEL")))
