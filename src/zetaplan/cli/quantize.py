"""Command `zetaplan quantize`: the format of every block of a menu, within bits, bytes or memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zetaplan._outputs import Output, claim, of_formats
from zetaplan.cli.choose import Forbid, MenuPath, Pins, forbidden, pinned
from zetaplan.cli.options import Force, Json, PlanOut, Quiet
from zetaplan.cli.output import formats_summary, show, tell
from zetaplan.jobs.options import QuantizeOptions

if TYPE_CHECKING:
    pass

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

    claim([Output(out, of_formats)], [menu], force=force)
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
    tell(f"{formats_summary(plan)}\nwritten: {out}", quiet or as_json)


def _bytes(argument: str, text: str | None) -> float | None:
    from zetaplan.scoring.sizes import as_bytes

    return as_bytes(text, argument)
