"""Integers, rounded by GPTQ (Frantar, Ashkboos, Hoefler & Alistarh 2023, "GPTQ: Accurate Post-Training Quantization
for Generative Pre-trained Transformers", arXiv 2210.17323): gptq4-g64 is stored like int4-g64.

Columns are rounded from left to right. The error of a column is compensated in the columns to its right, with the
factor U of `zetaplan.models.inverse_hessian`: rounding w_j to v_j changes the columns right of it by
-((w_j - v_j) / U_jj) U_j,j: . The scale of a group is fitted to the corrected weights when its
first column is reached.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from zetaplan.models.quantizers._integers import Codes, Integer, parsed

if TYPE_CHECKING:
    from torch import Tensor

FORMS = "gptqB, gptqB-gN, gptqB-gN-asym (stored as intB, rounded by GPTQ)"

#: Columns whose corrections are carried together to the columns right of them; no effect on the result but rounding.
WIDTH = 128


@dataclass(frozen=True)
class GPTQ(Integer):
    calibrated: ClassVar[bool] = True

    def codes(self, weight: Tensor, gram: Tensor | None = None) -> Codes:
        """The stored matrix; rounded to nearest if the inputs are unknown."""
        if gram is None:
            return super().codes(weight)
        import torch

        from zetaplan.models.inverse_hessian import inverse_factor

        factor = inverse_factor(gram.to(weight.device)).float()
        left = weight.float().mT.clone(memory_format=torch.contiguous_format)  # a column of W is contiguous
        group = self.group or len(left)
        width = math.gcd(self.group, WIDTH) or WIDTH
        q = torch.empty_like(left, dtype=torch.uint8)
        grids: list[tuple[Tensor, Tensor]] = []
        for start in range(0, len(left), width):
            if start % group == 0:
                grids.append(self.grid(left[start : start + group].mT))
            self._sweep(left, q, factor, grids[-1], slice(start, min(start + width, len(left))))
        scales, zeros = (torch.stack(parts, 1) for parts in zip(*grids, strict=True))
        return Codes(q.mT.contiguous(), scales, zeros)

    def _sweep(self, left: Tensor, q: Tensor, factor: Tensor, grid: tuple[Tensor, Tensor], part: slice) -> None:
        """Round the columns of `part` and correct all columns right of them, in place."""
        scale, zero = grid
        errors = left[part].clone()
        for j in range(part.start, part.stop):
            q[j] = self.code(left[j], scale, zero)
            value = (q[j].float() - zero.float()) * scale.float()
            errors[j - part.start] = (left[j] - value) / factor[j, j]
            left[j + 1 : part.stop].addr_(factor[j, j + 1 : part.stop], errors[j - part.start], alpha=-1)
        left[part.stop :] -= factor[part, part.stop :].mT @ errors


def parse(label: str) -> GPTQ | None:
    found = parsed(label, "gptq")
    return GPTQ(label, *found) if found else None
