"""torchao: symmetric integers with groups, chosen for every linear by itself; embedding and head stay in bfloat16."""

from __future__ import annotations

from collections.abc import Sequence

from zetaplan.menus.bits import Weight
from zetaplan.models.quantizers import Quantizer
from zetaplan.models.quantizers._integers import Integer
from zetaplan.models.quantizers.floats import Float

NAME = "torchao"
FUSED: Sequence[Sequence[str]] = ()


def obstacle(quantizer: Quantizer, weight: Weight) -> str:
    if isinstance(quantizer, Float):
        return "" if quantizer.label == "bf16" else "unquantised tensors are stored in bf16"
    if not weight.layer or weight.count > 1:
        return "only linears are quantised; use bf16"
    if not isinstance(quantizer, Integer) or not quantizer.symmetric:
        return "IntxWeightOnlyConfig takes symmetric integers; use intB-gN"
    if quantizer.calibrated:
        return "torchao rounds to nearest; use intB-gN"
    return quantizer.obstacle(weight.rows, weight.columns)


def size(quantizer: Quantizer, weight: Weight) -> int:
    """Codes as its kernels pack them, and bfloat16 scales; its plain layout takes one byte for every code."""
    if not isinstance(quantizer, Integer):
        return weight.count * quantizer.size(weight.rows, weight.columns)
    return weight.numel * quantizer.bits // 8 + 2 * weight.rows * quantizer.groups(weight.columns)


def kept(numel: int) -> int:
    return 2 * numel
