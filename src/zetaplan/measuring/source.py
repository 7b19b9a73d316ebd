"""The rounded values of every format of every block, computed layer by layer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from zetaplan.measuring.blocks import Blocks
from zetaplan.measuring.estimators import Rounding
from zetaplan.measuring.options import Options
from zetaplan.menus.bits import Weight
from zetaplan.models.inverse_hessian import gram_of
from zetaplan.models.layer_pass import Observed, layer_pass, layers_in_memory
from zetaplan.models.quantizers import Quantizer, find_quantizer
from zetaplan.models.statistic import statistics_of
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
                        yield (block, quantizer.label), self.rounding(block, members, quantizer, grams)

    def rounding(self, block: str, members: Sequence[Weight], quantizer: Quantizer, grams: Observed) -> Rounding:
        """Matrices of a block, which are in memory, in one format. grams : X'X of their inputs, if it uses them."""
        exact = {weight.name: matrices(self.model, weight).float() for weight in members}
        inputs = {weight.name: statistics_of(weight, grams) for weight in members}
        return Rounding(block, members, quantizer, exact, inputs)

    def _visits(self, wanted: Collection[Cell]) -> Iterator[tuple[list[str], Observed]]:
        """Names of blocks with X'X of the matrices of which a wanted format uses it."""
        yield [name for name, members in self.blocks.items() if not members[0].layer], Observed()
        calibrated = {block for block, label in wanted if find_quantizer(label).calibrated}
        if not (used := {w.name for block in calibrated for w in self.blocks[block] if w.layer}):
            yield from ((self._by_layer.get(layer.name, []), Observed()) for layer in layers_in_memory(self.model))
            return
        for layer, grams in layer_pass(self.model, self.calibration, gram_of, used):
            yield self._by_layer.get(layer.name, []), grams

    @cached_property
    def _by_layer(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, members in self.blocks.items():
            if members[0].layer:
                found.setdefault(members[0].layer, []).append(name)
        return found
