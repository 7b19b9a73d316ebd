"""Formats of the matrices of the decoder layers. budget : stored bits per weight, or a format: the bytes of all in it.

Embedding and head keep their values. X'X for GPTQ is that of the unchanged model. By default, blocks are single
linears; "fused" are linears that vLLM stores in one tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import floor, isfinite
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from zetaplan.errors import InfeasibleError, ScoringError, SpecError, shown
from zetaplan.measuring.blocks import grouped
from zetaplan.measuring.estimators.fisher import quadratic
from zetaplan.measuring.moments import moments, squares_by_layer
from zetaplan.measuring.options import size
from zetaplan.menus.bits import Weight
from zetaplan.models.inputs import GRAM, Inputs, Observe
from zetaplan.models.inverse_hessian import gram_of
from zetaplan.models.layer_pass import Observed, in_memory_with
from zetaplan.models.operating_point import Changes
from zetaplan.models.quantizers import Quantizer, find_quantizer
from zetaplan.models.statistic import FEW, statistics_of
from zetaplan.models.weights import facts_of, in_place, matrices, weights
from zetaplan.refining.levels import Levels
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.streamed import streamed
from zetaplan.scoring.text.sequences import Batch

#: The options of every block, if none are given.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "rtn": tuple(f"int{bits}-g64-asym" for bits in (2, 3, 4, 5, 6, 8)),
    "gptq": tuple(f"gptq{bits}-g64-asym" for bits in (2, 3, 4, 5, 6, 8)),
    "gguf": ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0"),
}


def methods() -> tuple[str, ...]:
    return tuple(OPTIONS)


def levels(
    method: str, *, inputs: Inputs, budget: str, blocks: str | None = None, options: Sequence[str] = (), **_: Any
) -> Levels:
    found = [find_quantizer(label) for label in options or OPTIONS[method]]
    if silent := [quantizer.label for quantizer in found if not quantizer.rounds]:
        raise SpecError(f"options: {silent[0]} is rounded by another tool, so it cannot be measured here")
    return Formats(inputs, blocks or "modules", found, budget)


class Formats(Levels):
    """Not smooth: the rounding errors of two formats are unrelated, so that no step between them is small."""

    smooth = False
    resource, unit = "size", "bytes"

    def __init__(self, inputs: Inputs, blocks: str, options: Sequence[Quantizer], budget: str) -> None:
        self.inputs, self.kind, self.options = inputs, blocks, {quantizer.label: quantizer for quantizer in options}
        if any(quantizer.calibrated for quantizer in options) and not inputs.calibration:
            raise ScoringError("calibration: gptq needs a calibration text; give one, or use 'rtn'")
        self.weights = grouped((weight for weight in weights(inputs.model) if weight.layer), blocks)
        self.costs = {block: self._ladder(block, members) for block, members in self.weights.items()}
        self.budget = self._bytes(budget)
        self.uniform = self._uniform()

    def starts(self, data: Sequence[Batch], *, progress: bool = False) -> tuple[Mapping[str, str], ...]:
        """Uniform, and the best choice by the diagonal of the Fisher matrix: e' F e / 2 of the rounding errors e.

        Uniform alone for a streamed model that cannot be passed by layer.
        """
        model, losses = self.inputs.model, dict[str, dict[str, float]]()
        members = [weight for own in self.weights.values() for weight in own]

        def add(found: Mapping[str, Tensor]) -> None:
            for block in (block for block, own in self.weights.items() if own[0].name in found):
                losses[block] = {o: quadratic(found, self._errors(block, o)) for o in self.costs[block]}

        with eval_mode(model), torch.no_grad():
            if streamed(model):
                squares_by_layer(model, data, members, add, progress)
            else:
                rows = tqdm(data, desc="fisher", unit="batch", disable=not progress)
                add({name: own.square for name, own in moments(model, rows, members).items()})
        if not losses:
            return (self.uniform,)
        return (self.uniform, self.chosen({block: losses[block] for block in self.costs})[0])

    def _errors(self, block: str, option: str) -> Iterator[tuple[str, Tensor]]:
        """Rounded minus exact values (count, rows, columns), float32, of one parameter after the other, by its name."""
        for weight in self.weights[block]:
            exact = matrices(self.inputs.model, weight).float()
            own = self._rounded(weight, self.options[option]).float()
            yield weight.name, in_place(weight, own.reshape(in_place(weight, exact).shape)) - exact

    def values(self, block: str, option: str) -> Changes:
        members, model = self.weights[block], self.inputs.model
        with in_memory_with(model, [model.get_submodule(weight.module) for weight in members]):
            return {weight.name: self._rounded(weight, self.options[option]) for weight in members}

    def parameters(self, block: str) -> tuple[str, ...]:
        return tuple(weight.name for weight in self.weights[block])

    def observations(self) -> Mapping[str, Observe]:
        return {GRAM: gram_of} if any(quantizer.calibrated for quantizer in self.options.values()) else {}

    def facts(self) -> dict[str, Any]:
        inputs = self.inputs
        return facts_of(inputs.model, self.weights, model=inputs.name, model_sha256=inputs.sha256).model_dump(
            mode="json"
        )

    def _ladder(self, block: str, members: Sequence[Weight]) -> dict[str, int]:
        for label, quantizer in self.options.items():
            for weight in members:
                if why := quantizer.obstacle(weight.rows, weight.columns):
                    raise SpecError(f"options: {label} cannot store {weight.name!r}: {why}; give other options")
        sizes = {label: size(quantizer, members) for label, quantizer in self.options.items()}
        return dict(sorted(sizes.items(), key=lambda item: item[1]))

    def _bytes(self, budget: str) -> int:
        if budget in self.options:
            return sum(sizes[budget] for sizes in self.costs.values())
        try:
            bits = float(budget)
        except ValueError:
            bits = -1.0
        if not (isfinite(bits) and bits > 0):
            raise SpecError(
                f"budget = {shown(budget)}: expected stored bits per weight, or one of {', '.join(self.options)}"
            )
        return floor(bits * sum(weight.numel for members in self.weights.values() for weight in members) / 8)

    def _uniform(self) -> dict[str, str]:
        """The largest format that all blocks can have within the budget."""
        totals = {label: sum(sizes[label] for sizes in self.costs.values()) for label in self.options}
        if not (within := {label: total for label, total in totals.items() if total <= self.budget}):
            least = min(totals, key=totals.__getitem__)
            raise InfeasibleError(
                f"budget: {self.budget:,} bytes hold no format for all blocks; {least} takes {totals[least]:,}"
            )
        return dict.fromkeys(self.weights, max(within, key=within.__getitem__))

    def _rounded(self, weight: Weight, quantizer: Quantizer) -> Tensor:
        if not quantizer.calibrated:
            return self._stored(weight, quantizer, Observed())
        observed = self.inputs.observed(GRAM, gram_of, weight.name)
        facts = {"format": quantizer.label, "weight": weight.name, **({"few": FEW} if weight.count > 1 else {})}
        return self.inputs.kept(facts, lambda: {"weight": self._stored(weight, quantizer, observed)})["weight"]

    def _stored(self, weight: Weight, quantizer: Quantizer, observed: Observed) -> Tensor:
        parts = zip(matrices(self.inputs.model, weight), statistics_of(weight, observed), strict=True)
        rounded = torch.stack([quantizer.rounded(part, seen.value) for part, seen in parts])
        parameter = self.inputs.model.get_parameter(weight.name)
        return in_place(weight, rounded).reshape(parameter.shape).to(parameter.dtype)
