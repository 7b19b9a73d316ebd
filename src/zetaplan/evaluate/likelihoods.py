"""Log-likelihoods of every token of a row, given the tokens before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from zetaplan.errors import ScoringError


@torch.inference_mode()
def log_likelihoods(model: nn.Module, rows: Sequence[Tensor]) -> list[Tensor]:
    """log p(token | tokens before it) of every token of each row except the first, float64."""
    device = next(model.parameters()).device
    ids = nn.utils.rnn.pad_sequence(list(rows), batch_first=True).to(device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    mask = (torch.arange(ids.shape[1], device=device) < lengths[:, None]).long()
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    exact = torch.promote_types(logits.dtype, torch.float32)
    losses = [  # row by row, because the logits are by far the largest tensor: no second copy of all
        functional.cross_entropy(row.to(exact), targets, reduction="none")
        for row, targets in zip(logits, ids[:, 1:], strict=True)
    ]
    found = -torch.stack(losses).double()
    if not found[mask[:, 1:].bool()].isfinite().all():
        raise ScoringError("model: a log-likelihood is not finite; the weights are damaged, or try dtype float32")
    return [row[: length - 1].cpu() for row, length in zip(found, lengths.tolist(), strict=True)]
