"""The way in which a batch passes: as a whole, or layer by layer if that would need much memory.

A pass as a whole holds the activations of all layers and the logits of all tokens. A pass by layer (see `by_layer`)
holds, with h numbers per hidden state, K calls of layers, and w = in + out summed over the modules of one layer,

    (K + 2) h + w      numbers per token of the batch: hidden states, their gradients, the pairs of one layer
    2 w and logits     of a portion of its tokens: what a layer computes, with its gradients.

It computes every layer once more. A pass on the CPU that needs little memory therefore goes as a whole, and so does one
that fits on a device with memory of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from zetaplan.errors import ScoringError
from zetaplan.scoring.backward.activations import bytes_per_token
from zetaplan.scoring.backward.by_layer import LOGITS
from zetaplan.scoring.backward.footprint import width
from zetaplan.scoring.backward.free_memory import room_on
from zetaplan.scoring.model.blocks import Block, decoder_layers
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.layer_calls import given
from zetaplan.scoring.model.losses import PORTION
from zetaplan.scoring.model.passes import Passes
from zetaplan.scoring.model.streamed import REMEDY, streamed
from zetaplan.scoring.text.sequences import Batch

#: Bytes up to which a pass on the CPU goes as a whole.
SMALL = 1 << 28

#: Bytes for each of the logits that exist at once: they, their probabilities, and the gradients of both, in float32.
PER_LOGIT = 16


@dataclass(frozen=True, eq=False)
class Way:
    """The way of a pass and its memory.

    Attributes:
        per_token: bytes per token of a batch.
        fixed: bytes beside these.
        whole: bytes per token of a pass as a whole, which products with H need.
        passes: of a pass by layer; None for a pass as a whole.
    """

    per_token: float = 0.0
    fixed: int = 0
    whole: float = 0.0
    passes: Passes | None = None


def way_of(model: nn.Module, parts: Sequence[Block], data: Sequence[Batch]) -> Way:
    """The way in which the batches pass through the model.

    Raises ScoringError for a streamed model that cannot be passed by layer.
    """
    if streamed(model):
        if (passes := passes_by_layer(model, data[0])) is None:
            shared = "share more than hidden states, or draw random numbers"
            raise ScoringError(f"stream: the layers of {type(model).__name__} {shared}; {REMEDY}")
        return _by_layer(passes, parts, data, 0.0)
    whole, device = bytes_per_token(model, parts, data), next(model.parameters()).device
    limit = SMALL if device.type in ("cpu", "mps") else room_on(device)
    if limit is None or whole * max(batch["labels"].numel() for batch in data) <= limit:
        return Way(whole, whole=whole)
    passes = passes_by_layer(model, data[0])
    return Way(whole, whole=whole) if passes is None else _by_layer(passes, parts, data, whole)


def passes_by_layer(model: nn.Module, batch: Batch) -> Passes | None:
    """The passes of a model that can be passed by layer; None for another model.

    Raises ScoringError if a streamed model fails in a pass; one that is loaded can still be passed as a whole.
    """
    try:
        with eval_mode(model):
            passes = Passes(model, batch)
    except ScoringError:
        if streamed(model):
            raise
        return None
    return passes if passes.by_layer else None


def _by_layer(passes: Passes, parts: Sequence[Block], data: Sequence[Batch], whole: float) -> Way:
    state = given(passes.trace({name: value[:1] for name, value in data[0].items()})[0])
    modules = {module: name for part in parts for name, module in part.modules.items()}
    layers = [[module for module in layer.modules() if module in modules] for _, layer in decoder_layers(passes.model)]
    pairs = max(sum(width(module) for module in own) for own in layers) * state.element_size()
    longest = max(batch["labels"].shape[1] for batch in data)
    logits = max(LOGITS, passes.vocabulary * max(1, PORTION // longest))
    return Way(
        per_token=(len(passes.calls) + 2) * state.nbytes / data[0]["labels"].shape[1] + pairs,
        fixed=2 * pairs * max(PORTION, longest) + PER_LOGIT * logits,
        whole=whole,
        passes=passes,
    )
