"""What one pass leaves of the per-sequence gradients G (N x d) of a block, before they are dropped.

A statistic sees G in column chunks, in any order of the parameters, and forgets each chunk: the gradients
themselves (N times the size of the model) never exist at once.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Statistic(ABC):
    """A sum over the columns of G, for N sequences."""

    @abstractmethod
    def __init__(self, sequences: int) -> None: ...

    @abstractmethod
    def add(self, gradients: Tensor) -> None:
        """Take in the gradients (N, p) of p further parameters, float32 or float64."""

    @property
    @abstractmethod
    def gradient_norm(self) -> float:
        """|g|, where g = G' 1 / N is the gradient of the mean loss."""


class Gram(Statistic):
    """G G', shape (N, N): each product in the precision of G, their sum in float64."""

    def __init__(self, sequences: int) -> None:
        self.parameters = 0
        self.products = torch.zeros(sequences, sequences, dtype=torch.float64)

    def add(self, gradients: Tensor) -> None:
        self.parameters += gradients.shape[1]
        self.products += (gradients @ gradients.mT).to(self.products)

    @property
    def gradient_norm(self) -> float:
        return float(self.products.sum().clamp(min=0).sqrt() / len(self.products))


class Moments(Statistic):
    """Mean g and mean square F_jj of every column: two numbers per parameter, kept on the CPU."""

    def __init__(self, sequences: int) -> None:
        self.sequences = sequences
        self.chunks: list[tuple[Tensor, Tensor]] = []

    def add(self, gradients: Tensor) -> None:
        self.chunks.append((gradients.mean(0).cpu(), gradients.square().mean(0).cpu()))

    @property
    def gradient_norm(self) -> float:
        return math.sqrt(sum(float(mean.double().square().sum()) for mean, _ in self.chunks))
