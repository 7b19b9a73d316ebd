"""Blocks of a menu of formats: single matrices, groups that are stored together, or decoder layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from zetaplan.errors import SpecError, shown
from zetaplan.menus.bits import Weight
from zetaplan.runtimes import vllm

Blocks = Mapping[str, tuple[Weight, ...]]


def by_module(weight: Weight) -> str:
    """Every matrix by itself; all matrices of a module of experts together."""
    return weight.module


def by_fusion(weight: Weight) -> str:
    """Linears that vLLM stores in one tensor together: q, k and v; gate and up."""
    parent, _, last = weight.module.rpartition(".")
    group = next((group for group in vllm.FUSED if last in group), (last,))
    return f"{parent}.{'+'.join(group)}" if parent else last


def by_layer(weight: Weight) -> str:
    """All matrices of a decoder layer together."""
    return weight.layer or weight.module


PARTITIONS: Mapping[str, Callable[[Weight], str]] = {"modules": by_module, "fused": by_fusion, "layers": by_layer}


def grouped(weights: Iterable[Weight], blocks: str) -> Blocks:
    """The matrices by block. blocks : "modules", "fused" or "layers"; embedding and head are always on their own."""
    if not isinstance(blocks, str) or blocks not in PARTITIONS:
        raise SpecError(f"blocks = {shown(blocks)}: expected one of {', '.join(PARTITIONS)}")
    found: dict[str, tuple[Weight, ...]] = {}
    for weight in weights:
        name = PARTITIONS[blocks](weight)
        found[name] = (*found.get(name, ()), weight)
    return found
