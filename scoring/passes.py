"""The pass over N sequences that shows every module of every block its pairs (input, gradient of the output).

Sequences do not interact, so one backward pass of the sum of their losses carries the gradient of each.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from zetaplan.errors import ScoringError
from zetaplan.scoring.blocks import Block
from zetaplan.scoring.capture import Capture, captured
from zetaplan.scoring.losses import require_finite, sequence_losses
from zetaplan.scoring.per_sequence import Pairs
from zetaplan.scoring.sequences import Batch


def backward_pass(
    model: nn.Module,
    parts: Sequence[Block],
    data: Sequence[Batch],
    consume: Callable[[int, str, nn.Module, Pairs], None],
    weights: Sequence[Tensor],
    progress: bool = False,
) -> Tensor:
    """The losses (N,) in float64; `consume(block, name, module, pairs)` meets every module with all sequences.

    Args:
        model: left as it was found.
        parts: the blocks; `consume` is told their index.
        data: batches, N sequences in all.
        consume: called once per module, when it has met its last sequence.
        weights: of each sequence's loss in the backward pass, (B,) per batch.
        progress: show a progress bar.

    Raises:
        ScoringError: a loss or a gradient is not finite, or a module cannot be captured.
    """
    sequences = sum(len(batch["labels"]) for batch in data)
    modules = sum(len(part.modules) for part in parts)
    with tqdm(total=modules * sequences, desc="scoring", unit="gradients", disable=not progress) as bar:
        captures = [
            Capture(name, (module, *part.twins(name)), sequences, partial(consume, index), bar.update)
            for index, part in enumerate(parts)
            for name, module in part.modules.items()
        ]
        _probe(model, data[0])
        with captured(model, captures), torch.enable_grad():
            return torch.cat([_batch_losses(model, *item, captures) for item in zip(data, weights, strict=True)])


def _batch_losses(model: nn.Module, batch: Batch, weights: Tensor, captures: Sequence[Capture]) -> Tensor:
    done = captures[0].seen
    for capture in captures:
        capture.shape = (batch["labels"].shape[0], batch["labels"].shape[1])
    losses = sequence_losses(model, batch)
    require_finite(losses, model, done)
    (losses @ weights.to(losses)).backward()  # type: ignore[no-untyped-call]
    for capture in captures:
        capture.require(done + len(losses))
    return losses.detach().cpu().double()


def _probe(model: nn.Module, batch: Batch, tokens: int = 16) -> None:
    """Two forward passes of one short sequence must agree, else the scores would not repeat."""
    short = {name: value[:1, :tokens].clone() for name, value in batch.items()}
    short["labels"] = short["input_ids"].clone()
    with captured(model, ()), torch.no_grad():
        first, second = (sequence_losses(model, short) for _ in range(2))
    if not torch.allclose(first, second, rtol=torch.finfo(first.dtype).eps ** 0.5, atol=0, equal_nan=True):
        raise ScoringError(
            f"model: two passes of the same sequence gave the losses {first.item()} and {second.item()}; the "
            "model draws random numbers in evaluation mode, switch that off before scoring"
        )
