"""Kronecker factors of the empirical Fisher, one pair per linear, and zeta^2 in their eigenbasis.

A linear maps x_t to y_t = W x_t + b at every place t. With x_t extended by a 1 for the bias and d_t the gradient of
its sequence's loss at y_t, the gradient of sequence i is sum_t d_t x_t'. Assuming that places are independent of each
other, and d of x ("expand": Martens & Grosse 2015; Eschenhagen et al. 2023),

    F = (1/N) sum_i vec(sum_t d_t x_t') vec(.)'  ~  B (x) A,    A = (1/R) sum_t x_t x_t',    B = (1/N) sum_t d_t d_t',

over the R places that the loss can depend on: tokens with a later label, so that padding is not counted. With
A = U diag(a) U' and B = V diag(b) V', B (x) A has the eigenvalues b_j a_i, and the gradient in its eigenbasis is
V'(sum_t d_t x_t')U. A module other than a linear (a norm) has no such factors: its basis is the identity, with the
diagonal of the Fisher.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zetaplan.scoring.backward.per_sequence import CHUNK, LINEAR, Pairs, in_wide, per_sequence_gradients, tokens
from zetaplan.scoring.backward.statistics import Modulewise
from zetaplan.scoring.curvature import ModuleStep, OnePass


@dataclass(frozen=True, eq=False)
class Rotated:
    """One module in its eigenbasis.

    Attributes:
        left, right: V (out, out) and U (in, in); None for a module whose basis is the identity.
        factors: (out, in), the eigenvalues b_j a_i; for a module without factors the diagonal Fisher.
        mean: (out, in), g in the eigenbasis.
        square: (out, in), the mean over sequences of their squared gradients in the eigenbasis: the true diagonal of
            the Fisher.
    """

    left: Tensor | None
    right: Tensor | None
    factors: Tensor
    mean: Tensor
    square: Tensor


class KroneckerFactors(Modulewise):
    """Every module of a block in its eigenbasis: four numbers per parameter, stored on the CPU."""

    numbers = 8  # three, and the eigenvectors of both sides: up to five if one side is four times the other

    def __init__(self, sequences: int) -> None:
        self.sequences = sequences
        self.modules: dict[str, Rotated] = {}

    def add_module(self, name: str, module: nn.Module, pairs: Pairs, places: Sequence[Tensor]) -> None:
        linear = isinstance(module, LINEAR) and pairs[0][1] != ()  # no pair: its gradients alone are known
        self.modules[name] = _rotated(module, pairs, places) if linear else _unrotated(module, pairs)

    @property
    def gradient_norm(self) -> float:
        return math.sqrt(sum(_total(r.mean.double().square()) for r in self.modules.values()))


class Kronecker(OnePass):
    """H = sum over modules of V (x) U diag(spectrum) (V (x) U)'. Subclasses define the spectrum."""

    statistic = KroneckerFactors

    def __init__(self, factors: KroneckerFactors) -> None:
        self._sequences = factors.sequences
        self._modules = factors.modules
        self.trace = sum(_total(self.spectrum(r)) for r in self._modules.values())
        self.rank = sum(r.mean.numel() for r in self._modules.values())

    @staticmethod
    @abstractmethod
    def spectrum(module: Rotated) -> Tensor:
        """The eigenvalues (out, in) of H in the module's basis."""

    def gain(self, tau: float) -> float:
        return sum(_total(r.mean.square() / (self.spectrum(r) + tau)) for r in self._modules.values())

    def noise_floor(self, tau: float) -> float:
        return sum(_total(r.square / (self.spectrum(r) + tau)) for r in self._modules.values()) / self._sequences

    def effective_dimension(self, tau: float) -> float:
        spectra = [self.spectrum(r) for r in self._modules.values()]
        return sum(_total(spectrum / (spectrum + tau)) for spectrum in spectra)

    def step(self, tau: float) -> ModuleStep:
        def of_module(name: str, module: nn.Module, pairs: Pairs) -> Tensor:
            rotated = self._modules[name]
            step = -rotated.mean / (self.spectrum(rotated) + tau)
            if rotated.left is None or rotated.right is None:
                return step.flatten()
            step = rotated.left @ step @ rotated.right.mT
            inputs = module.get_parameter("weight").numel() // len(step)
            return torch.cat([step[:, :inputs].flatten(), step[:, inputs:].flatten()])  # weight, then bias

        return of_module


def _rotated(module: nn.Module, pairs: Pairs, places: Sequence[Tensor]) -> Rotated:
    placed = [_placed(x, d, module.bias is not None) for x, d in in_wide(pairs)]
    wide = placed[0][1].dtype
    sequences = sum(len(d) for _, d in placed)
    counted = [_repeated(of_batch, d) for of_batch, (_, d) in zip(places, placed, strict=True)]
    xs, ds = (torch.cat([pair[i][kept] for pair, kept in zip(placed, counted, strict=True)]) for i in (0, 1))
    a, right = torch.linalg.eigh((xs.mT @ xs).double() / max(len(xs), 1))
    b, left = torch.linalg.eigh((ds.mT @ ds).double() / sequences)
    left, right = left.to(wide), right.to(wide)
    mean, square = torch.zeros(len(b), len(a), dtype=wide), torch.zeros(len(b), len(a), dtype=wide)
    turned = [(x @ right, d @ left) for x, d in placed]
    rows = max(1, CHUNK // (len(a) * sequences))
    for row in range(0, len(b), rows):
        chunk = torch.cat([torch.bmm(d[..., row : row + rows].mT, x) for x, d in turned])
        mean[row : row + rows], square[row : row + rows] = chunk.mean(0).cpu(), chunk.square().mean(0).cpu()
    factors = b.clamp(min=0)[:, None] * a.clamp(min=0)
    return Rotated(left.cpu(), right.cpu(), factors.to(wide).cpu(), mean, square)


def _repeated(places: Tensor, d: Tensor) -> Tensor:
    """The places (B, T), repeated once per call of a linear that is called several times."""
    return places.to(d.device).repeat(1, d.shape[1] // places.shape[1])


def _placed(x: Tensor, d: Tensor, bias: bool) -> tuple[Tensor, Tensor]:
    """Input (B, T, in) and output gradient (B, T, out). With a bias, a 1 is appended to the input."""
    x, d = tokens(x), tokens(d)
    return (torch.cat([x, torch.ones_like(x[..., :1])], dim=-1) if bias else x), d


def _unrotated(module: nn.Module, pairs: Pairs) -> Rotated:
    chunks = list(per_sequence_gradients(module, pairs))
    mean = torch.cat([chunk.mean(0) for chunk in chunks]).cpu()[:, None]
    square = torch.cat([chunk.square().mean(0) for chunk in chunks]).cpu()[:, None]
    return Rotated(None, None, square, mean, square)


def _total(values: Tensor) -> float:
    return float(values.sum(dtype=torch.float64))
