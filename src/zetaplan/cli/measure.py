"""Command `zetaplan measure`: the menu of a model, with the loss and the bytes of every option."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zetaplan._outputs import Output, claim, of_schema
from zetaplan._plural import counted
from zetaplan.cli.options import Force, Json, Model, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.jobs.options import MeasureOptions

if TYPE_CHECKING:
    from zetaplan.menus.bits import WholeData
    from zetaplan.menus.menu import Menu


def measure(
    model: Model,
    options: MeasureOptions,
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the menu.")] = Path("menu.json"),
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the loss of every format, sparsity, rank or omission of a block: the divergence from the given model."""
    from zetaplan.documents.choices import menu_document, save_menu
    from zetaplan.jobs import pipelines
    from zetaplan.reports.tables import menu_table

    claim([Output(out, of_schema("menu"))], [model, *options.data, *options.calibration], force=force)
    menu = pipelines.measure(model, options, progress=not (quiet or as_json))
    if menu is None:
        return
    save_menu(menu, out)
    show(menu_document(menu).text(), menu_table(menu), as_json, quiet)
    tell("\n".join([*_notes(menu), f"written: {out}"]), quiet or as_json)


def _notes(menu: Menu) -> list[str]:
    """What the formats leave out, how the source is stored, and whether the losses were checked."""
    from zetaplan.menus.bits import bits_facts

    options = sum(map(len, menu.options))
    lines = [f"menu: {counted(len(menu.names), 'block')}, {counted(options, 'option')}, estimator {menu.estimator}"]
    if menu.provenance["decides"] != "bits":
        return [*lines, "note: sums of losses were not compared with a measurement; `zetaplan refine` measures plans"]
    facts = bits_facts(menu)
    assert facts.measured  # noqa: S101  a menu that was measured just now
    if facts.stored_as:
        stored = ", ".join(f"{name} ({counted(number, 'tensor')})" for name, number in facts.stored_as.items())
        lines.append(f"note: the file is already quantised, as {stored}; these formats have no loss")
    pairs = facts.measured.left_out.items()
    lines += [f"note: left out in {counted(number, 'block')}: {reason}" for reason, number in pairs]
    if pooled := facts.measured.pooled:
        where = f"{counted(sum(pooled.values()), 'expert')} in {counted(len(pooled), 'block')}"
        lines.append(f"note: few tokens reached {where}; GPTQ rounded by the inputs of all experts of their stack")
    if not facts.measured.wholes:
        return [*lines, "note: sums of losses were not compared with measurements of whole models; --check does that"]
    return [*lines, *(_check(whole) for whole in facts.measured.wholes)]


def _check(whole: WholeData) -> str:
    pair = f"predicted {whole.promised:.4g}, measured {whole.measured:.4g} nats per token"
    return f"check: all blocks in {whole.format}: {pair}"
