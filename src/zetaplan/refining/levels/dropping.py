"""Decoder layers that stay or are left out. budget : the number of layers to leave out, at least 1."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from zetaplan.errors import SpecError, shown
from zetaplan.menus.layers import DROP, KEEP
from zetaplan.models.inputs import Inputs
from zetaplan.models.operating_point import Changes
from zetaplan.refining.levels import Levels
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.text.sequences import Batch


def methods() -> tuple[str, ...]:
    return (DROP,)


def levels(method: str, *, inputs: Inputs, budget: str, blocks: str | None = None, **_: Any) -> Levels:
    names = [block.name for block in partition(inputs.model, "layers")]
    if blocks not in (None, "layers"):
        raise SpecError(f"blocks = {shown(blocks)}: layers are left out whole; expected 'layers'")
    if not (budget.isascii() and budget.isdigit() and 0 < int(budget) < len(names)):
        raise SpecError(f"budget = {shown(budget)}: expected the number of layers to leave out, 1 to {len(names) - 1}")
    return Dropping(inputs, names, int(budget))


class Dropping(Levels):
    """uniform : layers evenly spaced over the depth are left out."""

    differentiable = smooth = False
    kind = "layers"
    resource, unit = "layers kept", "layers"

    def __init__(self, inputs: Inputs, names: list[str], count: int) -> None:
        self.inputs = inputs
        self.costs = {name: {DROP: 0, KEEP: 1} for name in names}
        self.budget = len(names) - count
        self.uniform = self._without({(2 * i + 1) * len(names) // (2 * count) for i in range(count)})

    def starts(self, data: Sequence[Batch], *, progress: bool = False) -> tuple[dict[str, str], ...]:
        """Uniform, and every contiguous run of layers: good plans are nearer to one of these."""
        count = len(self.costs) - self.budget
        runs = (self._without(range(first, first + count)) for first in range(self.budget + 1))
        return (dict(self.uniform), *runs)

    def values(self, block: str, option: str) -> Changes:
        return {block: None} if option == DROP else {}

    def _without(self, places: Collection[int]) -> dict[str, str]:
        return {name: DROP if place in places else KEEP for place, name in enumerate(self.costs)}

    def facts(self) -> dict[str, Any]:
        return {
            "decides": "layers",
            "model": self.inputs.name,
            "model_sha256": self.inputs.sha256,
        }
