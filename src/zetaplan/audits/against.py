"""A foreign plan compared with the best plan of the same size, by the losses of a menu."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zetaplan.audits.foreign import ForeignPlan
from zetaplan.errors import SpecError
from zetaplan.exports.gguf_names import gguf_names
from zetaplan.menus.bits import bits_facts
from zetaplan.menus.menu import Menu
from zetaplan.menus.planner import choose

TIME_LIMIT = 30.0  # seconds for one optimum; the answer states what is proved by then


@dataclass(frozen=True)
class Against:
    """name : of the plan. spent : what it uses of every budget. loss, best : its loss, and that of the best plan.

    gap : the best plan is proved to be within this of the optimum.
    """

    name: str
    spent: tuple[float, ...]
    loss: float
    best: float
    gap: float


def compared(menu: Menu, taken: Mapping[str, str], name: str) -> Against:
    """The options of a plan, by block, and the best options that use no more of any budget."""
    places = [labels.index(taken[block]) for block, labels in zip(menu.names, menu.options, strict=True)]
    rows = [costs[place] for costs, place in zip(menu.costs, places, strict=True)]
    spent = tuple(map(sum, zip(*rows, strict=True)))
    best = choose(menu, spent, time_limit=TIME_LIMIT)
    loss = sum(losses[place] for losses, place in zip(menu.losses, places, strict=True))
    return Against(name, spent, loss, best.loss, best.gap)


def uniform(menu: Menu) -> tuple[Against, ...]:
    """Every label that all blocks have, taken by all blocks."""
    shared = [label for label in menu.options[0] if all(label in labels for labels in menu.options)]
    return tuple(compared(menu, dict.fromkeys(menu.names, label), label) for label in shared)


def taken_from(menu: Menu, plan: ForeignPlan, written: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """The option of every block, and why there is none ("" if there is).

    written : the stored format of every matrix by name. Raises SpecError if the plan lacks a matrix of the menu.
    """
    facts, taken = bits_facts(menu), dict[str, str]()
    names = _names(plan, [weight.name for _, weight in facts.items()], written)
    for block, labels in zip(menu.names, menu.options, strict=True):
        members = [weight.name for weight in facts.weights[block]]
        if absent := next((name for name in members if names.get(name, name) not in written), None):
            raise SpecError(f"menu: the plan has no format for {absent}; give the menu of its model, and --rest")
        found = {written[names.get(name, name)] for name in members}
        if len(found) > 1:
            return {}, f"the plan gives {block} several formats ({', '.join(sorted(found))}), the menu only one"
        taken[block] = found.pop()
        if taken[block] not in labels:
            return {}, f"the menu has no option {taken[block] or 'of this size'} for {block}"
    for group in menu.groups:
        if len({taken[block] for block in group}) > 1:
            return {}, f"the plan gives {', '.join(group)} different formats, the menu ties them"
    return taken, ""


def _names(plan: ForeignPlan, parameters: list[str], written: Mapping[str, str]) -> dict[str, str]:
    """The tensor of every parameter in a GGUF file; empty where the plan has the names of the model."""
    if not plan.stored:
        return {}
    return gguf_names(parameters, plan.architecture, len({w.layer for w in plan.stored} - {""}))
