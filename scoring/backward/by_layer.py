"""One batch passed forwards and backwards layer by layer, in little memory.

Forwards, only the hidden states between the decoder layers are stored. The losses are computed on a few tokens at a
time, so that the logits of all places never exist at once. Backwards, every layer is computed again from its stored
input, on a portion of the sequences at a time, and hands over the pairs of its modules before the layer before it
begins. The whole costs one more forward pass. `Passes.by_layer` tells whether a model allows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from zetaplan.scoring.backward.hooks import PairHook, hooked
from zetaplan.scoring.backward.per_sequence import Pair, joined_calls, joined_sequences
from zetaplan.scoring.model.causal import told
from zetaplan.scoring.model.layer_calls import Call, given
from zetaplan.scoring.model.losses import portions_of, shifted_labels
from zetaplan.scoring.model.passes import Passes
from zetaplan.scoring.text.sequences import IGNORED, Batch

#: Logits that exist at once, at least those of one token per sequence.
LOGITS = 1 << 23

#: Checks the losses of a batch before it is passed backwards.
Check = Callable[[Tensor], None]


@dataclass(eq=False)
class Gathered:
    """The pairs of one module: of every portion of the batch one pair per call of a layer that uses the module."""

    hook: PairHook
    portions: list[list[Pair]]
    watch: PairHook = field(init=False)
    _now: list[Pair] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = PairHook(self.hook.name, self.hook.modules, lambda name, module, pair: self._now.append(pair))

    def begin(self, portion: int, shape: tuple[int, int]) -> None:
        """Start the call of a layer on a portion (B, T)."""
        self._now = self.portions[portion]
        self.watch.begin(shape)

    def is_used_in(self, layer: nn.Module) -> bool:
        """Whether a call of the layer can use the module."""
        return any(module in self.hook.modules for module in layer.modules())

    def hand_over(self) -> None:
        """Hand over the pair of the batch, whose last call is done."""
        self.hook.met = all(self.portions)
        self.hook.require()
        pair = joined_sequences([joined_calls(calls) for calls in self.portions])
        self.portions.clear()
        self.hook.take(self.hook.name, self.hook.module, pair)


def losses_by_layer(
    passes: Passes, batch: Batch, weights: Tensor, hooks: Sequence[PairHook], check: Check = lambda losses: None
) -> Tensor:
    """The losses (B,) of a batch, of which every hook has taken its pair. The model is in evaluation mode.

    passes : of a model that can be passed by layer. weights : (B,), of each loss in the backward pass.
    """
    device = next(passes.model.parameters()).device
    placed = {name: value.to(device) for name, value in batch.items()}
    portions = portions_of(placed)
    shares = weights.to(device).split([len(portion["labels"]) for portion in portions])
    traces = [passes.trace(portion) for portion in portions]
    states = _forwards(passes.model, traces)
    last = [known.pop() for known in states]
    losses, slopes = zip(*(_end(passes, *each) for each in zip(portions, last, shares, strict=True)), strict=True)
    check(torch.cat(losses))
    last.clear()
    _backwards(passes, traces, states, list(slopes), hooks)
    return torch.cat(losses)


@torch.no_grad()
def _forwards(model: nn.Module, traces: Sequence[Sequence[Call]]) -> list[list[Tensor]]:
    """The hidden states of every portion: the input of each call, and the output of the last."""
    states = [[given(trace[0])] for trace in traces]
    with told(model):
        for calls in zip(*traces, strict=True):
            for call, known in zip(calls, states, strict=True):
                known.append(call.replayed(known[-1].clone()))  # a layer may change its input in place
    return states


def _end(passes: Passes, portion: Batch, hidden: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The losses (B,) of a portion, and the gradient of their weighted sum in the last hidden states (B, T, h)."""
    labels = shifted_labels(portion["labels"])
    share = 1 / (labels != IGNORED).sum(1)  # (B,), float32
    tokens = max(1, LOGITS // (len(labels) * passes.vocabulary))
    sums, slopes = torch.zeros_like(share), []
    for ids, known, own in zip(*(v.split(tokens, 1) for v in (portion["input_ids"], hidden, labels)), strict=True):
        known = known.detach().requires_grad_(True)
        with torch.enable_grad():
            logits = passes.rest(ids, known)
            each = functional.cross_entropy(logits.flatten(0, 1), own.flatten(), reduction="none", ignore_index=IGNORED)
            found = each.view_as(own).sum(1)
            slopes += torch.autograd.grad(found @ (weights.to(found) * share), known)
        sums += found.detach()
    return sums * share, torch.cat(slopes, 1)


def _backwards(
    passes: Passes,
    traces: Sequence[Sequence[Call]],
    states: Sequence[list[Tensor]],
    slopes: list[Tensor],
    hooks: Sequence[PairHook],
) -> None:
    """Pass the gradients of the last hidden states backwards. The stored states are dropped on the way."""
    gathered = [Gathered(hook, [[] for _ in traces]) for hook in hooks]
    calls = [[one for one in gathered if one.is_used_in(call.layer)] for call in traces[0]]
    first = {one: place for place, own in reversed([*enumerate(calls)]) for one in own}
    with hooked(passes.model, [one.watch for one in gathered]):
        for place, own in reversed([*enumerate(calls)]):
            for portion, trace in enumerate(traces):
                for one in own:
                    one.begin(portion, slopes[portion].shape[:2])
                slopes[portion] = _slope(trace[place], states[portion].pop(), slopes[portion])
            for one in own:
                if first[one] == place:
                    one.hand_over()


def _slope(call: Call, hidden: Tensor, slope: Tensor) -> Tensor:
    """The gradient in the input of a call, from the gradient in its output."""
    known = hidden.detach().requires_grad_(True)
    with torch.enable_grad():
        found = call.replayed(known.clone())
    [before] = torch.autograd.grad(found, known, slope)
    return before
