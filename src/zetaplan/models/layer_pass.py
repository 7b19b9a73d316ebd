"""The decoder layers one after another, each with what its linears receive from the layers before it as they now are.

What every layer is called with beside the hidden states (masks, positions) is kept from one pass through the whole
model; of the hidden states only those of one layer are held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zetaplan.errors import ScoringError
from zetaplan.scoring.model.blocks import Block, layer_blocks
from zetaplan.scoring.text.sequences import Batch

Observe = Callable[[Tensor], Tensor]
Call = tuple[tuple[Any, ...], dict[str, Any]]  # what a decoder layer is called with beside the hidden states


def sweep(
    model: nn.Module, data: Sequence[Batch], observe: Observe, chosen: Mapping[str, object]
) -> Iterator[tuple[Block, dict[str, Tensor]]]:
    """Every decoder layer with what its modules named in `chosen` were observed to receive.

    Whoever iterates may change the layer's weights: the next layer sees what the changed layer puts out.
    observe : from the inputs (tokens, in) of a module, padding left out, to a tensor that is summed over batches.

    Raises ScoringError if a layer is not called with the hidden states first.
    """
    device = next(model.parameters()).device
    hidden, calls = _first_inputs(model, [{name: value.to(device) for name, value in b.items()} for b in data])
    masks = [batch["attention_mask"].to(device).bool() for batch in data]
    for block in layer_blocks(model):
        layer, observed = model.get_submodule(block.name), dict[str, Tensor]()
        modules = {name: module for name, module in block.modules.items() if name in chosen}
        for x, call, mask in zip(hidden, calls[block.name], masks, strict=True):
            with _observing(modules, observed, observe, mask):
                _output(layer, x, call)
        yield block, observed
        hidden = [_output(layer, x, call) for x, call in zip(hidden, calls.pop(block.name), strict=True)]


def _first_inputs(model: nn.Module, data: Sequence[Batch]) -> tuple[list[Tensor], dict[str, list[Call]]]:
    blocks = layer_blocks(model)
    hidden: list[Tensor] = []
    calls: dict[str, list[Call]] = {block.name: [] for block in blocks}

    def keep(name: str, module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        if not args or not isinstance(args[0], Tensor):
            raise ScoringError(f"model: layer {name!r} is not called with the hidden states first; it is not supported")
        calls[name].append((args[1:], options))
        if name == blocks[0].name:
            hidden.append(args[0])

    with ExitStack() as undo:
        for block in blocks:
            hook = partial(keep, block.name)
            handle = model.get_submodule(block.name).register_forward_pre_hook(hook, with_kwargs=True)
            undo.callback(handle.remove)
        for batch in data:
            # no labels, and one place's logits: those of all would be larger than everything that is kept
            model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False, logits_to_keep=1
            )
    return hidden, calls


def _output(layer: nn.Module, x: Tensor, call: Call) -> Tensor:
    args, options = call
    found = layer(x, *args, **options)
    return found[0] if isinstance(found, tuple) else found  # type: ignore[no-any-return]


@contextmanager
def _observing(
    modules: Mapping[str, nn.Module], observed: dict[str, Tensor], observe: Observe, mask: Tensor
) -> Iterator[None]:
    def add(name: str, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        inputs = args[0].reshape(*mask.shape, -1)[mask]
        seen = observe(inputs.to(torch.promote_types(inputs.dtype, torch.float32)))
        observed[name] = observed[name] + seen if name in observed else seen

    with ExitStack() as undo:
        for name, module in modules.items():
            undo.callback(module.register_forward_pre_hook(partial(add, name)).remove)
        yield
