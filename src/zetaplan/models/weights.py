"""The weight matrices of a model that can be quantised: linears of the decoder layers, experts, embedding and head."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from zetaplan.menus.bits import BitsFacts, Weight
from zetaplan.menus.cache import cache_layers
from zetaplan.models.matrices import stacks_of
from zetaplan.scoring.model.blocks import Block, partition


def matrices(model: nn.Module, weight: Weight) -> Tensor:
    """(count, rows, columns): a view of the parameter, without gradient."""
    stored = model.get_parameter(weight.name).detach()
    stored = stored if stored.ndim == 3 else stored[None]
    return stored.mT if weight.transposed else stored


def in_place(weight: Weight, values: Tensor) -> Tensor:
    """Values (count, rows, columns) with the rows and columns of the parameter."""
    return values.mT if weight.transposed else values


def weights(model: nn.Module) -> tuple[Weight, ...]:
    """The matrices of the model in its order, each once: tied ones under the name of the first."""
    known: dict[int, Weight] = {}
    for weight in (*_embeddings(model), *_linears(model)):
        known.setdefault(id(model.get_parameter(weight.name)), weight)
    order = {name: place for place, (name, _) in enumerate(model.named_parameters())}
    return tuple(sorted(known.values(), key=lambda weight: order[weight.name]))


def facts_of(network: nn.Module, blocks: Mapping[str, tuple[Weight, ...]], **more: Any) -> BitsFacts:
    """The facts of a menu of formats of these blocks. Matrices in no block keep their format. more : further fields."""
    return BitsFacts(
        architecture=getattr(getattr(network, "config", None), "model_type", ""),
        weights=dict(blocks),
        others=others(network, [weight for members in blocks.values() for weight in members]),
        head=head_of(network),
        embedding=embedding_of(network),
        cache=cache_layers(network),
        **more,
    )


def others(model: nn.Module, planned: Iterable[Weight] | None = None) -> dict[str, int]:
    """The number of entries of every parameter that is none of the matrices, by name: norms, biases, convolutions.

    planned : the matrices; all of `weights` if not given.
    """
    known = {weight.name for weight in (weights(model) if planned is None else planned)}
    return {name: p.numel() for name, p in model.named_parameters() if name not in known}


def head_of(model: nn.Module) -> str:
    """The name of the matrix that computes the logits, the embedding's where they are tied; "" if there is none."""
    return _name_of(model, "get_output_embeddings")


def embedding_of(model: nn.Module) -> str:
    """The name of the matrix of the input embedding; "" if there is none."""
    return _name_of(model, "get_input_embeddings")


def _name_of(model: nn.Module, getter: str) -> str:
    found = getattr(getattr(model, getter, lambda: None)(), "weight", None)
    return next((name for name, parameter in model.named_parameters() if parameter is found), "")


def _embeddings(model: nn.Module) -> Iterator[Weight]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for get in ("get_input_embeddings", "get_output_embeddings"):
        module = getattr(model, get, lambda: None)()
        stored = getattr(module, "weight", None)
        if isinstance(module, nn.Module) and isinstance(stored, nn.Parameter) and stored.ndim == 2:
            rows, columns = stored.shape
            name = names[id(stored)]
            yield Weight(name=name, module=name.rpartition(".")[0], rows=rows, columns=columns)


def _linears(model: nn.Module) -> Iterator[Weight]:
    for block in partition(model, "layers"):
        for name, module in block.modules.items():
            yield from _matrices(block, name, module)


def _matrices(block: Block, name: str, module: nn.Module) -> Iterator[Weight]:
    for stack in stacks_of(name, module):
        rows, columns = stack.values.shape[1:][:: -1 if stack.columns == -2 else 1]
        yield Weight(
            name=f"{name}.weight" if stack.single else stack.name,
            module=name,
            layer=block.name,
            count=len(stack.values),
            rows=rows,
            columns=columns,
            transposed=stack.columns == -2,
        )
