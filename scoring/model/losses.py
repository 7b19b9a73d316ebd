"""The loss: of a sequence, the mean cross-entropy over its labelled tokens; of the data, the mean over sequences."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zetaplan.errors import ScoringError
from zetaplan.scoring.model.causal import told
from zetaplan.scoring.text.sequences import IGNORED, Batch

#: Tokens of a portion of the sequences of a batch; at least one sequence.
PORTION = 1024


def sequence_losses(model: nn.Module, batch: Batch) -> Tensor:
    """Mean cross-entropy (B,) of each sequence over its labelled tokens, each predicted from the tokens before it."""
    with told(model):
        logits, labels = shifted_logits(model, batch, next(model.parameters()).device)
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none", ignore_index=IGNORED)
    return losses.view_as(labels).sum(1) / (labels != IGNORED).sum(1)


def shifted_logits(model: Callable[..., Any], batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    """Logits (B, T, V), float32 at least, and the label (B, T) that each place predicts, -100 for no label."""
    inputs = {name: value.to(device) for name, value in batch.items()}
    labels = shifted_labels(inputs.pop("labels"))
    return logits_of(model, inputs), labels


def shifted_labels(labels: Tensor) -> Tensor:
    """The label (B, T) that each place predicts, -100 for no label."""
    return functional.pad(labels[:, 1:], (0, 1), value=IGNORED)


def logits_of(model: Callable[..., Any], inputs: Mapping[str, Tensor]) -> Tensor:
    """Logits (B, T, V) of inputs on the model's device, float32 at least."""
    output = model(**inputs, use_cache=False)
    logits = getattr(output, "logits", None)
    if not isinstance(logits, Tensor):
        raise ScoringError(
            f"model: it returns {type(output).__name__} without logits, so it has no loss; load the causal language "
            "model with its head (AutoModelForCausalLM)"
        )
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def mean_loss(model: nn.Module, data: Sequence[Batch]) -> float:
    """The loss of the data, nats, computed without gradients, a portion of each batch at a time."""
    with torch.no_grad():
        found = [sequence_losses(model, part).double().cpu() for batch in data for part in portions_of(batch)]
        return float(torch.cat(found).mean())


def portions_of(batch: Batch) -> list[Batch]:
    """The batch in portions of `PORTION` tokens, or of one sequence."""
    size = max(1, PORTION // batch["labels"].shape[1])
    cuts = zip(*(torch.split(value, size) for value in batch.values()), strict=True)
    return [dict(zip(batch, cut, strict=True)) for cut in cuts]


def require_finite(losses: Tensor, model: nn.Module, done: int) -> None:
    wrong = (~losses.isfinite()).nonzero().flatten().tolist()
    if not wrong:
        return
    culprits = [name for name, p in model.named_parameters() if not p.isfinite().all()]
    cause = f"parameter {culprits[0]!r} holds non-finite values" if culprits else "try dtype float32"
    raise ScoringError(f"model: the loss of sequence {done + wrong[0]} is {losses[wrong[0]].item()}; {cause}")
