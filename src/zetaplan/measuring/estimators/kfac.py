"""K-FAC: n tr(B E A E') / 2T with A = E[a a'] of a linear's inputs and B = E[d d'] of its outputs' gradients.

E is the rounding error; the means are over the n tokens of the text that reach the linear; T is the number of labelled
tokens, and d the gradient of the sum of their losses.

It is e' F e / 2 with the Fisher matrix F = A (x) B of Martens & Grosse 2015, "Optimizing Neural Networks with
Kronecker-factored Approximate Curvature", arXiv 1503.05671. Embeddings, wide heads and experts have no factors here;
for them the diagonal Fisher matrix is used. The standard error is that of the mean of |a|^2 |d|^2 over sequences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from zetaplan.measuring.estimators import Blocks, Estimate, Estimator, Rounding
from zetaplan.measuring.estimators.fisher import Fisher
from zetaplan.measuring.estimators.measured import standard_error
from zetaplan.measuring.moments import singles
from zetaplan.menus.bits import Weight
from zetaplan.scoring.model.causal import told
from zetaplan.scoring.model.losses import sequence_losses
from zetaplan.scoring.model.streamed import require_loaded
from zetaplan.scoring.text.sequences import IGNORED, Batch

#: More outputs than this would need a matrix B of over a gigabyte.
WIDEST = 16_384


@dataclass(eq=False)
class Factors:
    """Sums over tokens: inputs (columns, columns) of a a', outputs (rows, rows) of d d'; norms: one per sequence."""

    inputs: Tensor
    outputs: Tensor
    seen: int = 0
    norms: list[float] = field(default_factory=list)

    def add(self, a: Tensor, d: Tensor) -> None:
        """Inputs a (..., columns) and gradients of the outputs d (..., rows) of one call, for one sequence."""
        a, d = a.flatten(0, -2), d.flatten(0, -2)
        self.inputs += a.mT @ a
        self.outputs += d.mT @ d
        self.seen += len(a)
        self.norms[-1] += float((a.square().sum(-1) * d.square().sum(-1)).sum(dtype=torch.float64))

    def quadratic(self, error: Tensor, tokens: int) -> float:
        """n tr(B E A E') / 2T for the error E (rows, columns)."""
        total = float(((self.outputs @ error) * (error @ self.inputs)).sum(dtype=torch.float64))
        return total / (2 * max(self.seen, 1) * tokens)


class KFAC(Estimator):
    def __init__(self, model: nn.Module, data: Sequence[Batch], blocks: Blocks, seed: int) -> None:
        members = [weight for own in blocks.values() for weight in own]
        linears = [weight for weight in members if weight.layer and weight.count == 1 and weight.rows <= WIDEST]
        rest = [weight for weight in members if weight not in linears]
        self.rest = Fisher(model, data, {"": tuple(rest)}, seed) if rest else None
        self.tokens = sum(int((batch["labels"][:, 1:] != IGNORED).sum()) for batch in data)
        self.factors = _factors(model, data, linears)

    def estimate(self, block: str, rounding: Rounding) -> Estimate:
        own = {name: error for name, error in rounding.errors().items() if name in self.factors}
        loss = sum(self.factors[name].quadratic(error[0], self.tokens) for name, error in own.items())
        norms = np.sum([self.factors[name].norms for name in own], axis=0)
        error = float(loss * standard_error(norms) / norms.mean()) if np.any(norms) else 0.0
        if self.rest is None or len(own) == len(rounding.members):
            return Estimate(loss, error)
        others = tuple(weight for weight in rounding.members if weight.name not in own)
        rest = self.rest.estimate(block, replace(rounding, members=others))
        return Estimate(loss + rest.loss, float(np.hypot(error, rest.standard_error)))


def _factors(model: nn.Module, data: Sequence[Batch], linears: Sequence[Weight]) -> dict[str, Factors]:
    require_loaded(model)
    device = next(model.parameters()).device
    found = {
        weight.name: Factors(
            torch.zeros(weight.columns, weight.columns, device=device),
            torch.zeros(weight.rows, weight.rows, device=device),
        )
        for weight in linears
    }
    if not linears:
        return {}
    parameters = [model.get_parameter(weight.name) for weight in linears]
    with _requiring(parameters), torch.enable_grad(), told(model):
        for batch in singles(data):
            for factors in found.values():
                factors.norms.append(0.0)
            with _observing(model, linears, found):
                tokens = int((batch["labels"][:, 1:] != IGNORED).sum())
                (sequence_losses(model, batch).sum() * tokens).backward()  # type: ignore[no-untyped-call]
    return found


@contextmanager
def _requiring(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """The parameters require gradients, which are removed at the end."""
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None


@contextmanager
def _observing(model: nn.Module, linears: Sequence[Weight], found: dict[str, Factors]) -> Iterator[None]:
    """Add a a' of every call of a linear, and d d' of its backward pass, to its factors."""
    handles = [
        model.get_submodule(weight.module).register_forward_hook(partial(_observe, found[weight.name]))
        for weight in linears
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _observe(factors: Factors, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
    a = args[0].detach().float()
    output.register_hook(lambda d: factors.add(a, d.float()))  # type: ignore[no-untyped-call]
