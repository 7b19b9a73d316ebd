"""Menus of formats made by hand, and the truth about their plans by trying every choice."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from fractions import Fraction

from zetaplan.menus.bits import BitsFacts, Weight
from zetaplan.menus.cache import CacheLayer
from zetaplan.menus.menu import Menu
from zetaplan.models.quantizers import find_quantizer

EMBEDDING = Weight(name="embed.weight", module="embed", rows=50, columns=64)
HEAD = Weight(name="head.weight", module="head", rows=50, columns=64)
SHAPES = {"q_proj": (64, 64), "k_proj": (32, 64), "v_proj": (32, 64), "gate_proj": (96, 64), "up_proj": (96, 64),
          "down_proj": (64, 96)}  # fmt: skip


def linear(layer: int, name: str) -> Weight:
    rows, columns = SHAPES[name]
    module = f"layers.{layer}.{name}"
    return Weight(name=f"{module}.weight", module=module, layer=f"layers.{layer}", rows=rows, columns=columns)


def menu_of(
    blocks: Mapping[str, tuple[Weight, ...]],
    formats: tuple[str, ...],
    loss: Callable[[int, int], float],
    *,
    cache: tuple[CacheLayer, ...] = (CacheLayer(numbers=64),),
    outside: tuple[str, ...] | None = None,
    **facts: object,
) -> Menu:
    """loss : of option j of block k. outside : the formats of embedding and head; these and bf16 if not given."""
    known = BitsFacts(
        model="made",
        model_sha256="0" * 64,
        weights=dict(blocks),
        others={"norm.weight": 64, "layers.0.norm.weight": 65},
        head="head.weight",
        embedding="embed.weight",
        cache=cache,
        **facts,  # type: ignore[arg-type]
    )
    rest = (*formats, "bf16") if outside is None else outside
    labels = tuple(formats if own[0].layer else rest for own in blocks.values())
    return Menu(
        names=tuple(blocks),
        options=labels,
        losses=tuple(tuple(loss(k, j) for j in range(len(own))) for k, own in enumerate(labels)),
        costs=tuple(
            tuple((float(sum(find_quantizer(label).size(w.rows, w.columns) for w in own)),) for label in names)
            for own, names in zip(blocks.values(), labels, strict=True)
        ),
        budgets=("size",),
        units=("bytes",),
        provenance=known.model_dump(mode="json"),
    )


def modules(*names: str, layers: int = 1) -> dict[str, tuple[Weight, ...]]:
    """Embedding, the named linears of every layer and the head, each as its own block."""
    inside = [linear(layer, name) for layer in range(layers) for name in names]
    return {weight.module: (weight,) for weight in (EMBEDDING, *inside, HEAD)}


def best(
    menu: Menu, costs: Mapping[tuple[str, str], int], budget: float, allowed: Callable[[dict[str, str]], bool]
) -> Fraction | None:
    """The least total loss within the budget over all choices of options that have a cost."""
    found = []
    for places in itertools.product(*(range(len(labels)) for labels in menu.options)):
        taken = {name: labels[j] for name, labels, j in zip(menu.names, menu.options, places, strict=True)}
        if all(cell in costs for cell in taken.items()) and allowed(taken):
            spent = sum(costs[cell] for cell in taken.items())
            if spent <= budget:
                rows = zip(menu.losses, places, strict=True)
                found.append(sum((Fraction(losses[j]) for losses, j in rows), Fraction(0)))
    return min(found, default=None)
