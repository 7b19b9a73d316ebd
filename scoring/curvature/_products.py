"""Products with the curvature of one block, without its matrix: gradient, Gauss-Newton, Hessian, per-token Fisher.

With z_t the logits that predict token t of sequence i, T_i its labelled tokens and w_t = 1 / (N T_i), the loss is
sum_t w_t CE(z_t, y_t). J_t is the Jacobian of z_t in the block's parameters, p_t = softmax(z_t), r_t = p_t - e_{y_t}:

    g               = sum_t w_t J_t' r_t                              the gradient
    Gauss-Newton    = sum_t w_t J_t' (diag p_t - p_t p_t') J_t        also the true Fisher: no label in it
    per-token Fisher = sum_t w_t (J_t' r_t)(J_t' r_t)'                the empirical Fisher with tokens as samples
    Hessian         = Gauss-Newton + sum_t w_t sum_c r_tc d2 z_tc

J v is computed by forward-mode differentiation along v (Wengert 1964), J' u by the backward pass of the same forward
pass, the Hessian by differentiating the gradient twice (Pearlmutter 1994). One batch is in memory at a time.

A block over float64 computes in float64 throughout, even where the model's code requests float32 (see `precision`). The
result differs from real arithmetic on the stored numbers by rounding only, and `shaken` measures that difference. If
p_t is nearly e_y, 1 - p_y is computed as the sum of the other probabilities, so that no digits cancel.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from zetaplan.errors import ScoringError
from zetaplan.scoring.curvature._precision import float64_throughout, shaken
from zetaplan.scoring.model.causal import told
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.experts import plain_experts
from zetaplan.scoring.model.losses import shifted_logits
from zetaplan.scoring.text.sequences import IGNORED, Batch

# From the tangent J_t v of the logits and the residuals to the cotangent whose image under J' is the product.
OutputCurvature = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class LinearisedBlock:
    """The model as a function of the parameters of one block, d numbers in all, on given data.

    Attributes:
        model: a causal language model; every call leaves it unchanged.
        parameters: the block's parameters by qualified name, in the order of the vectors.
        batches: N sequences in all.
        exact: returns the same model in float64; blocks of one model share it, because a copy is as large as the model.
        shake: the seed by which results of operations are changed at random; None: no change.
    """

    model: nn.Module
    parameters: Mapping[str, nn.Parameter]
    batches: Sequence[Batch]
    exact: Callable[[], nn.Module] | None = None
    shake: int | None = None

    @property
    def dimension(self) -> int:
        """d."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the vectors: float32 at least."""
        return torch.promote_types(next(iter(self.parameters.values())).dtype, torch.float32)

    @property
    def device(self) -> torch.device:
        """The device of the vectors."""
        return next(iter(self.parameters.values())).device

    @cached_property
    def sequences(self) -> int:
        """N."""
        return sum(len(batch["labels"]) for batch in self.batches)

    def in_float64(self) -> "LinearisedBlock":
        """The same weights as a function over float64; the block itself if it is in float64."""
        if self.dtype == torch.float64:
            return self
        model = self.exact() if self.exact else in_float64(self.model)
        return LinearisedBlock(model, {name: model.get_parameter(name) for name in self.parameters}, self.batches)

    def shaken(self, seed: int) -> "LinearisedBlock":
        """The same block with the result of every operation changed at random, by some units in the last place."""
        return replace(self, shake=seed)

    def gradient(self) -> Tensor:
        """g, shape (d,)."""
        return self._sum(self._gradient)

    def ggn(self, v: Tensor) -> Tensor:
        """The Gauss-Newton matrix times v (d,)."""
        return self._sum(lambda batch: self._through_outputs(batch, v, _of_softmax))

    def token_fisher(self, v: Tensor) -> Tensor:
        """The per-token empirical Fisher times v (d,)."""
        return self._sum(lambda batch: self._through_outputs(batch, v, _of_labels))

    def hessian(self, v: Tensor) -> Tensor:
        """The Hessian of the loss times v (d,)."""
        return self._sum(lambda batch: self._twice(batch, v))

    def _sum(self, of_batch: Callable[[Batch], Tensor]) -> Tensor:
        total = torch.zeros(self.dimension, dtype=self.dtype, device=self.device)
        wide: AbstractContextManager[None] = float64_throughout() if self.dtype == torch.float64 else nullcontext()
        rough: AbstractContextManager[None] = nullcontext() if self.shake is None else shaken(self.shake)
        math = sdpa_kernel(SDPBackend.MATH)  # the only backend that can be differentiated twice
        with told(self.model), eval_mode(self.model), plain_experts(self.model), torch.enable_grad(), math, wide, rough:
            try:
                for batch in self.batches:
                    total += of_batch(batch)
            except NotImplementedError as error:
                raise ScoringError(
                    f"curvature: an operation of the model has no derivative for products with H ({error}); "
                    "use a one-pass surrogate such as mc-fisher"
                ) from error
        return total

    def _gradient(self, batch: Batch) -> Tensor:
        leaves = self._leaves()
        return self._flat(torch.autograd.grad(self._loss(batch, leaves), list(leaves.values()), materialize_grads=True))

    def _twice(self, batch: Batch, v: Tensor) -> Tensor:
        leaves = self._leaves()
        first = torch.autograd.grad(
            self._loss(batch, leaves), list(leaves.values()), create_graph=True, materialize_grads=True
        )
        along = torch.stack([(g * part).sum() for g, part in zip(first, self._shaped(v), strict=True)]).sum()
        return self._flat(torch.autograd.grad(along, list(leaves.values()), materialize_grads=True))

    def _through_outputs(self, batch: Batch, v: Tensor, curvature: OutputCurvature) -> Tensor:
        leaves = self._leaves()
        with forward_ad.dual_level():
            duals = {
                name: forward_ad.make_dual(leaf, part)  # type: ignore[no-untyped-call]
                for (name, leaf), part in zip(leaves.items(), self._shaped(v), strict=True)
            }
            logits, labels = self._outputs(batch, duals)
            value, tangent = forward_ad.unpack_dual(logits)  # type: ignore[no-untyped-call]
        with torch.no_grad():  # outside the dual level: the backward pass needs plain tensors
            cotangent = curvature(value.softmax(-1), labels, tangent) * self._weights(labels)[..., None]
        return self._flat(torch.autograd.grad(value, list(leaves.values()), cotangent, materialize_grads=True))

    def _outputs(self, batch: Batch, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        def call(**inputs: object) -> object:
            return functional_call(self.model, dict(parameters), kwargs=inputs)

        return shifted_logits(call, batch, self.device)

    def _loss(self, batch: Batch, parameters: Mapping[str, Tensor]) -> Tensor:
        logits, labels = self._outputs(batch, parameters)
        return (cross_entropy(logits, labels) * self._weights(labels)).sum()

    def _weights(self, labels: Tensor) -> Tensor:
        """w_t, (B, T), zero at places without a label."""
        counted = (labels != IGNORED).to(self.dtype)
        return counted / (counted.sum(1, keepdim=True) * self.sequences)

    def _leaves(self) -> dict[str, Tensor]:
        return {name: parameter.detach().requires_grad_() for name, parameter in self.parameters.items()}

    def _shaped(self, v: Tensor) -> list[Tensor]:
        pieces = torch.split(v, [parameter.numel() for parameter in self.parameters.values()])
        return [piece.view_as(p).to(p) for piece, p in zip(pieces, self.parameters.values(), strict=True)]

    def _flat(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([part.detach().flatten() for part in parts]).to(self.dtype)


def in_float64(model: nn.Module) -> nn.Module:
    """A copy of the model over float64."""
    return copy.deepcopy(model).double()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """log sum_c exp(z_c) - z_y (...,) of logits (..., V), accurate with its derivatives even if it is near zero.

    With m the likeliest token, the value is z_m - z_y + log1p(sum_{c != m} exp(z_c - z_m)): nothing cancels if y = m.
    """
    likeliest, label = logits.argmax(-1, keepdim=True), labels.clamp(min=0)[..., None]
    gaps = logits - logits.gather(-1, likeliest)
    others = gaps.exp().scatter(-1, likeliest, 0.0).sum(-1)
    missed = torch.where(likeliest == label, 0.0, -gaps.gather(-1, label))
    return others.log1p() + missed[..., 0]


def _of_softmax(p: Tensor, labels: Tensor, tangent: Tensor) -> Tensor:
    """(diag p - p p') Jv, computed from Jv minus its entry at the likeliest token: the result is the same."""
    moved = tangent - tangent.gather(-1, p.argmax(-1, keepdim=True))
    return p * (moved - (p * moved).sum(-1, keepdim=True))


def _of_labels(p: Tensor, labels: Tensor, tangent: Tensor) -> Tensor:
    """r r' Jv with r = p - e_y; the entries of r add up to zero."""
    label = labels.clamp(min=0)[..., None]
    others = p.scatter(-1, label, 0.0)
    along = (others * (tangent - tangent.gather(-1, label))).sum(-1, keepdim=True)
    return others.scatter(-1, label, -others.sum(-1, keepdim=True)) * along
