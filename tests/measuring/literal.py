"""Losses of formats by their definitions, on a copy of a model in float64, sequence by sequence and without padding."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from zetaplan.menus.bits import Weight
from zetaplan.models.quantizers import find_quantizer

Vector = NDArray[np.float64]
Grams = dict[str, Tensor]


def rows_of(model: nn.Module, weight: Weight) -> Tensor:
    """(count, rows, columns), float64; a Conv1D stores its matrix the other way round."""
    stored = dict(model.named_parameters())[weight.name].detach().double()
    stored = stored.reshape(weight.count, *stored.shape[-2:])
    return stored.transpose(1, 2) if weight.transposed else stored


def rounded(model: nn.Module, weight: Weight, label: str, grams: Grams | None = None) -> Tensor:
    gram = (grams or {}).get(weight.module)
    found = [find_quantizer(label).rounded(one.float(), gram) for one in rows_of(model, weight)]
    return torch.stack(found).double()


def with_values(model: nn.Module, values: dict[Weight, Tensor]) -> nn.Module:
    """A copy of the model that holds these values (count, rows, columns)."""
    other = copy.deepcopy(model)
    for weight, value in values.items():
        parameter = dict(other.named_parameters())[weight.name]
        stored = value.transpose(1, 2) if weight.transposed else value
        parameter.data = stored.reshape(parameter.shape).to(parameter.dtype)
    return other


def sequences(data: Sequence[dict[str, Tensor]]) -> Iterator[Tensor]:
    """The ids (1, T) of every sequence, without padding; all tokens are labelled."""
    for batch in data:
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
            yield ids[mask.bool()][None]


def log_probabilities(model: nn.Module, ids: Tensor) -> Tensor:
    """(T - 1, V) of the next token at every place but the last."""
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return functional.log_softmax(logits.double(), -1)[0, :-1]


def token_losses(model: nn.Module, ids: Tensor) -> Tensor:
    return -log_probabilities(model, ids).gather(1, ids[0, 1:, None])[:, 0]


@torch.no_grad()
def divergence(model: nn.Module, other: nn.Module, data: Sequence[Any]) -> Vector:
    """(N,) mean over tokens of KL(model || other)."""
    found = []
    for ids in sequences(data):
        p, q = log_probabilities(model, ids), log_probabilities(other, ids)
        found.append(float((p.exp() * (p - q)).sum(-1).mean()))
    return np.array(found)


def mean_and_error(values: Vector) -> tuple[float, float]:
    return float(values.mean()), float(np.sqrt(((values - values.mean()) ** 2).sum() / (len(values) - 1) / len(values)))


def measured(model: nn.Module, members: Sequence[Weight], label: str, data: Sequence[Any]) -> tuple[float, float]:
    other = with_values(model, {weight: rounded(model, weight, label) for weight in members})
    return mean_and_error(divergence(model, other, data))


def linear(model: nn.Module, members: Sequence[Weight], label: str, data: Sequence[Any], seed: int = 0) -> float:
    """alpha t^2: alpha from noise of a tenth of the norm."""
    noisy = {}
    for weight in members:
        number = int.from_bytes(hashlib.sha256(f"{seed} {weight.name}".encode()).digest()[:8], "big")
        exact = rows_of(model, weight)
        noise = torch.randn(exact.shape, generator=torch.Generator().manual_seed(number)).double()
        noisy[weight] = exact + 0.1 * noise * exact.norm() / noise.norm()
    alpha = divergence(model, with_values(model, noisy), data).mean() / 0.01
    pairs = [(rows_of(model, weight), rounded(model, weight, label)) for weight in members]
    t2 = sum(float((w - v).square().sum()) for w, v in pairs) / sum(float(w.square().sum()) for w, _ in pairs)
    return float(alpha) * t2


def gradients(model: nn.Module, data: Sequence[Any]) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Of every sequence, the number of its labelled tokens and the gradient of its mean loss."""
    parameters = dict(model.named_parameters())
    for ids in sequences(data):
        loss = token_losses(model, ids).mean()
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
        yield ids.shape[1] - 1, dict(zip(parameters, found, strict=True))


def rounding_error(model: nn.Module, weight: Weight, label: str) -> Tensor:
    """With the shape of the parameter."""
    error = rounded(model, weight, label) - rows_of(model, weight)
    stored = error.transpose(1, 2) if weight.transposed else error
    return stored.reshape(dict(model.named_parameters())[weight.name].shape)


def fisher(model: nn.Module, members: Sequence[Weight], label: str, data: Sequence[Any]) -> float:
    """Mean over sequences of T (g o e)'(g o e) / 2."""
    found = [
        sum(float((tokens * (g[w.name] * rounding_error(model, w, label)).square()).sum()) for w in members) / 2
        for tokens, g in gradients(model, data)
    ]
    return math.fsum(found) / len(found)


def first_order(model: nn.Module, members: Sequence[Weight], label: str, data: Sequence[Any]) -> float:
    found = [
        sum(float((g[w.name] * rounding_error(model, w, label)).sum()) for w in members)
        for _, g in gradients(model, data)
    ]
    return abs(math.fsum(found) / len(found))


def kfac(model: nn.Module, weight: Weight, label: str, data: Sequence[Any]) -> float:
    """e' (A (x) B) e / 2 with the Kronecker product written out, for one linear."""
    module = model.get_submodule(weight.module)
    inputs, outputs = [], []
    for ids in sequences(data):
        seen: dict[str, Tensor] = {}

        def keep(_: nn.Module, args: Any, output: Tensor, seen: dict[str, Tensor] = seen) -> None:
            seen["a"], seen["z"] = args[0], output

        handle = module.register_forward_hook(keep)
        total = token_losses(model, ids).sum()
        [d] = torch.autograd.grad(total, seen["z"])
        handle.remove()
        inputs.append(seen["a"].detach().reshape(-1, weight.columns))
        outputs.append(d.reshape(-1, weight.rows))
    a, d = torch.cat(inputs).double(), torch.cat(outputs).double()
    tokens = len(d) - len(inputs)  # the last token of a sequence predicts nothing
    factor = torch.kron(d.T @ d / len(d), a.T @ a / len(a))
    error = (rounded(model, weight, label) - rows_of(model, weight))[0].reshape(-1)
    return len(d) / tokens * float(error @ factor @ error) / 2
