"""Pass over the decoder layers one after another, with the input statistics of each layer's weight matrices.

A first pass through the whole model records the order in which it calls its layers, and their arguments other than the
hidden states (masks, positions). The layers are then replayed in that order: the output of one layer is the input of
the next, and only the hidden states between two layers are in memory. Changes to the weights of a layer therefore
affect the inputs of later layers. A layer that the model calls several times is observed at all its calls. Sequences
are passed without padding, those of one length together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from zetaplan.errors import ScoringError
from zetaplan.models.matrices import Stack, stacks_of
from zetaplan.models.product_inputs import ProductInputs
from zetaplan.scoring.model.blocks import Block, decoder_layers, partition
from zetaplan.scoring.model.causal import told
from zetaplan.scoring.model.experts import plain_experts
from zetaplan.scoring.model.layer_calls import Call, given, without_logits
from zetaplan.scoring.model.streamed import in_memory
from zetaplan.scoring.text.sequences import Batch

Observe = Callable[[Tensor], Tensor]

#: Tolerance of a replayed input, in machine epsilons of the norm of the recorded one: sums may have another order.
ROUNDING = 8

#: Begins the name of a number of rows among the tensors of observations.
ROWS = "rows of "

#: Norms below this count as zero.
TINY = torch.finfo(torch.float64).tiny

REMEDY = "this model cannot be calibrated layer by layer; use the method magnitude"

#: Sequences of the first batch on which the replay is compared with the pass itself.
COMPARED = 2


class Observed(dict[str, Tensor]):
    """Sums of observations by name: of a linear, or of a stack of E experts' weights, then (E, ...).

    rows : by the same names, the number of rows that were observed: one number, or (E,).
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, Tensor] = {}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Observations and numbers of rows in one dictionary, from which `of` makes them again."""
        return {**self, **{f"{ROWS}{name}": rows for name, rows in self.rows.items()}}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Observed:
        """The observations from `tensors`."""
        found = cls()
        found.rows = {name.removeprefix(ROWS): rows for name, rows in tensors.items() if name.startswith(ROWS)}
        found.update({name: seen for name, seen in tensors.items() if not name.startswith(ROWS)})
        return found

    def add(self, stack: Stack, place: int, seen: Tensor, rows: int) -> None:
        """Add an observation of so many rows of the linear, or of the expert of this number."""
        if stack.single:
            self[stack.name] = self[stack.name] + seen if stack.name in self else seen
            self.rows[stack.name] = self.rows.get(stack.name, torch.tensor(0)) + rows
            return
        if stack.name not in self:
            self[stack.name] = seen.new_zeros(len(stack.values), *seen.shape)
            self.rows[stack.name] = torch.zeros(len(stack.values), dtype=torch.int64)
        self[stack.name][place] += seen
        self.rows[stack.name][place] += rows


def layer_pass(
    model: nn.Module, data: Sequence[Batch], observe: Observe, chosen: Collection[str]
) -> Iterator[tuple[Block, Observed]]:
    """Every block of decoder layers, with the summed observations of its weight matrices named in `chosen`.

    The caller may change the layer's weights during the iteration: the next layer receives the output of the changed
    layer.

    observe : a function of the inputs (tokens, in) of a matrix to a tensor that is summed over batches. chosen : names
    of linears, or of parameters: the weight of a linear, or a stack of experts' weights, which is observed expert by
    expert with the tokens that reach it. The observations have the names in `chosen`.

    Raises ScoringError if the layers, replayed one by one, do not reproduce the model (see `_require_replay`).
    """
    device = next(model.parameters()).device
    batches = [{name: value.to(device) for name, value in part.items()} for batch in data for part in unpadded(batch)]
    names = {layer: name for name, layer in reversed(decoder_layers(model))}
    blocks = {block.name: block for block in partition(model, "layers")}
    with plain_experts(model):
        _require_replay(model, names, {name: value[:COMPARED] for name, value in batches[0].items()})
        traces = [_recorded(model, names, batch) for batch in batches]
        _require_one_order(names, traces)
        hidden = [given(trace[0]) for trace in traces]
        for step, call in enumerate(traces[0]):
            with in_memory(model, call.layer):
                if block := blocks.pop(names[call.layer], None):
                    yield block, _observed(block, chosen, observe, step, hidden, traces)
                hidden = [trace[step].replayed(x) for x, trace in zip(hidden, traces, strict=True)]


def _observed(
    block: Block,
    chosen: Collection[str],
    observe: Observe,
    step: int,
    hidden: Sequence[Tensor],
    traces: Sequence[Sequence[Call]],
) -> Observed:
    """The observations of the block, whose layer is first called in this step with these hidden states."""
    own, observed = _chosen(block, chosen), Observed()
    last = _last_use(traces[0], step, own)
    with _observing([stack for known in own.values() for stack in known], observed, observe):
        for x, trace in zip(hidden, traces, strict=True):
            for use in trace[step : last + 1]:
                x = use.replayed(x)
    return observed


@contextmanager
def in_memory_with(model: nn.Module, modules: Collection[nn.Module]) -> Iterator[None]:
    """The decoder layers that hold any of these modules, with their weights in memory."""
    wanted = set(modules)
    with ExitStack() as held:
        for _, layer in decoder_layers(model):
            if not wanted.isdisjoint(layer.modules()):
                held.enter_context(in_memory(model, layer))
        yield


def layers_in_memory(model: nn.Module) -> Iterator[Block]:
    """Every block of decoder layers, while its weights are in memory."""
    for block in partition(model, "layers"):
        with in_memory(model, model.get_submodule(block.name)):
            yield block


def unpadded(batch: Batch) -> list[Batch]:
    """The sequences of a batch without padding, those of one length together.

    Raises ScoringError for a mask with a gap between tokens.
    """
    lengths = batch["attention_mask"].sum(1)
    parts = [
        {name: value[lengths == n, :n] for name, value in batch.items()}
        for n in sorted({*lengths.tolist()}, reverse=True)
    ]
    if not all(part["attention_mask"].all() for part in parts):
        raise ScoringError("batches: an attention_mask is 0 between tokens; calibrate on a text without gaps")
    return parts


def _chosen(block: Block, chosen: Collection[str]) -> dict[nn.Module, list[Stack]]:
    """The chosen matrices of the block by the modules that hold them."""
    found: dict[nn.Module, list[Stack]] = {}
    for name, module in block.modules.items():
        own = list(stacks_of(name, module))
        own += [replace(stack, name=f"{name}.weight") for stack in own if stack.single]
        known = [stack for stack in own if stack.name in chosen]
        for holder in (module, *block.twins(name)) if known else ():
            found[holder] = known
    return found


def _require_replay(model: nn.Module, names: Mapping[nn.Module, str], batch: Batch) -> None:
    """Raise ScoringError unless every layer receives the output of a second call of the layer before it."""
    trace = _recorded(model, names, batch, every=True)
    called = {call.layer for call in trace}
    if absent := [name for layer, name in names.items() if layer not in called]:
        raise ScoringError(f"model: layer {absent[-1]!r} is not called in a pass; {REMEDY}")
    for before, after in pairwise(trace):
        found, expected = before.replayed(given(before)), given(after)
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
        if (call := Call.of(layer, layer.forward, args, options)) is None:
            raise ScoringError(f"model: layer {names[layer]!r} does not get hidden states first; {REMEDY}")
        trace.append(call if every or not trace else replace(call, hidden=None))

    with ExitStack() as undo:
        for layer in names:
            undo.callback(layer.register_forward_pre_hook(keep, with_kwargs=True).remove)
        with without_logits(model), told(model):
            model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
    return trace


def _last_use(trace: Sequence[Call], step: int, modules: Collection[nn.Module]) -> int:
    """The last call that uses one of these modules; the call itself, unless weights are shared."""
    own = set(modules)
    return max(i for i in range(step, len(trace)) if i == step or not own.isdisjoint(trace[i].layer.modules()))


def _observing(stacks: Iterable[Stack], observed: Observed, observe: Observe) -> ProductInputs:
    def add(stack: Stack, place: int, rows: Tensor) -> None:
        wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
        observed.add(stack, place, observe(wide), len(rows))

    return ProductInputs(tuple({stack.name: stack for stack in stacks}.values()), add)
