"""From a menu of formats to a plan for one runtime: its formats, its sizes, and the linears that it stores as one."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from numbers import Real

from zetaplan._records import checked
from zetaplan.bits.restrict import for_runtime, kept_bytes, stored, tied_blocks
from zetaplan.bits.sizes import quantisable
from zetaplan.errors import InfeasibleError, SpecError, require, shown
from zetaplan.menus.bits import BitsFacts, Weight, bits_facts
from zetaplan.menus.limit import BitsLimit, bits_limit
from zetaplan.menus.menu import Column, Menu
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.planner import planned
from zetaplan.menus.request import ChoiceRequest
from zetaplan.models.quantizers import Quantizer, find_quantizer
from zetaplan.models.quantizers._gguf import Blockwise
from zetaplan.models.quantizers.floats import Float
from zetaplan.models.quantizers.k_types import KType, written
from zetaplan.runtimes import find_runtime, runtime_of
from zetaplan.spec.menus.declare import NONE


def quantize(
    menu: Menu,
    *,
    bits_per_weight: float | None = None,
    size: float | None = None,
    memory: float | None = None,
    context: int = 0,
    kv: str = "f16",
    runtime: str | None = None,
    pins: Mapping[str, str] = NONE,
    forbid: Mapping[str, str | Collection[str]] = NONE,
    floors: Mapping[str, str] = NONE,
    time_limit: float = math.inf,
) -> ChoicePlan:
    """The format of every block: the least total loss within the bytes, with its proof.

    bits_per_weight : the average over the weights that can be quantised, scales included. size : bytes of all tensors
    of the file. memory : bytes for all tensors and a cache of `context` tokens in numbers of the kind `kv`. One of the
    three.
    runtime : one of `runtime_names()`; by default llama.cpp for a menu of GGUF types, else vllm.
    pins, forbid : block -> format or formats; "head" and "embedding" name the blocks that hold them.
    floors : block -> the smallest format that it may take.
    time_limit : seconds of the search, as in `zetaplan.choose`.

    Raises SpecError for a menu that decides no formats, or a block without a format that the runtime can load, and
    InfeasibleError for a limit below the smallest plan.

    Examples:
        >>> menu = zp.measure(model, ["int4", "int8"], batch, cache=False)
        >>> zp.quantize(menu, bits_per_weight=9).optimal
        True
    """
    require(menu, Menu, "menu", "give a zetaplan.Menu, such as zetaplan.measure returns")
    require(time_limit, Real, "time_limit", "give seconds")
    limit = bits_limit(bits_per_weight, size, memory, context, kv)
    program = find_runtime(_default(menu) if runtime is None else runtime)
    restricted = for_runtime(menu, program)
    facts = bits_facts(restricted)
    named = _Names(facts, restricted)
    budget = budget_of(restricted, limit)
    _require_room(restricted, limit, budget)
    request = checked(
        ChoiceRequest,
        budgets=(budget,),
        pins=named.pinned(pins),
        forbid=named.ruled_out(forbid, floors),
        groups=tied_blocks(facts, program),
        limit=limit,
    )
    return planned(restricted, request, time_limit)


def follows_runtime(plan: ChoicePlan) -> bool:
    """Whether options and bytes of the menu are those of its runtime, and what it stores as one is tied."""
    facts = bits_facts(plan.menu)
    runtime = runtime_of(facts)
    derived = for_runtime(plan.menu, runtime)
    tied = {frozenset(group) for group in tied_blocks(facts, runtime)}
    same = (derived.options, derived.costs) == (plan.menu.options, plan.menu.costs)
    return same and tied <= {frozenset(group) for group in plan.request.groups}


def budget_of(menu: Menu, limit: BitsLimit) -> float:
    """The bytes that the limit leaves for the blocks of a menu that is restricted to a runtime."""
    facts = bits_facts(menu)
    able = quantisable(menu)
    numel = sum(weight.numel for block, weight in facts.items() if block in able)
    fixed = sum(_least(costs) for name, costs in zip(menu.names, menu.costs, strict=True) if name not in able)
    return limit.budget(numel, int(fixed), kept_bytes(facts, runtime_of(facts)), facts.cache)


@dataclass(frozen=True, eq=False)
class _Names:
    facts: BitsFacts
    menu: Menu

    def block(self, name: str) -> str:
        """The block of a name, which may be "head" or "embedding"."""
        require(name, str, "name of a block", "give a name of the menu, head or embedding")
        matrix = {"head": self.facts.head, "embedding": self.facts.embedding}.get(name)
        return next((block for block, weight in self.facts.items() if matrix and weight.name == matrix), name)

    def pinned(self, pins: Mapping[str, str]) -> dict[str, str]:
        """The pins by block. Raises SpecError for two formats of one block."""
        require(pins, Mapping, "pins", "give the format of each block by name")
        found: dict[str, str] = {}
        for name, label in pins.items():
            if found.setdefault(block := self.block(name), label) != label:
                raise SpecError(f"pins: {found[block]!r} and {label!r} for block {block!r}; remove one of the two")
        return found

    def ruled_out(
        self, forbid: Mapping[str, str | Collection[str]], floors: Mapping[str, str]
    ) -> dict[str, tuple[str, ...]]:
        """The formats that are forbidden or below a floor, by block."""
        require(forbid, Mapping, "forbid", "give the formats of each block by name")
        require(floors, Mapping, "floors", "give the smallest format of each block by name")
        found: dict[str, tuple[str, ...]] = {}
        for name, labels in forbid.items():
            found[self.block(name)] = (*found.get(self.block(name), ()), *_listed(labels))
        for name, floor in floors.items():
            found[self.block(name)] = (*found.get(self.block(name), ()), *self.below(self.block(name), floor))
        return {block: tuple(dict.fromkeys(labels)) for block, labels in found.items() if labels}

    def below(self, block: str, floor: str) -> tuple[str, ...]:
        """The formats of a block that take fewer bytes than the floor."""
        options = dict(zip(self.menu.names, zip(self.menu.options, self.menu.costs, strict=True), strict=True))
        if block not in options:
            raise SpecError(f"floors: there is no block {block!r}; the menu has {', '.join(self.menu.names[:3])} ...")
        runtime = runtime_of(self.facts)
        members = self.facts.weights[block]
        least = sum(stored(runtime, _storable(floor, weight), [weight]) for weight in members)
        labels, costs = options[block]
        found = tuple(label for label, (cost,) in zip(labels, costs, strict=True) if cost < least)
        if len(found) == len(labels):
            raise SpecError(
                f"floors: block {block!r} has no format of at least the size of {floor}; it has {', '.join(labels)}"
            )
        return found


def _storable(floor: str, weight: Weight) -> Quantizer:
    """The format of a floor; of a K-type that a matrix cannot take, the type that llama-quantize writes instead."""
    quantizer = find_quantizer(floor)
    found = find_quantizer(written(floor, weight.columns)) if isinstance(quantizer, KType) else quantizer
    if reason := found.obstacle(weight.rows, weight.columns):
        raise SpecError(f"floors: {weight.name} cannot be stored as {floor}: {reason}; name another format")
    return found


def _default(menu: Menu) -> str:
    """llama.cpp for GGUF types, vllm for integers."""
    bits_facts(menu)
    quantizers = [find_quantizer(label) for labels in menu.options for label in labels]
    return "llama.cpp" if all(isinstance(quantizer, Blockwise | Float) for quantizer in quantizers) else "vllm"


def _listed(labels: str | Collection[str]) -> tuple[str, ...]:
    if isinstance(labels, str):
        return (labels,)
    if not isinstance(labels, Collection):
        raise SpecError(f"forbid: expected labels of formats, got {shown(labels)}")
    return tuple(labels)


def _least(costs: Column) -> float:
    return min(cost for (cost,) in costs)


def _require_room(menu: Menu, limit: BitsLimit, budget: float) -> None:
    """Raise InfeasibleError, in the form of the limit, for a budget below the smallest options."""
    least = sum(map(_least, menu.costs))
    if least > budget:
        raise InfeasibleError(
            f"{limit.form} = {limit.value:,.10g}: this leaves {budget:,.0f} bytes for the matrices of the menu, and "
            f"their smallest formats take {least:,.0f}; raise it, or measure smaller formats"
        )
