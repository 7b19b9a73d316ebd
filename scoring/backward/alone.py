"""Gradients of single sequences by plain differentiation, for modules whose use no pair describes.

Such a module is called twice with rows that belong to no sequence, or its weight is used outside of it: a convolution,
the states of a mixer, attention sinks, statistics of a router. One pass of every sequence alone gives the gradient of
all of them, whatever the model computes from their parameters.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zetaplan.scoring.backward.hooks import hooked
from zetaplan.scoring.backward.per_sequence import Pair, known
from zetaplan.scoring.model.causal import told
from zetaplan.scoring.model.losses import sequence_losses
from zetaplan.scoring.text.sequences import Batch


def gradients_alone(
    model: nn.Module, modules: Mapping[str, nn.Module], batch: Batch, weights: Tensor
) -> dict[str, Pair]:
    """Of every module the gradients (B, ...) of its own parameters, of each weighted loss; weights (B,)."""
    own = {name: list(module.parameters(recurse=False)) for name, module in modules.items()}
    parameters = list({id(p): p for several in own.values() for p in several}.values())
    rows: dict[int, list[Tensor]] = {id(p): [] for p in parameters}
    with hooked(model, ()), torch.enable_grad(), told(model):
        for parameter in parameters:
            parameter.requires_grad_(True)
        for i, weight in enumerate(weights):
            [loss] = sequence_losses(model, _alone(batch, i))
            found = torch.autograd.grad(loss * weight.to(loss), parameters, materialize_grads=True)
            for parameter, gradient in zip(parameters, found, strict=True):
                rows[id(parameter)].append(gradient)
    return {name: known(torch.stack(rows[id(p)]) for p in several) for name, several in own.items()}


def _alone(batch: Batch, i: int) -> Batch:
    """Sequence i without its padding."""
    length = int(batch["attention_mask"][i].nonzero().max()) + 1
    return {name: value[i : i + 1, :length] for name, value in batch.items()}
