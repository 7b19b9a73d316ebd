"""Unbiased sketches of a linear's gradients, for runs whose pairs are too large to store.

With random S_in (in, r) and S_out (out, r), independent of each other and E[S S'] = I, the pair (x, d) is replaced by
(S_in'x, S_out'd), whose gradient is S_out'(sum_t d_t x_t')S_in. Its products are unbiased:

    E <S_out' G_i S_in, S_out' G_j S_in> = tr(G_i' E[S_out S_out'] G_j E[S_in S_in']) = <G_i, G_j>.

S = sqrt(n/r) Q, with Q (n, r) the first columns of a Haar-distributed orthogonal matrix, has E[S S'] = I and less
variance than independent numbers. If r = n then S S' = I, and the sketch is exact. The relative deviation of a product
is of order 1/r for the two sides together and falls as 1/sqrt(repeats). Modules other than linears (norms, experts) are
stored unsketched.

A run holds `repeats` independent sketches. Their mean gives the scores. The spread of the gains of the single sketches
estimates the error. With gains z_m of R sketches and z the gain of their mean products,

    variance = var(z_m) / R,    bias = (mean z_m - z) / (R - 1),    error = sqrt(variance + bias^2),

since the bias of a gain is to second order proportional to 1/R.
"""

import copy
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zetaplan.errors import ScoringError
from zetaplan.scoring.backward.per_sequence import LINEAR, Pair, Pairs
from zetaplan.scoring.backward.statistics import Gram

SEED = 20260303
REPEATS = 4


@dataclass(frozen=True)
class Sketch:
    """Independent sketches of every linear's pairs, concatenated in the last dimension.

    Attributes:
        rank: r of each sketch, at least 1; a side that is not wider than r is rotated, not shortened.
        repeats: R, at least 2, because the error estimate needs a spread.
        seed: seed of all draws; the projections of a module depend on the seed and its name only.
    """

    rank: int
    repeats: int = REPEATS
    seed: int = SEED

    def __post_init__(self) -> None:
        for name, least in (("rank", 1), ("repeats", 2)):
            if getattr(self, name) < least:
                raise ScoringError(f"sketch: {name} = {getattr(self, name)}; expected at least {least}")

    def of(self, name: str, module: nn.Module, pair: Pair) -> Pair:
        """The sketched pair (B, ..., R r) of a pair (B, ..., in) and (B, ..., out)."""
        if type(module) not in LINEAR or pair[1] == ():
            return pair
        x, d = (self._projected(f"{name} {side}", value) for side, value in zip("xd", pair, strict=True))
        return x, d

    def _projected(self, name: str, values: object) -> Tensor:
        assert isinstance(values, Tensor)  # noqa: S101  a linear maps one tensor to one
        wide = values.to(torch.promote_types(values.dtype, torch.float32))
        bases = torch.cat([self.basis(f"{name} {m}", wide.shape[-1]) for m in range(self.repeats)], dim=1)
        return wide @ bases.to(wide)

    def basis(self, name: str, width: int) -> Tensor:
        """S (width, min(rank, width)) in float64 with E[S S'] = I."""
        rank = min(self.rank, width)
        seed = hashlib.sha256(f"{self.seed} {name}".encode()).digest()[:8]
        generator = torch.Generator().manual_seed(int.from_bytes(seed, "big", signed=True))
        orthogonal, triangle = torch.linalg.qr(
            torch.randn(width, rank, generator=generator, dtype=torch.float64), mode="reduced"
        )
        haar: Tensor = orthogonal * triangle.diagonal().sign()
        return haar * math.sqrt(width / rank)

    def part(self, module: nn.Module, pairs: Pairs, repeat: int) -> Pairs:
        """The pairs of one sketch alone."""
        if type(module) not in LINEAR or pairs[0][1] == ():
            return pairs
        return [(self._slice(x, repeat), self._slice(d, repeat)) for x, d in pairs]

    def _slice(self, values: object, repeat: int) -> Tensor:
        assert isinstance(values, Tensor)  # noqa: S101  a linear maps one tensor to one
        return values.chunk(self.repeats, dim=-1)[repeat]


def mean_products(repeats: Sequence[Gram], parameters: int) -> Gram:
    """The mean of the products of several sketches, as the products of a block with so many parameters."""
    mean = copy.copy(repeats[0])
    mean.products = torch.stack([gram.products for gram in repeats]).mean(0)
    mean.parameters = parameters
    return mean


def relative_error(gain: float, alone: Sequence[float]) -> float:
    """The relative error of a gain from all sketches, given the gain of each of the R sketches alone."""
    repeats = len(alone)
    mean = sum(alone) / repeats
    variance = sum((one - mean) ** 2 for one in alone) / (repeats - 1) / repeats
    return math.sqrt(variance + ((mean - gain) / (repeats - 1)) ** 2) / gain if gain > 0 else math.inf
