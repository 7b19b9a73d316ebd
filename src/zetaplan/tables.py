"""What a person sees in the terminal: scores, plans and verdicts as tables, one row per layer or check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from zetaplan.comparison import in_total, per_layer, shown

if TYPE_CHECKING:
    from zetaplan.checking import Verdict
    from zetaplan.planning import Plan
    from zetaplan.scoring import Scores


def scores_table(scores: Scores) -> Table:
    """The gain of each layer with its noise floor and standard error."""
    errors = [None] * len(scores.names) if scores.standard_error is None else scores.standard_error.tolist()
    table = _table("layer", "gain", "± s.e.", "noise floor", "parameters")
    columns = (scores.names, scores.gain, errors, scores.noise_floor, scores.parameters)
    for name, gain, error, floor, parameters in zip(*columns, strict=True):
        spread = "" if error is None else f"{error:.2g}"
        table.add_row(Text(name), f"{gain:.4g}", spread, f"{floor:.4g}", f"{parameters:,}")
    return table


def plan_table(plan: Plan) -> Table:
    """Requested, relaxed, rounded and achieved, per layer and in total."""
    table = _table("layer", "gain", "requested", "relaxed", "rounded", "achieved")
    for (name, amounts), gain in zip(per_layer(plan).items(), plan.scores.gain, strict=True):
        table.add_row(Text(name), f"{gain:.4g}", *shown(plan, amounts))
    table.add_section()
    table.add_row("in total", "", *shown(plan, in_total(plan), total=True))
    return table


def plans_table(plans: Sequence[Plan]) -> Table:
    """Plans made from the same scores, in whole units, side by side with the gain that they follow from."""
    table = _table("layer", "gain", "noise floor", *(plan.unit.partition(" (")[0] for plan in plans))
    scores = plans[0].scores
    columns = (scores.names, scores.gain, scores.noise_floor, *(plan.rounded.solution.x for plan in plans))
    for name, gain, floor, *amounts in zip(*columns, strict=True):
        table.add_row(Text(name), f"{gain:.4g}", f"{floor:.4g}", *(f"{amount:.6g}" for amount in amounts))
    return table


def verdict_table(verdict: Verdict) -> Table:
    """Every check of a plan and whether it holds."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("check", "", "what it says"):
        table.add_column(heading)
    for check in verdict.checks:
        mark = Text("holds", "green") if check.ok else Text("FAILS", "bold red")
        table.add_row(check.name, mark, Text(check.detail))
    return table


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(first, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
