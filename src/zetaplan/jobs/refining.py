"""Texts and start of `zetaplan refine`, from its options."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

from zetaplan.documents.plan_files import any_plan
from zetaplan.errors import ScoringError, SpecError
from zetaplan.jobs.options import ApplyOptions, RefineOptions
from zetaplan.jobs.results import require_unstructured
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.sparsity import sparsity_facts
from zetaplan.models.apply import Applied
from zetaplan.models.pruned_folder import choice_record
from zetaplan.plans.plan import Plan
from zetaplan.refining.apply import apply_refined
from zetaplan.refining.refine import refine, require_arguments
from zetaplan.scoring import LoadedModel, read_sequences
from zetaplan.scoring.text.sequences import Batch, Sequences

#: Digits of the share that stands for a count of removed weights; at most one weight in 10^6 more is removed.
DIGITS = Decimal("0.000001")


def start_of(path: Path) -> dict[str, str]:
    """The option of every block in a plan file. Shares of a plan of sparsity are rounded up, so no budget is exceeded.

    Raises SpecError for a plan that decides neither sparsity nor options.
    """
    plan = any_plan(path)
    if isinstance(plan, ChoicePlan):
        return plan.taken
    if plan.kind.counts != "weights":
        raise SpecError(f"plan: the plan is in {plan.unit}, not sparsity; make one with `zetaplan prune`")
    counts = zip(plan.names, plan.rounded.units.tolist(), plan.instance.resource.tolist(), strict=True)
    return {name: _share(int(removed), int(size)) for name, removed, size in counts}


def require_options(options: RefineOptions) -> None:
    """Raise SpecError or ScoringError for options that no model allows, before one is loaded."""
    require_arguments(options.method, options.evaluations, options.moves)
    for name in ("calibration", "sequences", "accept", "compare"):
        if getattr(options, name) < 2:
            raise ScoringError(f"{name} = {getattr(options, name)}: expected at least 2 sequences")
    if options.portions < 1:
        raise ScoringError(f"portions = {options.portions}: expected at least 1")
    if options.length < 2:
        raise ScoringError(
            f"length = {options.length}: expected at least 2 tokens, since the loss predicts the next one"
        )


def refined(loaded: LoadedModel, start: dict[str, str] | None, options: RefineOptions, *, progress: bool) -> ChoicePlan:
    """The plan refined on the texts of the options."""
    texts = _texts(loaded, options)
    return refine(
        loaded,
        options.method,
        options.budget,
        texts["propose"],
        texts["accept"],
        held_out=texts["compare"],
        calibration=texts["calibration"],
        start=start,
        evaluations=options.evaluations,
        sequences=options.sequences,
        moves=options.moves,
        blocks=options.blocks,
        step=options.step,
        options=options.option,
        cache=options.cache,
        distributed=True,
        progress=progress,
    )


def _texts(loaded: LoadedModel, options: RefineOptions) -> dict[str, Batch]:
    """The sequences of every purpose, each evenly spread over the data."""
    counts = {
        "calibration": options.calibration,
        "propose": options.sequences * options.portions,
        "accept": options.accept,
        "compare": options.compare,
    }
    if options.held_out:
        del counts["compare"]
    text = read_sequences(
        options.data, loaded.tokenizer, sequences=sum(counts.values()), length=options.length, field=options.field
    )
    found = dealt(text, counts)
    if options.held_out:
        other = read_sequences(
            options.held_out, loaded.tokenizer, sequences=options.compare, length=options.length, field=options.field
        )
        found["compare"] = other.batch
    return found


def require_sparsity(plan: Plan | ChoicePlan, options: ApplyOptions) -> None:
    """Raise SpecError, before a model is loaded, for a plan that decides something else or has no such structure."""
    if isinstance(plan, ChoicePlan):
        sparsity_facts(plan)
        require_unstructured("sparsity", options)
    elif plan.kind.counts != "weights":
        raise SpecError(f"plan: the plan is in {plan.unit}, not sparsity; make one with `zetaplan prune`")


def applied_choice(
    loaded: LoadedModel, plan: ChoicePlan, method: str, text: Sequences | None
) -> tuple[Applied, dict[str, Any]]:
    """The model pruned in place by a refined plan, and the record for its folder."""
    applied = apply_refined(loaded, plan, method, text)
    return applied, choice_record(applied, plan, loaded, text)


def dealt(text: Sequences, counts: dict[str, int]) -> dict[str, Batch]:
    """The sequences divided by purpose, so that those of each are evenly spread over the text."""
    places = sorted(((2 * i + 1) / (2 * count), name) for name, count in counts.items() for i in range(count))
    rows = {name: [row for row, (_, owner) in enumerate(places) if owner == name] for name in counts}
    return {name: {key: value[own] for key, value in text.batch.items()} for name, own in rows.items()}


def _share(removed: int, size: int) -> str:
    share = (Decimal(removed) / Decimal(size)).quantize(DIGITS, rounding=ROUND_CEILING)
    return format(share.normalize(), "f")
