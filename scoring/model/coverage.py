"""Modules without per-sequence gradients, found by one short pass before the real one.

Such a module is called twice, or never, or with rows that belong to no sequence: a convolution that is applied through
its weight, a norm over heads, the statistics of a router. A block is scored on its other parameters, and these are
listed as left out. Linears and experts are never left out, because plans count their weights.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from zetaplan.errors import ScoringError
from zetaplan.scoring.backward.hooks import PairHook, hooked
from zetaplan.scoring.model.blocks import Block, has_matrices
from zetaplan.scoring.model.causal import told
from zetaplan.scoring.model.losses import sequence_losses
from zetaplan.scoring.text.sequences import Batch

#: Sequences and tokens of the short pass.
SEQUENCES, TOKENS = 2, 16


@dataclass
class Trial(PairHook):
    """A hook that records its error instead of raising it."""

    refused: bool = False

    def forward(self, module: nn.Module, args: tuple[object, ...], kwargs: object, output: object) -> object:
        try:
            return super().forward(module, args, kwargs, output)
        except ScoringError:
            self.refused = True
            return None

    def _backward(self, inputs: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> None:
        try:
            super()._backward(inputs, gradients)
        except ScoringError:
            self.refused = True


def uncovered(model: nn.Module, parts: Sequence[Block], batch: Batch) -> frozenset[str]:
    """Names of the modules of the blocks, except linears and experts, without per-sequence gradients."""
    short = {name: value[:SEQUENCES, :TOKENS].clone() for name, value in batch.items()}
    short = {**short, "attention_mask": torch.ones_like(short["input_ids"]), "labels": short["input_ids"]}
    trials = [
        Trial(name, (module, *part.twins(name)), lambda name, module, pair: None)
        for part in parts
        for name, module in part.modules.items()
        if not has_matrices(module)
    ]
    if not trials:
        return frozenset()
    for trial in trials:
        trial.begin((short["labels"].shape[0], short["labels"].shape[1]))
    with hooked(model, trials), torch.enable_grad(), told(model):
        sequence_losses(model, short).sum().backward()  # type: ignore[no-untyped-call]
    return frozenset(trial.name for trial in trials if trial.refused or not trial.met)


def without(parts: Sequence[Block], names: Collection[str]) -> tuple[Block, ...]:
    """The blocks without the modules of these names."""
    return tuple(
        replace(part, modules={name: module for name, module in part.modules.items() if name not in names})
        for part in parts
    )
