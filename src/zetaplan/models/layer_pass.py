"""Pass over the decoder layers one after another, with the input statistics of each layer's linears.

A first pass through the whole model records the order in which it calls its layers, and their arguments other than the
hidden states (masks, positions). The layers are then replayed in that order: the output of one layer is the input of
the next, and only the hidden states between two layers are in memory. Changes to the weights of a layer therefore
affect the inputs of later layers. A layer that the model calls several times is observed at all its calls.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from zetaplan.errors import ScoringError
from zetaplan.scoring.model.blocks import Block, decoder_layers, partition
from zetaplan.scoring.model.causal import told
from zetaplan.scoring.text.sequences import Batch

Observe = Callable[[Tensor], Tensor]

#: Tolerance of a replayed input, in machine epsilons of the norm of the recorded one: sums may have another order.
ROUNDING = 8

#: Norms below this count as zero.
TINY = torch.finfo(torch.float64).tiny

REMEDY = "this model cannot be calibrated layer by layer; use the method magnitude"

#: Sequences of the first batch on which the replay is compared with the pass itself.
COMPARED = 2


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a decoder layer: its hidden states, if stored, and its other arguments."""

    layer: nn.Module
    hidden: Tensor | None
    others: tuple[Any, ...]
    options: dict[str, Any]

    def replayed(self, hidden: Tensor) -> Tensor:
        """The hidden states that the layer returns."""
        found = self.layer(hidden, *self.others, **self.options)
        return found[0] if isinstance(found, tuple | list) else found  # type: ignore[no-any-return]


def layer_pass(
    model: nn.Module, data: Sequence[Batch], observe: Observe, chosen: Mapping[str, object]
) -> Iterator[tuple[Block, dict[str, Tensor]]]:
    """Every block of decoder layers, with the summed observations of its modules named in `chosen`.

    The caller may change the layer's weights during the iteration: the next layer receives the output of the changed
    layer. observe : a function of the inputs (tokens, in) of a module, without padding, to a tensor that is summed over
    batches.

    Raises ScoringError if the layers, replayed one by one, do not reproduce the model (see `_require_replay`).
    """
    device = next(model.parameters()).device
    batches = [{name: value.to(device) for name, value in batch.items()} for batch in data]
    names = {layer: name for name, layer in reversed(decoder_layers(model))}
    blocks = {block.name: block for block in partition(model, "layers")}
    _require_replay(model, names, {name: value[:COMPARED] for name, value in batches[0].items()})
    traces = [_recorded(model, names, batch) for batch in batches]
    _require_one_order(names, traces)
    hidden = [_given(trace[0]) for trace in traces]
    masks = [batch["attention_mask"].bool() for batch in batches]
    for step, call in enumerate(traces[0]):
        if block := blocks.pop(names[call.layer], None):
            modules = {name: (module, *block.twins(name)) for name, module in block.modules.items() if name in chosen}
            last = _last_use(traces[0], step, modules)
            observed: dict[str, Tensor] = {}
            for x, trace, mask in zip(hidden, traces, masks, strict=True):
                with _observing(modules, observed, observe, mask):
                    for use in trace[step : last + 1]:
                        x = use.replayed(x)
            yield block, observed
        hidden = [trace[step].replayed(x) for x, trace in zip(hidden, traces, strict=True)]


def _require_replay(model: nn.Module, names: Mapping[nn.Module, str], batch: Batch) -> None:
    """Raise ScoringError unless every layer receives the output of a second call of the layer before it."""
    trace = _recorded(model, names, batch, every=True)
    called = {call.layer for call in trace}
    if absent := [name for layer, name in names.items() if layer not in called]:
        raise ScoringError(f"model: layer {absent[-1]!r} is not called in a pass; {REMEDY}")
    for before, after in pairwise(trace):
        found, expected = before.replayed(_given(before)), _given(after)
        if not expected.isfinite().all():
            raise ScoringError(f"model: the input of layer {names[after.layer]!r} is not finite; try dtype float32")
        if difference := _difference(found, expected):
            raise ScoringError(
                f"model: the input of layer {names[after.layer]!r} is not the output of a second call of "
                f"{names[before.layer]!r}: {difference}; {REMEDY}"
            )


