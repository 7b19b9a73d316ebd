"""Floating-point numbers without scales: f32, f16 and bf16."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zetaplan.errors import ScoringError
from zetaplan.models.quantizers import Quantizer

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
FORMS = "f32, f16, bf16"


@dataclass(frozen=True)
class Float(Quantizer):
    @property
    def dtype(self) -> torch.dtype:
        """The number type of torch."""
        return DTYPES[self.label]

    def size(self, rows: int, columns: int) -> int:
        return rows * columns * self.dtype.itemsize

    def rounded(self, weight: Tensor, gram: Tensor | None = None) -> Tensor:
        values = weight.to(self.dtype).to(torch.float32)
        if not values.isfinite().all():
            raise ScoringError(f"format {self.label}: a weight exceeds its largest number; use bf16 or f32")
        return values


def parse(label: str) -> Float | None:
    return Float(label) if label in DTYPES else None
