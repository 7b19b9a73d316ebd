"""Plans that take no account of the losses: one format everywhere, and the rule of llama.cpp's preset Q4_K_M."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from zetaplan.bits.sizes import quantisable
from zetaplan.menus.bits import bits_facts
from zetaplan.menus.menu import Menu
from zetaplan.models.quantizers.k_types import written


@dataclass(frozen=True)
class Preset:
    """A plan by a rule: its bytes in the menu, and the sum of its losses."""

    name: str
    bytes: float
    loss: float


def presets_of(menu: Menu) -> tuple[Preset, ...]:
    """Every format in all blocks that can be quantised, and the rule of Q4_K_M, where the menu holds them."""
    return tuple(preset for name, labels in _named(menu) if (preset := _preset(menu, name, labels)))


def _named(menu: Menu) -> Iterator[tuple[str, Mapping[str, str]]]:
    facts, able = bits_facts(menu), quantisable(menu)
    fixed = {name: labels[-1] for name, labels in zip(menu.names, menu.options, strict=True)}
    for label in dict.fromkeys(label for labels in menu.options for label in labels):
        yield f"{label} everywhere", fixed | dict.fromkeys(able, label)
    layers = len(dict.fromkeys(weight.layer for _, weight in facts.items() if weight.layer))
    rule: dict[str, set[str]] = {}
    for block, weight in facts.items():
        rule.setdefault(block, set()).add(q4_k_m(weight.name, weight.columns, layers))
    if all(len(labels) == 1 for labels in rule.values()):
        yield "like Q4_K_M", {block: label for block, (label,) in rule.items()}


def _preset(menu: Menu, name: str, labels: Mapping[str, str]) -> Preset | None:
    """None if a block lacks its format."""
    rows = list(zip(menu.names, menu.options, menu.losses, menu.costs, strict=True))
    if any(labels[block] not in options for block, options, _, _ in rows):
        return None
    places = [options.index(labels[block]) for block, options, _, _ in rows]
    size = sum(costs[j][0] for (_, _, _, costs), j in zip(rows, places, strict=True))
    return Preset(name, size, sum(losses[j] for (_, _, losses, _), j in zip(rows, places, strict=True)))


def q4_k_m(name: str, columns: int, layers: int) -> str:
    """The type of a tensor by the rule of llama.cpp's preset Q4_K_M, in the type that is written for its columns.

    q6_k for the head, and for the values and the last linear of the MLP in the first and the last eighth of the layers
    and in every third of the others; q4_k for the rest.
    """
    return written("q6_k" if raised(name, layers) else "q4_k", columns)


def raised(name: str, layers: int) -> bool:
    """Whether the preset Q4_K_M gives the tensor its larger type."""
    number = re.search(r"\.(\d+)\.", name)
    if number is None:
        return True
    layer, eighth = int(number[1]), layers // 8
    more = layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
    return more and any(part in name for part in ("v_proj", "down_proj"))
