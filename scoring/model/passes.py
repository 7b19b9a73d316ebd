"""Passes of a model that begin at a later decoder layer, or leave decoder layers out.

The model's own code runs in every pass; only the calls of its decoder layers are intercepted. A call whose result is
known returns that result, and a layer that is left out returns its hidden states unchanged. Final norm, head and
scaling of the logits are therefore the model's own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from zetaplan.errors import ScoringError
from zetaplan.scoring.model.blocks import decoder_layers
from zetaplan.scoring.model.causal import told, with_another_end
from zetaplan.scoring.model.layer_calls import Call, given, hidden_of, without_logits
from zetaplan.scoring.model.losses import logits_of, shifted_logits
from zetaplan.scoring.model.streamed import in_memory
from zetaplan.scoring.text.sequences import Batch

#: Tolerance of the logits of a pass that begins later, in machine epsilons of their norm: sums may have another order.
ROUNDING = 8

#: Sequences and tokens of a batch on which passes that begin later are compared with a whole pass.
COMPARED = (2, 16)

NONE: Mapping[int, Any] = MappingProxyType({})


class Passes:
    """The passes of a model, tried on a short part of a batch. Every layer is computed three times.

    Attributes:
        calls: the decoder layers, by name, in the order in which a pass calls them.
        layers: the modules of the calls.
        vocabulary: the number of logits of a token.
        ends: (2, T, V) logits of two sequences that differ in their last token alone, in the dtype of the model.
        resumable: whether a pass that begins at any later call gives the logits of a whole pass.
        by_layer: whether the calls of `trace`, one after another, and `rest` on a part of the tokens do so too.
    """

    def __init__(self, model: nn.Module, batch: Batch) -> None:
        self.model = model
        self.names = {layer: name for name, layer in reversed(decoder_layers(model))}
        tried = _short(batch)
        results: list[Any] = []
        with torch.no_grad(), told(model), self._intercepted(NONE, (), results) as order:
            expected, _ = shifted_logits(model, tried, self.device)
        self.calls, self.vocabulary = tuple(order), expected.shape[-1]
        by_name = {name: layer for layer, name in self.names.items()}
        self.layers = tuple(by_name[name] for name in order)
        self._several = {name: len(found) for name, found in zip(order, results, strict=True) if _is_several(found)}
        self.ends = self._two_ends(tried["input_ids"])
        self.resumable, self.by_layer = self._tried(tried, results, expected)

    @torch.no_grad()
    def logits(
        self,
        batch: Batch,
        known: Mapping[int, Any] = NONE,
        without: Collection[str] = (),
        kept: list[Any] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) and the labels that they predict (B, T), as `shifted_logits`.

        known : the results of some calls, by their place. without : names of the layers to leave out. kept : a list
        that receives the result of every call.
        """
        with told(self.model), self._intercepted(known, without, [] if kept is None else kept):
            return shifted_logits(self.model, batch, self.device)

    @torch.no_grad()
    def trace(self, batch: Batch) -> list[Call]:
        """The calls of the layers on a batch, with the hidden states of the first. No layer is computed.

        Every layer returns the hidden states that it receives; the other arguments (masks, positions) are the model's.
        """
        calls: list[Call] = []
        with told(self.model), without_logits(self.model), self._intercepted(NONE, set(self.calls), [], calls):
            shifted_logits(self.model, batch, self.device)
        return calls

    def rest(self, ids: Tensor, hidden: Tensor) -> Tensor:
        """Logits (B, t, V) of tokens (B, t) with the hidden states (B, t, h) that the last layer returns for them."""
        count = self._several.get(self.calls[-1])
        found = hidden if count is None else (hidden, *[None] * (count - 1))
        known = dict.fromkeys(range(len(self.calls)), found)
        with told(self.model), self._intercepted(known, (), []):
            return logits_of(self.model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    def first_use(self, name: str) -> int:
        """The first call that depends on the parameter, or the layer, of this name; the number of calls for the head.

        Parameters that belong to no decoder layer and not to the head alone count as used before the first call.
        """
        if name in self.calls:
            return self.calls.index(name)
        parameter = self.model.get_parameter(name)
        using = {own for layer, own in self.names.items() if _holds(layer, parameter)}
        if using:
            return min(place for place, own in enumerate(self.calls) if own in using)
        head, table = (getattr(self.model, f"get_{side}_embeddings")() for side in ("output", "input"))
        return len(self.calls) if _holds(head, parameter) and not _holds(table, parameter) else 0

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.model.parameters()).device

    def _two_ends(self, ids: Tensor) -> Tensor:
        """The logits of a sequence in reverse, and of the same with another last token."""
        ids = with_another_end(ids[:1].flip(1))
        two = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
        return self.logits(two)[0].to(next(self.model.parameters()).dtype)

    @torch.no_grad()
    def _tried(self, batch: Batch, results: Sequence[Any], expected: Tensor) -> tuple[bool, bool]:
        """Whether the model is resumable, and whether it can be passed by layer.

        Every call alone, all others known, gives its result, and the last result alone the logits. A pass over other
        tokens comes first, and later calls before earlier ones, so that nothing that a layer leaves for a later one is
        that of `batch`. A layer that is passed by layer is replayed while its weights are in memory.
        """
        known, calls = dict(enumerate(results)), self._traced(batch, results)
        try:
            for place, layer in reversed([*enumerate(self.layers)]):
                with in_memory(self.model, layer):
                    if not _same(self._alone(batch, place, known), hidden_of(known[place])):
                        return False, False
                    calls = calls if calls and _replays(calls[place], hidden_of(known[place])) else []
            resumable = _same(self.logits(batch, dict.fromkeys(known, results[-1]))[0], expected)
        except ScoringError:
            return False, False
        return resumable, resumable and bool(calls) and self._rests(batch, hidden_of(results[-1]), expected)

    def _traced(self, batch: Batch, results: Sequence[Any]) -> list[Call]:
        """The calls of `trace` with the hidden states of a whole pass; none unless every layer is called with such."""
        if set(self.calls) != set(self.names.values()):
            return []
        try:
            calls = self.trace(batch)
        except ScoringError:
            return []
        before = [given(calls[0]), *map(hidden_of, results[:-1])]
        return [replace(call, hidden=hidden) for call, hidden in zip(calls, before, strict=True)]

    def _rests(self, batch: Batch, hidden: Tensor, expected: Tensor) -> bool:
        """Whether `rest` on a part of the tokens gives the logits."""
        part = slice(expected.shape[1] // 3, None)
        try:
            logits = self.rest(batch["input_ids"][:, part].to(self.device), hidden[:, part])
        except Exception:  # the model's own code, called in another way
            return False
        return _same(logits, expected[:, part])

    def _alone(self, batch: Batch, place: int, known: Mapping[int, Any]) -> Tensor:
        """The hidden states that a call returns if no call before it is computed."""
        kept: list[Any] = []
        with without_logits(self.model):
            self.logits(batch, {other: found for other, found in known.items() if other != place}, kept=kept)
        return hidden_of(kept[place])

    @contextmanager
    def _intercepted(
        self, known: Mapping[int, Any], without: Collection[str], kept: list[Any], calls: list[Call] | None = None
    ) -> Iterator[list[str]]:
        """The layers with intercepted calls; the value is the list of the names called so far.

        kept : receives the result of every call. calls : receives every call, the first with its hidden states.
        """
        number, order = count(), list[str]()

        def result(layer: nn.Module, own: Any, *args: Any, **options: Any) -> Any:
            place, name = next(number), self.names[layer]
            if place in known:
                found = known[place]
            elif name in without:
                found = self._unchanged(name, (*args, *options.values())[0])
            else:
                found = own(*args, **options)
            if calls is not None:
                calls.append(self._call(layer, own, args, options, first=not calls))
            order.append(name)
            kept.append(found)
            return found

        with ExitStack() as undo:
            for layer in self.names:
                undo.enter_context(_forward(layer, partial(result, layer, layer.forward)))
            yield order

    def _call(self, layer: nn.Module, own: Any, args: Any, options: Any, first: bool) -> Call:
        if (call := Call.of(layer, own, args, options)) is None:
            raise ScoringError(f"model: layer {self.names[layer]!r} does not get hidden states first")
        return call if first else replace(call, hidden=None)

    def _unchanged(self, name: str, hidden: Tensor) -> Any:
        """The result of a layer that returns its hidden states; whatever else the layer returns is None."""
        return (hidden, *[None] * (self._several[name] - 1)) if name in self._several else hidden


@contextmanager
def _forward(layer: nn.Module, other: Any) -> Iterator[None]:
    """The layer with another function in place of its method `forward`."""
    own = layer.__dict__.get("forward")
    layer.forward = other
    try:
        yield
    finally:
        del layer.forward
        if own is not None:
            layer.forward = own


def _short(batch: Batch) -> Batch:
    return {name: value[: COMPARED[0], : COMPARED[1]] for name, value in batch.items()}


def _replays(call: Call, expected: Tensor) -> bool:
    """Whether the recorded call gives these hidden states."""
    try:
        return _same(call.replayed(given(call).clone()), expected)
    except Exception:  # the model's own code, called in another way
        return False


def _is_several(found: Any) -> bool:
    return isinstance(found, tuple | list)


def _holds(module: Any, parameter: nn.Parameter) -> bool:
    return isinstance(module, nn.Module) and any(own is parameter for own in module.parameters())


def _same(found: Tensor, expected: Tensor) -> bool:
    error = (found.double() - expected.double()).norm()
    return bool(error <= ROUNDING * torch.finfo(expected.dtype).eps * expected.double().norm())
