"""Per-sequence gradients of one module, from its input x (B, ..., in) and the gradient d (B, ..., out) of its output.

A linear y = W x + b has grad W = sum_t d_t x_t' and grad b = sum_t d_t over the tokens t of the sequence, one
batched matrix product. Any other module (norms, and what is not known here) goes through its own vector-Jacobian
product.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from transformers.pytorch_utils import Conv1D

# Numbers in a chunk of gradients: 16 MB in float32 stay in cache between the product and its use.
CHUNK = 1 << 22

Pairs = list[tuple[Tensor, Tensor]]


def per_sequence_gradients(module: nn.Module, pairs: Pairs) -> Iterator[Tensor]:
    """Chunks (N, p) of the gradients of the module's own parameters, in at least float32, N over all pairs.

    Args:
        module: the module whose own parameters are meant, not those of its children.
        pairs: (x, d) of each batch, the first dimension counting sequences.
    """
    # Exact types: a subclass may compute something else, which the general way differentiates as it is.
    compute = _linear if type(module) in (nn.Linear, Conv1D) else _general
    wide = torch.promote_types(pairs[0][1].dtype, torch.float32)
    return compute(module, [(x.to(wide), d.to(wide)) for x, d in pairs])


def _linear(module: nn.Module, pairs: Pairs) -> Iterator[Tensor]:
    pairs = [(tokens(x), tokens(d)) for x, d in pairs]
    inputs, outputs = pairs[0][0].shape[-1], pairs[0][1].shape[-1]
    rows = max(1, CHUNK // (inputs * sum(len(x) for x, _ in pairs)))
    for row in range(0, outputs, rows):
        yield _joined([torch.bmm(d[..., row : row + rows].mT, x).flatten(1) for x, d in pairs])
    if module.bias is not None:
        yield _joined([d.sum(1) for _, d in pairs])


def _joined(batches: list[Tensor]) -> Tensor:
    return batches[0] if len(batches) == 1 else torch.cat(batches)  # spares a copy of the chunk


def tokens(values: Tensor) -> Tensor:
    """(B, ..., width) as (B, T, width)."""
    return values.reshape(len(values), -1, values.shape[-1])


def _general(module: nn.Module, pairs: Pairs) -> Iterator[Tensor]:
    own = {name: p.detach().to(pairs[0][1].dtype) for name, p in module.named_parameters(recurse=False)}

    def gradient(x: Tensor, d: Tensor) -> dict[str, Tensor]:
        output, pull = vjp(lambda weights: functional_call(module, weights, (x[None],))[0], own)  # type: ignore[misc]
        return pull(d.to(output.dtype))[0]  # type: ignore[no-any-return]

    gradients = [vmap(gradient)(x, d) for x, d in pairs]
    for name in own:
        yield _joined([batch[name].flatten(1) for batch in gradients])
