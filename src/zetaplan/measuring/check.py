"""Check of a menu: the sum of the blocks' losses against the divergence of the whole model in one format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from zetaplan.measuring.source import Source
from zetaplan.menus.bits import WholeData
from zetaplan.models.operating_point import OperatingPoint
from zetaplan.scoring.text.sequences import Batch

#: A menu is validated if promised and measured divergence of every whole differ by at most this factor.
FACTOR = 2.0


def validated(wholes: Sequence[WholeData]) -> bool:
    """Whether promised and measured divergence of every whole differ by at most `FACTOR`."""
    pairs = (sorted((whole.promised, whole.measured)) for whole in wholes)
    return all(high <= FACTOR * low for low, high in pairs)


def checked_wholes(
    model: nn.Module,
    data: Sequence[Batch],
    source: Source,
    losses: Mapping[tuple[str, str], float],
    formats: Sequence[str],
) -> tuple[WholeData, ...]:
    """One comparison for every format that zetaplan can round to."""
    point = OperatingPoint(model, data)
    dense = point.reading({}).loss
    found = []
    for label in dict.fromkeys(formats):
        plan = {block: _nearest(label, [q.label for q in options]) for block, options in source.options.of.items()}
        changes: dict[str, Tensor] = {}
        roundings = list(source.roundings(plan))
        if any(rounding.values is None for _, rounding in roundings):
            continue
        for _, rounding in roundings:
            changes |= rounding.rounded
        reading = point.reading(changes)
        promised = sum(losses[cell] for cell in plan.items())
        found.append(
            WholeData(
                format=label,
                promised=promised,
                measured=float(reading.divergence.mean()),
                rise=float((reading.loss - dense).mean()),
            )
        )
    return tuple(found)


def _nearest(label: str, labels: Sequence[str]) -> str:
    return label if label in labels else labels[-1]  # options are ordered by size
