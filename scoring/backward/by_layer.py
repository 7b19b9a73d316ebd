"""One batch passed forwards and backwards layer by layer, in little memory.

Forwards, only the hidden states between the decoder layers are stored. The losses are computed on a few tokens at a
time, so that the logits of all places never exist at once. Backwards, every layer is computed again from its stored
input, on a portion of the sequences at a time, and hands over the pairs of its modules before the layer before it
begins. The whole costs one more forward pass. `Passes.by_layer` tells whether a model allows it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from zetaplan.scoring.backward.hooks import PairHook, hooked
from zetaplan.scoring.backward.per_sequence import Pair, joined_calls, joined_sequences
from zetaplan.scoring.model.causal import told
from zetaplan.scoring.model.layer_calls import Call, given
from zetaplan.scoring.model.losses import portions_of, shifted_labels
from zetaplan.scoring.model.passes import Passes
from zetaplan.scoring.model.streamed import in_memory
from zetaplan.scoring.text.sequences import IGNORED, Batch

#: Logits that exist at once, at least those of one token per sequence.
LOGITS = 1 << 23

Check = Callable[[Tensor], None]

#: The results (B,) of the portion of this number from the last hidden states (B, T, h), and the gradient of their sum.
End = Callable[[int, Tensor], tuple[Tensor, Tensor]]


@dataclass(eq=False)
class Gathered:
    """The pairs of one module: of every portion of the batch one pair per call of a layer that uses the module."""

    hook: PairHook
    portions: defaultdict[int, list[Pair]] = field(default_factory=lambda: defaultdict(list))
    watch: PairHook = field(init=False)
    _now: int = 0

    def __post_init__(self) -> None:
        self.watch = PairHook(self.hook.name, self.hook.modules, self._put, lambda: None)

    def _put(self, name: str, module: nn.Module, pair: Pair) -> None:
        self.portions[self._now].append(pair)

    def begin(self, portion: int, shape: tuple[int, int]) -> None:
        """Start the call of a layer on a portion (B, T)."""
        self._now = portion
        self.watch.begin(shape)

    def is_used_in(self, layer: nn.Module) -> bool:
        """Whether a call of the layer can use the module."""
        return any(module in self.hook.modules for module in layer.modules())

    def hand_over(self, portions: int) -> None:
        """Hand over the pair of the batch, whose last call is done."""
        self.hook.met = len(self.portions) == portions
        self.hook.reached()
        self.hook.require()
        pair = joined_sequences([joined_calls(self.portions[number]) for number in range(portions)])
        self.portions.clear()
        self.hook.take(self.hook.name, self.hook.module, pair)


class Watch:
    """Told of every call of a layer in the backward half. progress : whether the forward half shows a bar."""

    progress = False

    def begin(self, place: int, portion: int, shape: tuple[int, int]) -> None:
        """Start a call on a portion (B, T)."""

    def passed(self, place: int, portion: int) -> None:
        """End a call on a portion. Parameters that require gradients have them, with those of the portions before."""

    def end(self, place: int, portions: int) -> None:
        """End the call on all portions, while the layer's weights are in memory."""


class Gathering(Watch):
    """Hands over the pair of every hook after the last backward call of a layer that uses its module."""

    def __init__(self, passes: Passes, hooks: Sequence[PairHook], progress: bool) -> None:
        self.progress = progress
        gathered = [Gathered(hook) for hook in hooks]
        self.hooks = [one.watch for one in gathered]
        self._calls = [[one for one in gathered if one.is_used_in(layer)] for layer in passes.layers]
        self._last = {one: place for place, own in reversed([*enumerate(self._calls)]) for one in own}

    def begin(self, place: int, portion: int, shape: tuple[int, int]) -> None:
        for one in self._calls[place]:
            one.begin(portion, shape)

    def end(self, place: int, portions: int) -> None:
        for one in self._calls[place]:
            if self._last[one] == place:
                one.hand_over(portions)


def losses_by_layer(
    passes: Passes,
    batch: Batch,
    weights: Tensor,
    hooks: Sequence[PairHook],
    check: Check | None = None,
    progress: bool = False,
) -> Tensor:
    """The losses (B,) of a batch, of which every hook has taken its pair. The model is in evaluation mode.

    passes : of a model that can be passed by layer. weights : (B,), of each loss in the backward pass. check : called
    with the losses before the backward half. progress : show a bar of the forward half.
    """
    gathering = Gathering(passes, hooks, progress)
    with hooked(passes.model, gathering.hooks):
        return backward_by_layer(passes, batch, weights, gathering, check)


