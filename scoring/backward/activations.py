"""Memory that one pass holds between its forward and its backward half, measured on one sequence before the run.

The weights require no gradient, so autograd saves no input of a linear. The inputs that the hooks hold are therefore
counted beside the tensors that autograd saves, each storage once. At the start of the backward half two further tensors
of the size of the logits exist: the gradients of the loss in the log-probabilities and in the logits.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from zetaplan.scoring.backward.hooks import hooked
from zetaplan.scoring.model.blocks import Block
from zetaplan.scoring.model.causal import told
from zetaplan.scoring.model.losses import shifted_logits
from zetaplan.scoring.text.sequences import IGNORED, Batch


def bytes_per_token(model: nn.Module, parts: Sequence[Block], data: Sequence[Batch]) -> float:
    """Bytes that a pass holds per token of a batch, measured on the longest sequence. The model is not changed."""
    longest = max(data, key=lambda batch: batch["labels"].shape[1])
    one = {name: value[:1] for name, value in longest.items()}
    weights = {_place(value) for value in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}  # held until the end, so that no address is reused

    def keep(value: Tensor) -> Tensor:
        kept.setdefault(_place(value), value.untyped_storage())
        return value.detach()  # the tensor itself would hold its own graph

    def keep_inputs(module: nn.Module, args: Iterable[Any], output: object) -> None:
        for value in args:
            if isinstance(value, Tensor):
                keep(value)

    saved = saved_tensors_hooks(keep, lambda value: value)
    with told(model), hooked(model, ()), ExitStack() as undo, torch.enable_grad(), saved:
        for part in parts:
            for module in part.modules.values():
                undo.callback(module.register_forward_hook(keep_inputs).remove)
        logits, labels = shifted_logits(model, one, next(model.parameters()).device)
        functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    carried = sum(storage.nbytes() for place, storage in kept.items() if place not in weights)
    return (carried + 2 * logits.nbytes) / labels.numel()


def _place(value: Tensor) -> int:
    return value.untyped_storage().data_ptr()
