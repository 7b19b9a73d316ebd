"""Programs that load a quantised model. One file per program: its formats, its sizes, and what it stores as one.

A runtime states for every matrix whether it can store a format, how many bytes that takes, and which linears must have
the same format because it stores them in one tensor.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Protocol, cast

from zetaplan import _found
from zetaplan.errors import SpecError, shown
from zetaplan.menus.bits import BitsFacts, Weight
from zetaplan.models.quantizers import Quantizer


class Runtime(Protocol):
    """Interface of a module in `zetaplan.runtimes`.

    NAME : as on the command line. FUSED : the last parts of the names of linears that it stores in one tensor.
    """

    NAME: str
    FUSED: Sequence[Sequence[str]]

    def obstacle(self, quantizer: Quantizer, weight: Weight) -> str:
        """Why the runtime cannot load the matrix in this format, as one phrase; "" if it can."""

    def size(self, quantizer: Quantizer, weight: Weight) -> int:
        """The bytes of the stored matrix."""

    def kept(self, numel: int) -> int:
        """The bytes of a parameter that is no matrix of the plan."""


def runtime_names() -> tuple[str, ...]:
    """The names of the runtimes, one file each."""
    return tuple(module.NAME for module in _found.modules(sys.modules[__name__]).values())


def find_runtime(name: str) -> Runtime:
    """The runtime of this name. Raises SpecError, with all names, for an unknown one."""
    known = {module.NAME: module for module in _found.modules(sys.modules[__name__]).values()}
    if not isinstance(name, str) or name not in known:
        raise SpecError(f"for = {shown(name)}: expected one of {', '.join(known)}")
    return cast(Runtime, known[name])


def runtime_of(facts: BitsFacts) -> Runtime:
    """The runtime whose rules a menu follows. Raises SpecError if it follows none."""
    return find_runtime(facts.runtime or "")


def fused(runtime: Runtime, weights: Iterable[Weight]) -> list[tuple[str, ...]]:
    """The names of the matrices that the runtime stores in one tensor, two or more together."""
    found: dict[tuple[str, Sequence[str]], list[str]] = {}
    for weight in weights:
        parent, _, last = weight.module.rpartition(".")
        for group in runtime.FUSED:
            if last in group:
                found.setdefault((parent, group), []).append(weight.name)
        if weight.count > 1:
            found.setdefault((weight.module, "experts"), []).append(weight.name)
    return [tuple(names) for names in found.values() if len(names) > 1]