def backward_by_layer(
    passes: Passes, batch: Batch, weights: Tensor, watch: Watch | None = None, check: Check | None = None
) -> Tensor:
    """The losses (B,) of a batch, after a backward pass of their weighted sum. See `losses_by_layer`."""
    return backward_in_portions(passes, portions_of(batch), weights, watch, check)


def backward_in_portions(
    passes: Passes, portions: Sequence[Batch], weights: Tensor, watch: Watch | None = None, check: Check | None = None
) -> Tensor:
    """As `backward_by_layer`, of sequences in these portions, which are passed through a layer one after another."""
    portions = placed(passes, portions)
    shares = torch.split(weights.to(passes.device), [len(portion["labels"]) for portion in portions])

    def end(number: int, hidden: Tensor) -> tuple[Tensor, Tensor]:
        return _losses(passes, portions[number], hidden, shares[number])

    return passed_by_layer(passes, portions, end, watch, check)


def passed_by_layer(
    passes: Passes, portions: Sequence[Batch], end: End, watch: Watch | None = None, check: Check | None = None
) -> Tensor:
    """The results of all portions, after a backward pass of their sum. portions : on the device of the model."""
    traces = [passes.trace(portion) for portion in portions]
    watch = watch or Watch()
    states = _forwards(passes, traces, watch.progress)
    last = [known.pop() for known in states]
    results, slopes = zip(*(end(number, hidden) for number, hidden in enumerate(last)), strict=True)
    if check:
        check(torch.cat(results))
    last.clear()
    _backwards(passes, traces, states, list(slopes), watch)
    return torch.cat(results)


def last_states(passes: Passes, portions: Sequence[Batch]) -> list[Tensor]:
    """The hidden states (B, T, h) that the last layer returns for every portion."""
    last: list[Tensor] = []
    for hidden in _layerwise(passes, [passes.trace(portion) for portion in portions]):
        last = hidden
    return last


def placed(passes: Passes, portions: Sequence[Batch]) -> list[Batch]:
    """The portions on the device of the model."""
    return [{name: value.to(passes.device) for name, value in portion.items()} for portion in portions]


def _forwards(passes: Passes, traces: Sequence[Sequence[Call]], progress: bool) -> list[list[Tensor]]:
    """The hidden states of every portion: the input of each call, and the output of the last."""
    states = [*_layerwise(passes, traces, progress)]
    return [list(known) for known in zip(*states, strict=True)]


@torch.no_grad()
def _layerwise(passes: Passes, traces: Sequence[Sequence[Call]], progress: bool = False) -> Iterator[list[Tensor]]:
    """The hidden states of every portion: those of the first call, then the output of each call."""
    hidden = [given(trace[0]) for trace in traces]
    yield hidden
    shown = tqdm(passes.layers, desc="forward", unit="layer", leave=False, disable=not progress)
    for layer, *calls in zip(shown, *traces, strict=True):
        with in_memory(passes.model, layer), told(passes.model):  # a layer may change its input in place
            hidden = [call.replayed(known.clone()) for call, known in zip(calls, hidden, strict=True)]
        yield hidden


def in_pieces(passes: Passes, *values: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Values (B, T, ...) a few tokens at a time, so that the logits of these are at most `LOGITS`."""
    tokens = max(1, LOGITS // (len(values[0]) * passes.vocabulary))
    return zip(*(torch.split(value, tokens, 1) for value in values), strict=True)


def _losses(passes: Passes, portion: Batch, hidden: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The losses (B,) of a portion, and the gradient of their weighted sum in the last hidden states (B, T, h)."""
    labels = shifted_labels(portion["labels"])
    share = 1 / (labels != IGNORED).sum(1)  # (B,), float32
    sums, slopes = torch.zeros_like(share), list[Tensor]()
    for ids, known, own in in_pieces(passes, portion["input_ids"], hidden, labels):
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
    watch: Watch,
) -> None:
    """Pass the gradients of the last hidden states backwards. The stored states are dropped on the way."""
    for place, layer in reversed([*enumerate(passes.layers)]):
        with in_memory(passes.model, layer), told(passes.model):
            for portion, trace in enumerate(traces):
                watch.begin(place, portion, (slopes[portion].shape[0], slopes[portion].shape[1]))
                slopes[portion] = _slope(trace[place], states[portion].pop(), slopes[portion])
                watch.passed(place, portion)
            watch.end(place, len(traces))


def _slope(call: Call, hidden: Tensor, slope: Tensor) -> Tensor:
    """The gradient in the input of a call, from the gradient in its output."""
    known = hidden.detach().requires_grad_(True)
    with torch.enable_grad():
        found = call.replayed(known.clone())
    torch.autograd.backward(found, slope)
    assert known.grad is not None  # noqa: S101  the output depends on the input
    return known.grad
