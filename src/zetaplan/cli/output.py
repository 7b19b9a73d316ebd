"""Output of commands: JSON for programs, tables and sentences for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zetaplan._digits import at_most
from zetaplan._plural import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from zetaplan.menus.plan import ChoicePlan
    from zetaplan.plans.plan import Plan


def show(facts: object, table: RenderableType | None, as_json: bool, quiet: bool) -> None:
    """Print the facts as JSON, or the table. facts : plain values, or the text of a document."""
    if as_json:
        typer.echo(facts.rstrip("\n") if isinstance(facts, str) else json.dumps(facts, indent=2))
    elif table is not None and not quiet:
        from rich.console import Console

        Console().print(table)


def tell(text: str, silent: bool) -> None:
    """Print sentences, unless `silent` (with --quiet or --json)."""
    if not silent:
        typer.echo(text)


def summary(plan: Plan) -> str:
    """Summary of a plan: the certificate, the whole units, the warnings and the bounds on the regret."""
    from zetaplan.drift.cost import drift_sentence

    layers, conditions = counted(len(plan.names), "layer"), len(plan.certificate.conditions)
    lines = [
        f"{plan.instance.program.name}: {layers}, all {conditions} conditions of optimality hold",
        f"in whole units ({plan.whole_unit}): {plan.rounded.used:,.10g} of {plan.instance.limit:,.10g} "
        f"{plan.resource_unit}, within {at_most(plan.rounded.gap)} of the best possible objective",
    ]
    drift = drift_sentence(plan.regret)
    notes = [*plan.warnings, *([drift] if drift else [])]
    return "\n".join([*lines, *(f"note: {note}" for note in notes)])


def deliver(plan: Plan, out: Path, as_json: bool, quiet: bool) -> None:
    """Write a plan to a file and print it."""
    from zetaplan.documents.convert import plan_document, save_plan
    from zetaplan.reports.tables import plan_table

    save_plan(plan, out)
    show(plan_document(plan).text(), plan_table(plan), as_json, quiet)
    tell(f"{summary(plan)}\nwritten to {out}", quiet or as_json)


#: Predicted divergence, nats per token, between the plans by estimates that were measured better than uniform (0.25 and
#: 0.37, 4.25 bits) and those that were worse (1.2 and 1.7, 3.25 bits).
LARGE = 0.5


def formats_summary(plan: ChoicePlan) -> str:
    """Loss, proof, bytes and the two averages, and what every format takes."""
    from zetaplan.bits.sizes import sizes_of
    from zetaplan.menus.bits import bits_facts
    from zetaplan.menus.cache import cache_bytes

    sizes, facts = sizes_of(plan), bits_facts(plan.menu)
    proved = "proved optimal for this menu" if plan.optimal else f"within {at_most(plan.gap)} of the best possible"
    blocks = counted(len(plan.menu.names), "block")
    lines = [
        f"plan for {facts.runtime}: {blocks}, predicted divergence {plan.loss:.4g} {plan.menu.loss_unit}, {proved}",
        f"tensors: {sizes.tensors:,} bytes; bits per weight: {sizes.bits_quantised:.4g} of the quantised weights, "
        f"{sizes.bits_all:.4g} of all",
    ]
    if (limit := plan.request.limit) and limit.form == "fits":
        cache = cache_bytes(facts.cache, limit.context, limit.kv)
        lines.append(f"cache: {cache:,} bytes for {counted(limit.context, 'token')} in {limit.kv}")
    pairs = sizes.formats.items()
    lines += [f"{label}: {counted(share.weights, 'weight')} in {share.bytes:,} bytes" for label, share in pairs]
    if plan.menu.loss_unit == "nats per token" and plan.loss > LARGE:
        lines.append(
            f"caution: a predicted divergence above {LARGE:g} is large; at 3.25 bits on SmolLM2, plans by estimates "
            "were worse than uniform; measure the plan, or plan by `zetaplan refine`"
        )
    return "\n".join([*lines, f"note: {_checked(plan)}"])


def _checked(plan: ChoicePlan) -> str:
    """Whether the sum of the losses was compared with a measurement of whole models."""
    from zetaplan.menus.bits import bits_facts

    measured = bits_facts(plan.menu).measured
    match measured and measured.validated:
        case True:
            return "sums of these losses agreed with measurements of whole models, to a factor of 2"
        case False:
            return "sums of these losses did not agree with measurements of whole models; measure the plan"
    return "sums of these losses were not compared with a measurement; `zetaplan measure --check` does that"
