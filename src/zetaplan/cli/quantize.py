"""Command `zetaplan quantize`: the format of every block of a menu, within bits, bytes or memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zetaplan._digits import at_most
from zetaplan._outputs import Output, begins, claim
from zetaplan._plural import counted
from zetaplan.cli.choose import Forbid, MenuPath, Pins, forbidden, pinned
from zetaplan.cli.options import Force, Json, PlanOut, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.jobs.options import QuantizeOptions

if TYPE_CHECKING:
    from zetaplan.menus.plan import ChoicePlan

Floors = Annotated[
    list[str] | None,
    typer.Option("--floor", metavar="BLOCK=FORMAT", help="The smallest format that a block may take; repeatable."),
]


def quantize(
    menu: MenuPath,
    options: QuantizeOptions,
    pin: Pins = None,
    forbid: Forbid = None,
    floor: Floors = None,
    out: PlanOut = Path("plan.json"),
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Choose the format of every block: the least total loss within the bytes, with its proof.

    `head` and `embedding` name the blocks that hold them, for --pin, --forbid and --floor.
    """
    from zetaplan.bits import quantize as planner
    from zetaplan.documents.choices import choice_document, load_menu, save_choice
    from zetaplan.reports.tables import choice_table

    claim([Output(out, begins(rb'\{\s*"schema": "zetaplan\.plan/2"'))], [menu], force=force)
    plan = planner.quantize(
        load_menu(menu),
        bits_per_weight=options.bits_per_weight,
        size=_bytes("bytes", options.bytes),
        memory=_bytes("fits", options.fits),
        context=options.context,
        kv=options.kv,
        runtime=options.runtime,
        pins=pinned("pin", pin),
        forbid=forbidden(forbid),
        floors=pinned("floor", floor),
        time_limit=options.time_limit,
    )
    save_choice(plan, out)
    show(choice_document(plan).text(), choice_table(plan), as_json, quiet)
    tell(f"{_summary(plan)}\nwritten: {out}", quiet or as_json)


def _bytes(argument: str, text: str | None) -> float | None:
    from zetaplan.scoring.backward.footprint import as_bytes

    return as_bytes(text, argument)


def _summary(plan: ChoicePlan) -> str:
    """Loss, proof, bytes and the two averages, and what every format takes."""
    from zetaplan.bits.sizes import sizes_of
    from zetaplan.menus.bits import bits_facts
    from zetaplan.menus.cache import cache_bytes

    sizes, facts = sizes_of(plan), bits_facts(plan.menu)
    proved = "proved optimal for this menu" if plan.optimal else f"within {at_most(plan.gap)} of the best possible"
    blocks = counted(len(plan.menu.names), "block")
    lines = [
        f"plan for {facts.runtime}: {blocks}, promised divergence {plan.loss:.4g} {plan.menu.loss_unit}, {proved}",
        f"tensors: {sizes.tensors:,} bytes; bits per weight: {sizes.bits_quantised:.4g} of the quantised weights, "
        f"{sizes.bits_all:.4g} of all",
    ]
    if (limit := plan.request.limit) and limit.form == "fits":
        cache = cache_bytes(facts.cache, limit.context, limit.kv)
        lines.append(f"cache: {cache:,} bytes for {counted(limit.context, 'token')} in {limit.kv}")
    pairs = sizes.formats.items()
    lines += [f"{label}: {counted(share.weights, 'weight')} in {share.bytes:,} bytes" for label, share in pairs]
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
