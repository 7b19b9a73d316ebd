"""The rounded values of every format of every block, computed layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from zetaplan.errors import ScoringError
from zetaplan.measuring.blocks import Blocks
from zetaplan.measuring.estimators import Rounding
from zetaplan.measuring.options import Options
from zetaplan.models.layer_pass import layer_pass
from zetaplan.models.quantizers import Quantizer
from zetaplan.models.weights import matrices
from zetaplan.scoring.text.sequences import Batch


@dataclass(frozen=True, eq=False)
class Source:
    """Rounded values of every option, layer by layer, so that the input statistics of one layer are in memory."""

    model: nn.Module
    blocks: Blocks
    options: Options
    calibration: Sequence[Batch]

    def roundings(self, wanted: Mapping[str, str] | None = None) -> Iterator[tuple[tuple[str, str], Rounding]]:
        """((block, label), rounding) of all options, or only of the label `wanted` of every block."""
        for names, grams in self._visits:
            for block in names:
                members = self.blocks[block]
                exact = {weight.name: matrices(self.model, weight).float() for weight in members}
                for quantizer in self.options.of[block]:
                    if wanted is None or wanted[block] == quantizer.label:
                        values = self._values(block, quantizer, exact, grams)
                        yield (block, quantizer.label), Rounding(members, quantizer, exact, values)

    @property
    def _visits(self) -> Iterator[tuple[list[str], Mapping[str, Tensor]]]:
        """Names of blocks with X'X of their linears, by name of the module; X'X only if a format uses it."""
        outside = [name for name, members in self.blocks.items() if not members[0].layer]
        yield outside, {}
        inside = self._by_layer
        if not any(quantizer.calibrated for options in self.options.of.values() for quantizer in options):
            yield from ((names, {}) for names in inside.values())
            return
        chosen = {weight.module: weight for name, members in self.blocks.items() for weight in members if weight.layer}
        for layer, grams in layer_pass(self.model, self.calibration, lambda inputs: inputs.mT @ inputs, chosen):
            yield inside.get(layer.name, []), grams

    @cached_property
    def _by_layer(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, members in self.blocks.items():
            if members[0].layer:
                found.setdefault(members[0].layer, []).append(name)
        return found

    def _values(
        self, block: str, quantizer: Quantizer, exact: Mapping[str, Tensor], grams: Mapping[str, Tensor]
    ) -> dict[str, Tensor] | None:
        if not quantizer.rounds:
            return None
        own = {weight.name: grams.get(weight.module) for weight in self.blocks[block]}
        try:
            return {
                name: torch.stack([quantizer.rounded(matrix, own[name]) for matrix in value])
                for name, value in exact.items()
            }
        except ScoringError as error:
            raise ScoringError(f"block {block!r}: {error}") from error
