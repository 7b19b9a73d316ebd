"""The GGUF types that the package gguf can quantise, by its own code: q4_0, q4_1, q5_0, q5_1, q8_0 and mxfp4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zetaplan.errors import ScoringError
from zetaplan.models.quantizers._gguf import Blockwise

if TYPE_CHECKING:
    from torch import Tensor

LABELS = ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "mxfp4")
FORMS = ", ".join(LABELS)


@dataclass(frozen=True)
class GGUFType(Blockwise):
    def packed(self, weight: Tensor) -> NDArray[np.uint8]:
        """The stored rows, (rows, bytes of a row). Raises ScoringError if a weight is too large for its scales."""
        stored = self._packed(weight)
        self._values(stored)
        return stored

    def rounded(self, weight: Tensor, gram: Tensor | None = None) -> Tensor:
        import torch

        return torch.from_numpy(self._values(self._packed(weight))).to(weight.device)

    def _packed(self, weight: Tensor) -> NDArray[np.uint8]:
        with np.errstate(all="ignore"):  # values that overflow are found when they are read back
            stored: NDArray[np.uint8] = _quants(self.label).quantize(
                weight.detach().float().cpu().numpy(), _type(self.label)
            )
        return stored

    def _values(self, stored: NDArray[np.uint8]) -> NDArray[np.float32]:
        with np.errstate(all="ignore"):
            values: NDArray[np.float32] = _quants(self.label).dequantize(stored, _type(self.label))
        if not np.isfinite(values).all():
            raise ScoringError(f"format {self.label}: a weight is too large for its scales; use bf16 or f32")
        return values


def parse(label: str) -> GGUFType | None:
    return GGUFType(label) if label in LABELS else None


def _type(label: str) -> Any:
    from gguf import GGMLQuantizationType

    return GGMLQuantizationType[label.upper()]


def _quants(label: str) -> Any:
    try:
        from gguf import quants
    except ImportError as error:
        raise ScoringError(f"format {label}: it needs pip install 'zetaplan[gguf]'") from error
    return quants
