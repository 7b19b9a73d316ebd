"""Bytes and bits of a plan of formats: of all tensors, and of the weights that can be quantised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zetaplan.bits.restrict import kept_bytes
from zetaplan.menus.bits import Weight, bits_facts
from zetaplan.menus.menu import Menu
from zetaplan.models.quantizers import find_quantizer
from zetaplan.models.quantizers.floats import Float
from zetaplan.runtimes import runtime_of

if TYPE_CHECKING:
    from zetaplan.menus.plan import ChoicePlan


@dataclass(frozen=True)
class Shares:
    """Weights and bytes that a format takes in a plan."""

    weights: int
    bytes: int


@dataclass(frozen=True)
class Sizes:
    """Bytes of a plan of formats, as its runtime stores them.

    tensors : bytes of all tensors, without the header of the file. bits_quantised : the average over the weights that
    can be quantised, scales included. bits_all : over all parameters. formats : weights and bytes by label.
    """

    tensors: int
    bits_quantised: float
    bits_all: float
    formats: Mapping[str, Shares]


def quantisable(menu: Menu) -> tuple[str, ...]:
    """The blocks that can take another format than floating-point numbers; all blocks if none can."""
    pairs = zip(menu.names, menu.options, strict=True)
    able = (name for name, labels in pairs if not all(isinstance(find_quantizer(label), Float) for label in labels))
    return tuple(able) or menu.names


def sizes_of(plan: ChoicePlan) -> Sizes:
    """The sizes of a plan that `zetaplan.quantize` made. Raises SpecError for another plan."""
    menu, facts = plan.menu, bits_facts(plan.menu)
    runtime = runtime_of(facts)
    numel = {name: sum(weight.numel for weight in members) for name, members in facts.weights.items()}
    cost = {name: int(costs[j][0]) for name, costs, j in zip(menu.names, menu.costs, plan.places, strict=True)}
    formats: dict[str, Shares] = {}
    for name, label in plan.taken.items():
        before = formats.get(label, Shares(0, 0))
        formats[label] = Shares(before.weights + numel[name], before.bytes + cost[name])
    able = quantisable(menu)
    tensors = sum(cost.values()) + kept_bytes(facts, runtime)
    quantised = sum(cost[name] for name in able) / sum(numel[name] for name in able)
    everything = tensors / (facts.numel + sum(facts.others.values()))
    return Sizes(tensors, 8 * quantised, 8 * everything, formats)


def bits_by_matrix(plan: ChoicePlan) -> list[tuple[Weight, float]]:
    """The bits per weight of every matrix of the plan, scales included."""
    facts, taken = bits_facts(plan.menu), plan.taken
    runtime = runtime_of(facts)
    return [
        (weight, 8 * runtime.size(find_quantizer(taken[block]), weight) / weight.numel)
        for block, weight in facts.items()
    ]
