"""Terminal tables of scores, plans and verdicts, one row per layer or check."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from zetaplan.documents.verdict import Verdict
    from zetaplan.menus.menu import Menu
    from zetaplan.menus.plan import ChoicePlan
    from zetaplan.plans.plan import Plan
    from zetaplan.scoring import Scores

LONG = 24  # characters of a name that a table of 80 columns can hold


def scores_table(scores: Scores) -> Table:
    """The gain of each layer, with all further columns of the scores."""
    names = short_names(scores.names)
    table = layer_table("layer", "gain", *(heading for heading, _ in _known(scores)), "parameters", names=scores.names)
    columns = (names, scores.gain, *(values for _, values in _known(scores)), scores.parameters)
    for name, gain, *known, parameters in zip(*columns, strict=True):
        table.add_row(Text(name), f"{gain:.4g}", *(f"{value:.3g}" for value in known), f"{parameters:,}")
    return table


def plan_table(plan: Plan) -> Table:
    """Requested, relaxed, rounded and achieved, per layer and in total."""
    from zetaplan.plans.amounts import (
        in_total,
        per_layer,
        shown,
    )  # imports sympy; a table of checks does not

    table = layer_table("layer", "gain", "requested", "relaxed", "rounded", "achieved", names=plan.names)
    rows = zip(short_names(plan.names), per_layer(plan).values(), plan.scores.gain, strict=True)
    for name, amounts, gain in rows:
        table.add_row(Text(name), f"{gain:.4g}", *shown(plan, amounts))
    table.add_section()
    table.add_row("in total", "", *shown(plan, in_total(plan), total=True))
    return table


def plans_table(plans: Sequence[Plan]) -> Table:
    """Plans of the same scores in whole units, one column each, with the gain."""
    scores = plans[0].scores
    table = layer_table("layer", "gain", *(plan.unit.partition(" (")[0] for plan in plans), names=scores.names)
    columns = (short_names(scores.names), scores.gain, *(plan.rounded.solution.x for plan in plans))
    for name, gain, *amounts in zip(*columns, strict=True):
        table.add_row(Text(name), f"{gain:.4g}", *(f"{amount:.6g}" for amount in amounts))
    return table


def choice_table(plan: ChoicePlan) -> Table:
    """The option that every block takes, its loss and its costs, and the totals."""
    from zetaplan.menus.low_rank import with_ranks

    budgets = [
        f"{name} ({unit})" if unit else name for name, unit in zip(plan.menu.budgets, plan.menu.units, strict=True)
    ]
    table = layer_table("block", "option", "loss", *budgets, names=plan.menu.names)
    blocks = zip(short_names(plan.menu.names), with_ranks(plan).values(), strict=True)
    columns = zip(blocks, plan.menu.losses, plan.menu.costs, plan.places, strict=True)
    for (name, option), losses, costs, j in columns:
        table.add_row(Text(name), Text(option), f"{losses[j]:.4g}", *(f"{cost:,.10g}" for cost in costs[j]))
    table.add_section()
    table.add_row("in total", "", f"{plan.loss:.4g}", *(f"{spent:,.10g}" for spent in plan.solution.spent))
    return table


def menu_table(menu: Menu) -> Table:
    """The options of every block, each with its loss and its costs."""
    loss = f"loss ({menu.loss_unit})" if menu.loss_unit else "loss"
    table = layer_table("block", "option", loss, "± s.e.", *menu.budgets, names=menu.names)
    for k, (name, labels) in enumerate(zip(short_names(menu.names), menu.options, strict=True)):
        for j, option in enumerate(labels):
            error = f"{menu.standard_error[k][j]:.2g}" if menu.standard_error else ""
            costs = (f"{cost:,.10g}" for cost in menu.costs[k][j])
            table.add_row(Text(name), Text(option), f"{menu.losses[k][j]:.4g}", error, *costs)
    return table


def with_unit(value: float, unit: str) -> str:
    """A number in ten digits, with its unit if there is one."""
    return f"{value:,.10g} {unit}".rstrip()


def verdict_table(verdict: Verdict) -> Table:
    """Every check of a plan and whether it holds."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("check", "", "meaning"):
        table.add_column(heading)
    for check in verdict.checks:
        mark = Text("holds", "green") if check.ok else Text("FAILS", "bold red")
        table.add_row(check.name, mark, Text(check.detail))
    return table


def _known(scores: Scores) -> list[tuple[str, NDArray[np.float64]]]:
    """The optional columns of the scores."""
    enclosed = (scores.low < scores.high).any()
    columns = (
        ("low", scores.low if enclosed else None),
        ("high", scores.high if enclosed else None),
        ("± s.e.", scores.standard_error),
        ("noise floor", scores.noise_floor),
        ("unbiased", scores.unbiased),
        ("loss decrease", scores.decrease),
        ("held out", scores.held_out_decrease),
    )
    return [(heading, values) for heading, values in columns if values is not None]


def short_names(names: Sequence[str]) -> list[str]:
    """The names without the components that all of them begin with, where the longest is too long for a table."""
    start = shared_start(names)
    return [name.removeprefix(start) for name in names]


def shared_start(names: Sequence[str]) -> str:
    """The components that all names begin with, if the longest name is too long for a table; else nothing."""
    if max(map(len, names), default=0) <= LONG:
        return ""
    parts = zip(*(name.split(".")[:-1] for name in names), strict=False)
    return "".join(f"{same[0]}." for same in takewhile(lambda same: len(set(same)) == 1, parts))


def layer_table(first: str, *numbers: str, names: Sequence[str]) -> Table:
    """An empty table with a column for the names of the layers, never wrapped, and columns of numbers."""
    start = shared_start(names)
    caption = f"every {first} begins with {start}" if start else None
    table = Table(box=None, pad_edge=False, header_style="dim", caption=caption, caption_justify="left")
    table.add_column(first, overflow="ellipsis")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
