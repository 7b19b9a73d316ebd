"""Predictions of every token of a row, given the tokens before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from zetaplan.errors import ScoringError
from zetaplan.scoring.model.causal import told


@torch.inference_mode()
def predictions(model: nn.Module, rows: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Of each row of n ids the logits (n - 1, V) of all its tokens but the first, as computed, and their ids (n - 1,).

    Both are on the model's device. The logits are views of one tensor (rows, longest, V).
    """
    device = next(model.parameters()).device
    ids = nn.utils.rnn.pad_sequence(list(rows), batch_first=True).to(device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    mask = (torch.arange(ids.shape[1], device=device) < lengths[:, None]).long()
    with told(model):
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return [
        (row[: len(given) - 1], targets[1 : len(given)]) for row, targets, given in zip(logits, ids, rows, strict=True)
    ]


@torch.inference_mode()
def log_likelihoods(model: nn.Module, rows: Sequence[Tensor]) -> list[Tensor]:
    """log p(token | tokens before it) of every token of each row except the first, float64."""
    # Row by row, because the logits are by far the largest tensor: no second copy of all of them in float32.
    return [
        finite(-functional.cross_entropy(logits.to(exact(logits)), targets, reduction="none"))
        for logits, targets in predictions(model, rows)
    ]


def exact(*logits: Tensor) -> torch.dtype:
    """The dtype in which the logits are normalised: float32, or float64 if one of them has it."""
    dtype = torch.float32
    for each in logits:
        dtype = torch.promote_types(dtype, each.dtype)
    return dtype


def finite(values: Tensor, subject: str = "model: a log-likelihood") -> Tensor:
    """The values on the CPU in float64. Raises ScoringError if one of them is not finite; subject : what they are."""
    if not values.isfinite().all():
        raise ScoringError(f"{subject} is not finite; the weights are damaged, or try dtype float32")
    return values.cpu().double()
