"""Integer codes with one scale, and one zero point or none, for every group of neighbouring columns.

A group w_1..w_g of a row is stored as integers q in [0, 2^b - 1] with w ~ scale (q - zero). The symmetric form has the
fixed zero 2^(b-1). Scales are rounded before the codes are computed, so that the codes belong to the stored scale. They
are rounded to the 8 digits of bfloat16, within the range of float16: both number types store them exactly, and a
runtime that computes in either one reads the planned values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zetaplan.errors import ScoringError
from zetaplan.models.quantizers import Quantizer

if TYPE_CHECKING:
    from torch import Tensor

SCALE = 2  # bytes of a scale in float16
SMALLEST = 2.0**-14  # normal number of float16
WORD = 4  # bytes; the codes of a row are packed without gaps and end with a whole word, as in compressed-tensors


@dataclass(frozen=True, eq=False)
class Codes:
    """A stored matrix: q (rows, columns), zero (rows, groups) from 0 to 2^bits - 1; scale (rows, groups), float16."""

    q: Tensor
    scale: Tensor
    zero: Tensor

    @property
    def values(self) -> Tensor:
        """scale (q - zero), (rows, columns), float32."""
        rows, groups = self.scale.shape
        steps = self.q.view(rows, groups, -1).float() - self.zero.float()[..., None]
        return (steps * self.scale.float()[..., None]).reshape(rows, -1)


@dataclass(frozen=True)
class Integer(Quantizer):
    """bits : of a code, 2 to 8. group : columns that share a scale; 0 for the whole row. symmetric : no zero points."""

    bits: int
    group: int
    symmetric: bool

    def obstacle(self, rows: int, columns: int) -> str:
        if self.group and columns % self.group:
            return f"{columns} columns are no multiple of its group of {self.group}"
        return ""

    def size(self, rows: int, columns: int) -> int:
        """Packed codes, scales of two bytes and, if asymmetric, zero points packed along the rows."""
        groups = self.groups(columns)
        zeros = 0 if self.symmetric else groups * self._packed(rows)
        return rows * self._packed(columns) + zeros + rows * groups * SCALE

    def groups(self, columns: int) -> int:
        """The number of scales of a row."""
        return columns // self.group if self.group else 1

    def grid(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Scale, in float16, and zero point of groups (..., g), both (...)."""
        levels = 2**self.bits - 1
        if self.symmetric:
            scale = self._stored(weight.abs().amax(-1) * 2 / levels)
            return scale, scale.new_full(scale.shape, 2 ** (self.bits - 1)).byte()
        low, high = weight.amin(-1).clamp(max=0), weight.amax(-1).clamp(min=0)
        scale = self._stored((high - low) / levels)
        return scale, (-low / scale.float()).round().clamp(0, levels).byte()

    def code(self, weight: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        """The nearest codes of weights; scale and zero broadcast to them."""
        return ((weight / scale.float()).round() + zero.float()).clamp(0, 2**self.bits - 1).byte()

    def codes(self, weight: Tensor, gram: Tensor | None = None) -> Codes:
        """The stored matrix, by rounding to the nearest code."""
        grouped = weight.float().reshape(len(weight), self.groups(weight.shape[1]), -1)
        scale, zero = self.grid(grouped)
        return Codes(self.code(grouped, scale[..., None], zero[..., None]).view_as(weight), scale, zero)

    def rounded(self, weight: Tensor, gram: Tensor | None = None) -> Tensor:
        return self.codes(weight, gram).values

    def _packed(self, codes: int) -> int:
        """The bytes of so many codes."""
        return -(-codes * self.bits // (8 * WORD)) * WORD

    def _stored(self, scale: Tensor) -> Tensor:
        rounded = scale.clamp(min=SMALLEST).bfloat16().half()
        if rounded.isinf().any():
            raise ScoringError(f"format {self.label}: a weight is too large for a scale in float16; use bf16")
        return rounded


def parsed(label: str, prefix: str) -> tuple[int, int, bool] | None:
    """Bits, group and symmetry of a label such as PREFIX4-g64-asym."""
    found = re.fullmatch(rf"{prefix}([2-8])(?:-g([1-9]\d{{0,5}}))?(-asym)?", label, re.ASCII)
    return (int(found[1]), int(found[2] or 0), found[3] is None) if found else None
