"""The loss: of a sequence, the mean cross-entropy over its labelled tokens; of the data, the mean over sequences."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from zetaplan.errors import ScoringError
from zetaplan.scoring.sequences import IGNORED, Batch


def sequence_losses(model: nn.Module, batch: Batch) -> Tensor:
    """Mean cross-entropy (B,) of each sequence over its labelled tokens, each predicted from those before it."""
    inputs = {name: value.to(next(model.parameters()).device) for name, value in batch.items()}
    following = functional.pad(inputs.pop("labels")[:, 1:], (0, 1), value=IGNORED)
    logits = model(**inputs, use_cache=False).logits
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    losses = functional.cross_entropy(logits.flatten(0, 1), following.flatten(), reduction="none", ignore_index=IGNORED)
    return losses.view_as(following).sum(1) / (following != IGNORED).sum(1)


def mean_loss(model: nn.Module, data: Sequence[Batch]) -> float:
    """The loss of the data, nats, as the model stands and without gradients."""
    with torch.no_grad():
        return float(torch.cat([sequence_losses(model, batch).double().cpu() for batch in data]).mean())


def require_finite(losses: Tensor, model: nn.Module, done: int) -> None:
    wrong = (~losses.isfinite()).nonzero().flatten().tolist()
    if not wrong:
        return
    culprits = [name for name, p in model.named_parameters() if not p.isfinite().all()]
    cause = f"parameter {culprits[0]!r} holds non-finite values" if culprits else "try dtype float32"
    raise ScoringError(f"model: the loss of sequence {done + wrong[0]} is {losses[wrong[0]].item()}; {cause}")
