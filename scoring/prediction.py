"""Test of Lemma 1 on a real model: take the step d* = -(H + tau I)^-1 g in one block, and measure the loss.

The quadratic model predicts that the loss falls by zeta^2 / 2. The loss is measured on the text that was scored and on
held-out text. Each block is restored before the next block takes its step.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers.pytorch_utils import Conv1D

from zetaplan.scoring.backward.backward import backward_pass
from zetaplan.scoring.backward.pair_store import PairStore
from zetaplan.scoring.backward.per_sequence import Pairs
from zetaplan.scoring.curvature import Curvature, MatrixFree, OnePass
from zetaplan.scoring.model.blocks import Block
from zetaplan.scoring.model.losses import mean_loss
from zetaplan.scoring.model.passes import Passes
from zetaplan.scoring.scores import Vector
from zetaplan.scoring.text.sampling import rows
from zetaplan.scoring.text.sequences import Batch

Step = Mapping[str, Tensor]  # by qualified name of the parameter, each in its shape


def decreases(
    model: nn.Module,
    parts: Sequence[Block],
    curvatures: Sequence[Curvature],
    taus: Sequence[float],
    data: Sequence[Batch],
    held_out: Sequence[Batch],
    store: PairStore | None = None,
    passes: Passes | None = None,
    progress: bool = False,
) -> tuple[Vector, Vector]:
    """The decrease of the loss of `data`, and of `held_out`, when each block alone takes its step; (K,) each, nats.

    A store that still has the pairs of the data saves the second pass. passes : see `backward_pass`. progress : show a
    bar of the blocks.
    """
    steps = _steps(model, parts, curvatures, taus, data, store, passes, progress)
    before = [mean_loss(model, text) for text in (data, held_out)]
    shown = tqdm(steps, desc="steps", unit="blocks", disable=not progress)
    falls = np.array([_fall(model, step, before, (data, held_out)) for step in shown])
    falls[~np.isfinite(falls)] = np.nan
    return falls[:, 0], falls[:, 1]


def _fall(model: nn.Module, step: Step, before: Sequence[float], texts: Sequence[Sequence[Batch]]) -> list[float]:
    parameters = {name: model.get_parameter(name) for name in step}
    kept = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.add_(step[name].to(parameter))
        return [loss - mean_loss(model, text) for loss, text in zip(before, texts, strict=True)]
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(kept[name])


def _steps(
    model: nn.Module,
    parts: Sequence[Block],
    curvatures: Sequence[Curvature],
    taus: Sequence[float],
    data: Sequence[Batch],
    store: PairStore | None,
    passes: Passes | None,
    progress: bool,
) -> list[Step]:
    if all(isinstance(curvature, OnePass) for curvature in curvatures):
        return _one_pass_steps(model, parts, curvatures, taus, data, store, passes, progress)
    return [
        _unflattened(part.named_parameters, curvature.step(tau))
        for part, curvature, tau in zip(parts, curvatures, taus, strict=True)
        if isinstance(curvature, MatrixFree)
    ]


def _one_pass_steps(
    model: nn.Module,
    parts: Sequence[Block],
    curvatures: Sequence[Curvature],
    taus: Sequence[float],
    data: Sequence[Batch],
    store: PairStore | None,
    passes: Passes | None,
    progress: bool,
) -> list[Step]:
    rules = [c.step(tau) for c, tau in zip(curvatures, taus, strict=True) if isinstance(c, OnePass)]
    steps: list[dict[str, Tensor]] = [{} for _ in parts]

    def consume(index: int, name: str, module: nn.Module, pairs: Pairs) -> None:
        own = {f"{name}.{key}": value for key, value in module.named_parameters(recurse=False)}
        step = rules[index](name, module, pairs).cpu()
        steps[index] |= _unflattened(
            own, step, transposed=isinstance(module, Conv1D) and name not in parts[index].alone
        )

    drawn = any(c.statistic.drawn for c in curvatures if isinstance(c, OnePass))
    batches, weights = rows(model, data, drawn)
    backward_pass(model, parts, batches, consume, weights, progress, store, passes=passes)
    return list(steps)


def _unflattened(parameters: Mapping[str, Tensor], step: Tensor, transposed: bool = False) -> dict[str, Tensor]:
    """The step in the shapes of the parameters. A `Conv1D` has a gradient (out, in) and a weight (in, out)."""
    pieces = torch.split(step, [parameter.numel() for parameter in parameters.values()])
    shaped = {}
    for (name, parameter), piece in zip(parameters.items(), pieces, strict=True):
        turned = transposed and parameter.ndim == 2
        shaped[name] = piece.view(parameter.shape[::-1]).mT if turned else piece.view(parameter.shape)
    return shaped
