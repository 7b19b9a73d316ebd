"""Levels of the share of a block's linear weights that is removed, in steps. Methods of this kind share one base.

budget : the share of the linear weights to remove, above 0 and below 1. The inputs of a linear are those of the
unchanged model, so that the weights of a level depend on nothing but the level. By default blocks are single linears
where derivatives predict all moves at once, and layers where every move is measured.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import ceil
from typing import Any

from zetaplan import _quantities
from zetaplan.errors import ScoringError, SpecError, shown
from zetaplan.models.inputs import Inputs
from zetaplan.refining.levels import Levels, by_block
from zetaplan.scoring.measure import score
from zetaplan.scoring.text.sequences import Batch

STEP = "0.05"

#: Exponents of the plans by zeta^2 that a refinement may begin with, and the largest share that they remove.
KAPPAS, CAP = (0.25, 0.5, 1.0), 0.8


def default_blocks(moves: str) -> str:
    """The blocks that get a level, if none are given."""
    return "layers" if moves == "measured" else "modules"


def require_calibration(method: str, inputs: Inputs, other: str) -> None:
    """Raise ScoringError without a calibration text. other : a method that needs none."""
    if not inputs.calibration:
        raise ScoringError(f"calibration: {method} needs a calibration text; give one, or use {other!r}")


class Shares(Levels):
    """sizes : linear weights by block."""

    resource, unit = "weights kept", "weights"

    def __init__(
        self,
        method: str,
        inputs: Inputs,
        kind: str,
        sizes: Mapping[str, int],
        *,
        budget: str,
        step: str = STEP,
        start: Mapping[str, str] | None = None,
        stride: int = 1,
        **_: Any,
    ) -> None:
        self.method, self.inputs, self.kind, self.sizes, self.stride = method, inputs, kind, sizes, stride
        share, width, total = _share("budget", budget), _share("step", step), sum(sizes.values())
        given = by_block(start or {}, sizes)
        anchors = {name: _share(f"plan[{name!r}]", given.get(name, share)) for name in sizes}
        self.costs = {name: self._levels(name, anchor, width / stride) for name, anchor in anchors.items()}
        self.budget = total - ceil(Fraction(share) * total)
        self.uniform = dict.fromkeys(sizes, _label(share))

    def _levels(self, block: str, anchor: Decimal, step: Decimal) -> dict[str, int]:
        """The cost of every level of a block; of levels that keep equally many weights one, the anchor if it does."""
        labels = (*_ladder(anchor, step), _label(anchor))
        return {label: cost for cost, label in {self.cost(block, label): label for label in labels}.items()}

    @abstractmethod
    def cost(self, block: str, option: str) -> int:
        """The weights that are stored of the block; at most those that the share leaves."""

    def starts(self, data: Sequence[Batch], *, progress: bool = False) -> tuple[Mapping[str, str], ...]:
        """Uniform, and plans of the pruning program by the gains zeta^2 of the layers, on these levels."""
        scores = score(self.inputs.model, list(data), progress=progress)
        gains = dict(zip(scores.names, scores.gain.tolist(), strict=True))
        return (self.uniform, *(self._by_gain(gains, kappa) for kappa in KAPPAS))

    def _by_gain(self, gains: Mapping[str, float], kappa: float) -> Mapping[str, str]:
        """The least sum of zeta^(2 kappa) rho^2 over layers; a layer's linears count by their sizes."""
        layers = by_block({name: name for name in gains}, self.costs)
        totals = dict.fromkeys(gains, 0)
        for block, layer in layers.items():
            totals[layer] += self.sizes[block]
        losses = {
            block: {
                option: gains[layer] ** kappa * self.sizes[block] / totals[layer] * float(option) ** 2
                for option in self.costs[block]
                if float(option) <= max(CAP, float(self.uniform[block]))
            }
            for block, layer in layers.items()
        }
        return self.chosen(losses)[0]

    def spelled(self, option: str) -> str:
        """The shortest spelling of a share, such as 0.45 of "0.450" or "45%"."""
        try:
            return _label(_share("plan", option))
        except SpecError:
            return option


def _ladder(anchor: Decimal, step: Decimal) -> list[str]:
    """The shares anchor + i step within [0, 1), largest first: in the order of their costs."""
    below = int(anchor / step)
    count = int((1 - anchor) / step) + below
    shares = (anchor + (i - below) * step for i in range(count, -1, -1))
    return [_label(share) for share in shares if 0 <= share < 1]


def _label(share: Decimal) -> str:
    return format(share.normalize(), "f")


def _share(argument: str, text: object) -> Decimal:
    try:
        share = Decimal(str(_quantities.share(text)))
    except (ValueError, InvalidOperation):
        share = Decimal("NaN")
    least = Decimal(0) if argument.startswith("plan") else Decimal("1e-6")
    if not (share.is_finite() and least <= share < 1):
        raise SpecError(
            f"{argument} = {shown(text)}: expected a share of the weights, above 0 and below 1, such as 0.5"
        )
    return share
