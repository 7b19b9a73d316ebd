"""Per-sequence gradients of one module, from its input x (B, ..., in) and the gradient d (B, ..., out) of its output.

A linear y = W x + b has grad W = sum_t d_t x_t' and grad b = sum_t d_t over the tokens t of the sequence, one
batched matrix product. Every other module (norms, routers, experts, unknown classes) uses its own vector-Jacobian
product, one sequence at a time if it maps several tensors. A module whose use no pair describes has its gradients in
place of a pair, computed by passes of single sequences (see `alone`).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from transformers.pytorch_utils import Conv1D

LINEAR = (nn.Linear, Conv1D)

# Numbers in a chunk of gradients: 16 MB in float32 stay in the CPU cache between the product and its use.
CHUNK = 1 << 22

#: One tensor (B, ...), or a tuple of them for a module of several tensors: entry i of each belongs to sequence i alone.
Tensors = Tensor | tuple[Tensor, ...]
Pair = tuple[Tensors, Tensors]
Pairs = list[Pair]


def known(gradients: Iterable[Tensor]) -> Pair:
    """The gradients (B, ...) of a module's own parameters, in place of a pair."""
    return tuple(gradients), ()


def sequences_of(pair: Pair) -> int:
    """B."""
    x, _ = pair
    return len(x if isinstance(x, Tensor) else x[0])


def per_sequence_gradients(module: nn.Module, pairs: Pairs) -> Iterator[Tensor]:
    """Chunks (N, p) of the gradients of the module's own parameters, in at least float32, N over all pairs.

    Args:
        module: the module; parameters of its children are excluded.
        pairs: (x, d) of each batch; the first dimension counts sequences.
    """
    if pairs[0][1] == ():
        return _joined_known(pairs)
    if isinstance(pairs[0][0], tuple):
        return _several(module, pairs)
    simple = in_wide(pairs)
    # Exact types: a subclass may compute another function, which `_general` differentiates.
    return _linear(module, simple) if type(module) in LINEAR else _general(module, simple)


def in_wide(pairs: Pairs) -> list[tuple[Tensor, Tensor]]:
    """The pairs of a module that maps one tensor to one tensor, in at least float32."""
    simple = [(x, d) for x, d in pairs if isinstance(x, Tensor) and isinstance(d, Tensor)]
    wide = torch.promote_types(simple[0][1].dtype, torch.float32)
    return [(x.to(wide), d.to(wide)) for x, d in simple]


def moved(pair: Pair, device: torch.device) -> Pair:
    """The pair on a device."""
    x, d = (side.to(device) if isinstance(side, Tensor) else tuple(t.to(device) for t in side) for side in pair)
    return x, d


def joined_calls(calls: Pairs) -> Pair:
    """Several calls of a linear in one batch as one call with their tokens concatenated: their gradients add up."""
    if len(calls) == 1:
        return calls[0]
    xs, ds = zip(
        *((tokens(x), tokens(d)) for x, d in calls if isinstance(x, Tensor) and isinstance(d, Tensor)), strict=True
    )
    return torch.cat(xs, dim=1), torch.cat(ds, dim=1)


def joined_sequences(pairs: Pairs) -> Pair:
    """The pair of all sequences of several pairs."""
    if len(pairs) == 1:
        return pairs[0]
    x, d = (_joined_side(side) for side in zip(*pairs, strict=True))
    return x, d


def _joined_side(sides: Sequence[Tensors]) -> Tensors:
    if all(isinstance(side, Tensor) for side in sides):
        return torch.cat(cast(list[Tensor], [*sides]))
    return tuple(map(torch.cat, zip(*sides, strict=True)))


def _linear(module: nn.Module, pairs: list[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
    pairs = [(tokens(x), tokens(d)) for x, d in pairs]
    inputs, outputs = pairs[0][0].shape[-1], pairs[0][1].shape[-1]
    rows = max(1, CHUNK // (inputs * sum(len(x) for x, _ in pairs)))
    for row in range(0, outputs, rows):
        yield _joined([torch.bmm(d[..., row : row + rows].mT, x).flatten(1) for x, d in pairs])
    if module.bias is not None:
        yield _joined([d.sum(1) for _, d in pairs])


def _joined(batches: list[Tensor]) -> Tensor:
    return batches[0] if len(batches) == 1 else torch.cat(batches)  # avoids a copy of the chunk


def tokens(values: Tensor) -> Tensor:
    """(B, ..., width) as (B, T, width)."""
    return values.reshape(len(values), -1, values.shape[-1])


def _general(module: nn.Module, pairs: list[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
    own = {name: p.detach().to(pairs[0][1].dtype) for name, p in module.named_parameters(recurse=False)}

    def gradient(x: Tensor, d: Tensor) -> dict[str, Tensor]:
        output, pull = vjp(lambda weights: functional_call(module, weights, (x[None],))[0], own)  # type: ignore[misc]
        return pull(d.to(output.dtype))[0]  # type: ignore[no-any-return]

    gradients = [vmap(gradient)(x, d) for x, d in pairs]
    for name in own:
        yield _joined([batch[name].flatten(1) for batch in gradients])


def _joined_known(pairs: Pairs) -> Iterator[Tensor]:
    for parts in zip(*(x for x, _ in pairs), strict=True):
        wide = torch.promote_types(parts[0].dtype, torch.float32)
        yield torch.cat([part.flatten(1).to(wide) for part in parts])


def _several(module: nn.Module, pairs: Pairs) -> Iterator[Tensor]:
    rows = [
        _of_one(module, *alone)
        for x, d in pairs
        for alone in zip(zip(*x, strict=True), zip(*d, strict=True), strict=True)
    ]
    for parts in zip(*rows, strict=True):
        yield torch.stack(parts)


def _of_one(module: nn.Module, inputs: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> list[Tensor]:
    """The gradients of one sequence, each parameter's flattened."""
    own = {name: p.detach().requires_grad_() for name, p in module.named_parameters(recurse=False)}
    with torch.enable_grad():
        outputs = functional_call(module, own, inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    followed = [(out, g.to(out)) for out, g in zip(outputs, gradients, strict=True) if out.requires_grad]
    values, cotangents = zip(*followed, strict=True)
    found = torch.autograd.grad(values, list(own.values()), cotangents, materialize_grads=True)
    wide = torch.promote_types(found[0].dtype, torch.float32)
    return [gradient.flatten().to(wide) for gradient in found]
