"""`zetaplan choose`: one option for every block of a menu, within budgets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zetaplan._digits import at_most
from zetaplan._outputs import Output, claim, of_choice
from zetaplan._plural import counted
from zetaplan._quantities import count, read
from zetaplan.cli.options import Force, Json, PlanOut, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.errors import SpecError

if TYPE_CHECKING:
    from zetaplan.menus.plan import ChoicePlan

MenuPath = Annotated[
    Path,
    typer.Argument(metavar="MENU", help="A zetaplan.menu/1 file, a CSV of options, or a measurement of exllamav3."),
]
Budgets = Annotated[
    list[str],
    typer.Option(
        "--budget", metavar="NUMBER", help="Largest total cost, such as 2M or 90MB; once for each budget of the menu."
    ),
]
Pins = Annotated[
    list[str] | None,
    typer.Option("--pin", metavar="BLOCK=OPTION", help="The option that a block must take; repeatable."),
]
Forbid = Annotated[
    list[str] | None,
    typer.Option("--forbid", metavar="BLOCK=OPTION", help="An option that a block must not take; repeatable."),
]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="NAME,NAME", help="Blocks that must take the same option; repeatable."),
]
TimeLimit = Annotated[
    float,
    typer.Option(
        "--time-limit",
        metavar="SECONDS",
        help="Stop the search then, and take the best choice so far, with its proved gap.",
    ),
]


def choose(
    menu: MenuPath,
    budget: Budgets,
    pin: Pins = None,
    forbid: Forbid = None,
    group: Groups = None,
    time_limit: TimeLimit = math.inf,
    out: PlanOut = Path("plan.json"),
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take one option for every block of a menu: the least total loss within the budgets, with its proof."""
    from zetaplan.documents.choices import choice_document, load_menu, save_choice
    from zetaplan.menus import planner
    from zetaplan.reports.tables import choice_table

    claim([Output(out, of_choice)], [menu], force=force)
    found = load_menu(menu)
    plan = planner.choose(
        found,
        _budgets(budget, found.units),
        pins=pinned("pin", pin),
        forbid=forbidden(forbid),
        groups=[names.split(",") for names in group or ()],
        time_limit=time_limit,
    )
    save_choice(plan, out)
    show(choice_document(plan).text(), choice_table(plan), as_json, quiet)
    tell(f"{_summary(plan)}\nwritten to {out}", quiet or as_json)


def _budgets(texts: Sequence[str], units: Sequence[str]) -> list[float]:
    """The numbers: of a budget in bytes a size such as 90MB, of any other a count such as 2M."""
    kinds = [unit == "bytes" for unit in units] + [False] * len(texts)  # more texts: refused later
    return [_number(text, size) for text, size in zip(texts, kinds, strict=False)]


def _number(text: str, size: bool) -> float:
    if not size:
        return read("budget", text, count)
    from zetaplan.scoring.sizes import as_bytes

    return float(as_bytes(text, "budget") or 0)


def pinned(name: str, texts: Sequence[str] | None) -> dict[str, str]:
    """One option for each block, from --NAME BLOCK=OPTION. Raises SpecError for two different ones."""
    found: dict[str, str] = {}
    for block, option in _pairs(name, texts):
        if found.setdefault(block, option) != option:
            raise SpecError(f"--{name}: {block} has {found[block]} and {option}; remove one of the two")
    return found


def forbidden(texts: Sequence[str] | None) -> dict[str, list[str]]:
    """The options that each block must not take, from --forbid BLOCK=OPTION."""
    found: dict[str, list[str]] = {}
    for block, option in _pairs("forbid", texts):
        found.setdefault(block, []).append(option)
    return found


def _pairs(name: str, texts: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    for text in texts or ():
        block, separator, option = text.rpartition("=")
        if not separator:
            raise SpecError(f"--{name} {text}: expected BLOCK=OPTION")
        yield block, option


def _summary(plan: ChoicePlan) -> str:
    """The total loss, what is left of every budget, and what is proved."""
    from zetaplan.reports.tables import with_unit

    proved = "proved optimal" if plan.optimal else f"within {at_most(plan.gap)} of the best possible"
    blocks = counted(len(plan.menu.names), "block")
    lines = [f"choice: {blocks}, total loss {with_unit(plan.loss, plan.menu.loss_unit)}, {proved}"]
    rows = zip(plan.menu.budgets, plan.menu.units, plan.solution.spent, plan.request.budgets, strict=True)
    lines += [f"{name}: {spent:,.10g} of {with_unit(budget, unit)}" for name, unit, spent, budget in rows]
    return "\n".join(lines)
