"""The rounded values of every format of every block, computed layer by layer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from zetaplan.measuring.blocks import Blocks
from zetaplan.measuring.estimators import Rounding
from zetaplan.measuring.options import Options
from zetaplan.models.inverse_hessian import gram_of
from zetaplan.models.layer_pass import layer_pass
from zetaplan.models.weights import matrices
from zetaplan.scoring.text.sequences import Batch

Cell = tuple[str, str]  # a block and the label of a format


@dataclass(frozen=True, eq=False)
class Source:
    """Rounded values of every option, layer by layer, so that the input statistics of one layer are in memory."""

    model: nn.Module
    blocks: Blocks
    options: Options
    calibration: Sequence[Batch]

    def roundings(self, wanted: Collection[Cell]) -> Iterator[tuple[Cell, Rounding]]:
        """The roundings of the wanted options."""
        for names, grams in self._visits(wanted):
            for block in names:
                members = self.blocks[block]
                for quantizer in self.options.of[block]:
                    if (block, quantizer.label) in wanted:
                        exact = {weight.name: matrices(self.model, weight).float() for weight in members}
                        own = {w.name: grams[w.module] for w in members if w.module in grams}
                        yield (block, quantizer.label), Rounding(block, members, quantizer, exact, own)

    def _visits(self, wanted: Collection[Cell]) -> Iterator[tuple[list[str], Mapping[str, Tensor]]]:
        """Names of blocks with X'X of their linears, by name of the module; X'X only if a wanted format uses it."""
        yield [name for name, members in self.blocks.items() if not members[0].layer], {}
        calibrated = {q.label for options in self.options.of.values() for q in options if q.calibrated}
        if not any(label in calibrated for _, label in wanted):
            yield from ((names, {}) for names in self._by_layer.values())
            return
        for layer, grams in layer_pass(self.model, self.calibration, gram_of, self._linears):
            yield self._by_layer.get(layer.name, []), grams

    @cached_property
    def _linears(self) -> Mapping[str, object]:
        """Modules whose inputs are those of their matrix; a module of experts gives each of them other tokens."""
        inside = (weight for members in self.blocks.values() for weight in members if weight.layer)
        return {weight.module: weight for weight in inside if weight.count == 1}

    @cached_property
    def _by_layer(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, members in self.blocks.items():
            if members[0].layer:
                found.setdefault(members[0].layer, []).append(name)
        return found
