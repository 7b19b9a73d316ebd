"""Floating-point numbers without scales: f32, f16 and bf16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zetaplan.errors import ScoringError
from zetaplan.models.quantizers import Quantizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor

NAMES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}  # of torch
BYTES = {"f32": 4, "f16": 2, "bf16": 2}  # of a number
FORMS = "f32, f16, bf16"


@dataclass(frozen=True)
class Float(Quantizer):
    @property
    def dtype(self) -> torch.dtype:
        """The number type of torch."""
        import torch

        return getattr(torch, NAMES[self.label])  # type: ignore[no-any-return]

    def size(self, rows: int, columns: int) -> int:
        return rows * columns * BYTES[self.label]

    def rounded(self, weight: Tensor, gram: Tensor | None = None) -> Tensor:
        values = weight.to(self.dtype).float()
        if not values.isfinite().all():
            raise ScoringError(f"format {self.label}: a weight exceeds its largest number; use bf16 or f32")
        return values


def parse(label: str) -> Float | None:
    return Float(label) if label in BYTES else None