def _require_one_order(names: Mapping[nn.Module, str], traces: Sequence[Sequence[Call]]) -> None:
    orders = [[names[call.layer] for call in trace] for trace in traces]
    for number, order in enumerate(orders):
        if order != orders[0]:
            raise ScoringError(f"model: batch {number} calls its layers in another order than batch 0; {REMEDY}")


def _difference(found: Tensor, expected: Tensor) -> str | None:
    """The difference of a replayed input from the recorded one beyond rounding, in words; None if there is none."""
    if found.shape != expected.shape:
        return f"the shapes are {tuple(found.shape)} and {tuple(expected.shape)}"
    error = float((found.double() - expected.double()).norm() / expected.double().norm().clamp(min=TINY))
    allowed = ROUNDING * torch.finfo(expected.dtype).eps
    return None if error <= allowed else f"the relative difference is {error:.1e}, and rounding allows {allowed:.1e}"


def _recorded(model: nn.Module, names: Mapping[nn.Module, str], batch: Batch, every: bool = False) -> list[Call]:
    """The calls of layers in one pass, in their order, with the hidden states of the first call or of every call."""
    trace: list[Call] = []

    def keep(layer: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        first = next(iter(inspect.signature(layer.forward).parameters))
        others = dict(options)
        hidden = args[0] if args else others.pop(first, None)
        if not isinstance(hidden, Tensor):
            raise ScoringError(f"model: layer {names[layer]!r} does not get hidden states first; {REMEDY}")
        trace.append(Call(layer, hidden if every or not trace else None, args[1:], others))

    with ExitStack() as undo:
        for layer in names:
            undo.callback(layer.register_forward_pre_hook(keep, with_kwargs=True).remove)
        if head := _head(model):
            undo.callback(head.register_forward_pre_hook(_last_place).remove)
        with told(model):
            model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
    return trace


def _head(model: nn.Module) -> nn.Module | None:
    head = getattr(model, "get_output_embeddings", lambda: None)()
    return head if isinstance(head, nn.Module) else None


def _last_place(head: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The arguments of the head, reduced to the last place: logits of all places would be the largest tensor.

    Asking the model for fewer logits is no alternative: some models then also cut the hidden states of their last
        layers.
    """
    return (args[0][:, -1:], *args[1:]) if args and isinstance(args[0], Tensor) and args[0].ndim == 3 else None


def _last_use(trace: Sequence[Call], step: int, modules: Mapping[str, Sequence[nn.Module]]) -> int:
    """The last call that uses one of these modules; the call itself, unless weights are shared."""
    own = {module for several in modules.values() for module in several}
    return max(i for i in range(step, len(trace)) if i == step or not own.isdisjoint(trace[i].layer.modules()))


def _given(call: Call) -> Tensor:
    if call.hidden is None:
        raise AssertionError("the hidden states of this call are not stored")
    return call.hidden


@contextmanager
def _observing(
    modules: Mapping[str, Sequence[nn.Module]], observed: dict[str, Tensor], observe: Observe, mask: Tensor
) -> Iterator[None]:
    def add(name: str, module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        inputs = _of_tokens(name, (*args, *options.values())[0], mask)
        seen = observe(inputs.to(torch.promote_types(inputs.dtype, torch.float32)))
        observed[name] = observed[name] + seen if name in observed else seen

    with ExitStack() as undo:
        for name, uses in modules.items():
            for module in uses:
                undo.callback(module.register_forward_pre_hook(partial(add, name), with_kwargs=True).remove)
        yield


def _of_tokens(name: str, inputs: Tensor, mask: Tensor) -> Tensor:
    """The rows (rows, in) that belong to tokens: one or more rows per token, without padding."""
    if mask.all():
        return inputs.reshape(-1, inputs.shape[-1])
    shape = (len(inputs), *(n for n in inputs.shape[1:-1] if n != 1), inputs.shape[-1])  # (B, 1, T, in) is (B, T, in)
    if shape[:2] == mask.shape:
        return inputs.reshape(shape)[mask].reshape(-1, inputs.shape[-1])
    if len(inputs) == mask.numel():
        return inputs[mask.flatten()].reshape(-1, inputs.shape[-1])
    raise ScoringError(
        f"model: linear {name!r} receives {tuple(inputs.shape)} where {len(mask)} sequences of {mask.shape[1]} tokens "
        "are padded, so which rows are padding is unknown; calibrate on a text without padding"
    )
