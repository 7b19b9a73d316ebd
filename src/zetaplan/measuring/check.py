"""Check of a menu: the sum of the blocks' losses against the divergence of the whole model in one format."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from zetaplan.measuring.journal import Journal
from zetaplan.measuring.source import Cell, Source
from zetaplan.menus.bits import Weight, WholeData
from zetaplan.models.inputs import GRAM, Inputs
from zetaplan.models.inverse_hessian import gram_of
from zetaplan.models.layer_pass import Observed
from zetaplan.models.operating_point import Changes, OperatingPoint
from zetaplan.models.quantizers import Quantizer, find_quantizer
from zetaplan.scoring.distributed import Ranks
from zetaplan.scoring.model.streamed import Deferred, streamed
from zetaplan.scoring.text.sequences import Batch

#: A menu is validated if predicted and measured divergence of every whole differ by at most this factor.
FACTOR = 2.0


def validated(wholes: Sequence[WholeData]) -> bool | None:
    """Whether predicted and measured divergence of every whole differ by at most `FACTOR`; None if there are none."""
    if not wholes:
        return None
    pairs = (sorted((whole.promised, whole.measured)) for whole in wholes)
    return all(high <= FACTOR * low for low, high in pairs)


def checked_wholes(
    model: nn.Module,
    data: Sequence[Batch],
    source: Source,
    losses: Mapping[Cell, float],
    formats: Sequence[str],
    journal: Journal,
    ranks: Ranks,
) -> tuple[WholeData, ...]:
    """One comparison for every format that zetaplan can round to. Other blocks take their largest format."""
    whole, labels = _Whole(model, data, source, journal.run.folder), list(dict.fromkeys(formats))
    own = []
    for label in ranks.share(labels):
        plan = {block: _nearest(label, [q.label for q in options]) for block, options in source.options.of.items()}
        if all(find_quantizer(taken).rounds for taken in plan.values()):
            promised = math.fsum(losses[cell] for cell in plan.items())
            measured = journal.whole(plan, partial(whole.measured, plan))
            own.append({"format": label, "promised": promised, **measured})
    found = [WholeData(**each) for part in ranks.shared(own) for each in part]
    return tuple(sorted(found, key=lambda each: labels.index(each.format)))


@dataclass(frozen=True, eq=False)
class _Whole:
    model: nn.Module
    data: Sequence[Batch]
    source: Source
    folder: Path | None  # of the cache

    def measured(self, plan: Mapping[str, str]) -> dict[str, float]:
        """Divergence and rise of the loss with every block in its format."""
        point, dense = self._dense
        reading = point.reading(self._deferred(plan) if streamed(self.model) else self._rounded(plan))
        return {"measured": float(reading.divergence.mean()), "rise": float((reading.loss - dense).mean())}

    def _rounded(self, plan: Mapping[str, str]) -> dict[str, Tensor]:
        changes: dict[str, Tensor] = {}
        for _, rounding in self.source.roundings(frozenset(plan.items())):
            changes |= rounding.stored
        return changes

    def _deferred(self, plan: Mapping[str, str]) -> Changes:
        """The rounded values of a streamed model: those of a layer are computed each time that it is read."""
        if any(find_quantizer(label).calibrated for label in plan.values()):
            self._inputs.observe(GRAM, gram_of)  # of the unchanged model
        rules = {
            weight.name: (weight, Deferred(partial(self._value, block, weight, find_quantizer(label))))
            for block, label in plan.items()
            for weight in self.source.blocks[block]
        }
        return {name: rule if weight.layer else rule.compute() for name, (weight, rule) in rules.items()}

    def _value(self, block: str, weight: Weight, quantizer: Quantizer) -> Tensor:
        """The rounded values of one matrix, which is in memory, with its rows and columns in the parameter."""
        seen = self._inputs.observed(GRAM, gram_of, weight.name) if quantizer.calibrated else Observed()
        return self.source.rounding(block, (weight,), quantizer, seen).stored[weight.name]

    @cached_property
    def _inputs(self) -> Inputs:
        return Inputs(self.model, [*self.source.calibration], self.folder)

    @cached_property
    def _dense(self) -> tuple[OperatingPoint, NDArray[np.float64]]:
        point = OperatingPoint(self.model, self.data)
        return point, point.reading({}).loss


def _nearest(label: str, labels: Sequence[str]) -> str:
    return label if label in labels else labels[-1]  # options are ordered by size
