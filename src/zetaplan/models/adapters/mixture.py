"""Mixture of LoRA experts on a frozen linear (Gao et al. 2024, "Higher Layers Need More LoRA Experts", 2402.08562).

    y = W x + s sum_{e in top(x)} p_e(x) B_e A_e x        p(x): the softmax of R x over the k largest entries of R x

with A_e (r, in), B_e (out, r), router R (E, in). The weights of the selected experts sum to one, so k = E is the
dense mixture and E = 1 is plain LoRA. B_e starts at zero, so the initial outputs are those of the original model.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from zetaplan.errors import CertificateError, SpecError
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.model.blocks import partition

if TYPE_CHECKING:
    from zetaplan.plans.plan import Plan


class MixtureOfLoRA(nn.Module):
    """A frozen linear with E experts of rank r, of which k are active for every token.

    Attributes:
        linear: the original linear, frozen.
        down, up: A (E, r, in) and B (E, out, r), trainable.
        router: R (E, in), trainable.
        top_k: k, at most E.
        scale: s.

    Examples:
        >>> linear = torch.nn.Linear(16, 32)
        >>> mixed = zp.MixtureOfLoRA(linear, experts=4, rank=2, top_k=2)
        >>> mixed(torch.zeros(5, 16)).shape
        torch.Size([5, 32])
    """

    def __init__(self, linear: nn.Linear, experts: int, rank: int, *, top_k: int = 2, scale: float = 2.0) -> None:
        super().__init__()
        if experts < 1 or rank < 1 or top_k < 1:
            raise SpecError(f"experts = {experts}, rank = {rank}, top_k = {top_k}: expected each at least 1")
        self.linear = linear.requires_grad_(False)
        like = linear.weight
        self.down = nn.Parameter(like.new_empty(experts, rank, linear.in_features))
        self.up = nn.Parameter(like.new_zeros(experts, linear.out_features, rank))
        self.router = nn.Parameter(like.new_empty(experts, linear.in_features))
        for drawn in (self.down, self.router):  # as in nn.Linear; equal experts would stay equal
            nn.init.uniform_(drawn, -1 / math.sqrt(linear.in_features), 1 / math.sqrt(linear.in_features))
        self.top_k, self.scale = min(top_k, experts), scale

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        inner = torch.einsum("...i,eri->...er", x, self.down) * self.weights(x)[..., None]
        answer: Tensor = self.linear(x) + self.scale * torch.einsum("...er,eor->...o", inner, self.up)
        return answer

    def weights(self, x: Tensor) -> Tensor:
        """p (..., E), zero except for the k active experts, whose weights sum to one."""
        logits = functional.linear(x, self.router)
        values, chosen = logits.topk(self.top_k, dim=-1)
        return torch.zeros_like(logits).scatter(-1, chosen, values.softmax(-1))


def mixture(
    model: LoadedModel | nn.Module, plan: Plan, *, top_k: int | None = None, scale: float = 2.0, seed: int = 0
) -> nn.Module:
    """The model with every planned linear replaced, in place, by a mixture with the planned number of experts.

    All parameters except those of experts and routers are frozen. The plan counts the experts. The routers (experts
    times inputs parameters on every linear) are additional.

    Args:
        model: a transformers model whose linears are nn.Linear, with the blocks of the plan.
        plan: an allocation plan in experts (`allocate(..., expert_rank=...)`).
        top_k: number of active experts per token, at most the number of experts; by default that of the plan.
        scale: s.
        seed: seed of the initial experts and routers.

    Raises:
        SpecError: the plan has no experts, or a number is below 1.
        CertificateError: the plan does not fit the model.

    Examples:
        >>> experts = zp.allocate(scores, mean_rank=4, expert_rank=2, lower=1)
        >>> mixed = zp.mixture(model, experts, top_k=2)
        >>> mixed(**batch).logits.shape
        torch.Size([8, 16, 64])
    """
    rank = plan.request.expert_rank
    if rank is None:
        raise SpecError("plan: the plan has no experts; make one with allocate(..., expert_rank=...), or use `adapter`")
    network = model.model if isinstance(model, LoadedModel) else model
    chosen = plan.request.top_k if top_k is None else top_k
    experts = dict(zip(plan.names, plan.rounded.units.tolist(), strict=True))
    blocks = {block.name: block for block in partition(network, plan.scores.blocks)}
    if blocks.keys() != experts.keys():
        odd = sorted(blocks.keys() ^ experts.keys())[0]
        raise CertificateError(f"plan: {odd!r} is a layer of the model or of the plan, but not of both")
    network.requires_grad_(False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for name, block in blocks.items():
            for path, module in block.modules.items():
                if isinstance(module, nn.Linear):
                    layer = MixtureOfLoRA(module, experts[name], rank, top_k=chosen, scale=scale)
                    network.set_submodule(path, layer)
    return network
