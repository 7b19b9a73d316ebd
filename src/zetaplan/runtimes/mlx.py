"""MLX: integers with a scale and a bias in every group, for every linear and embedding by itself."""

from __future__ import annotations

from collections.abc import Sequence

from zetaplan.menus.bits import Weight
from zetaplan.models.quantizers import Quantizer
from zetaplan.models.quantizers._integers import Integer
from zetaplan.models.quantizers.floats import Float

NAME = "mlx"
FUSED: Sequence[Sequence[str]] = ()
BITS, GROUPS = (2, 3, 4, 5, 6, 8), (32, 64, 128)


def obstacle(quantizer: Quantizer, weight: Weight) -> str:
    if isinstance(quantizer, Float):
        return "" if quantizer.label == "bf16" else "unquantised tensors are stored in bf16"
    if not isinstance(quantizer, Integer) or quantizer.symmetric:
        return "MLX quantises by scale and bias; use intB-gN-asym"
    if quantizer.calibrated:
        return "MLX rounds to nearest; use intB-gN-asym"
    if quantizer.bits not in BITS or quantizer.group not in GROUPS:
        return f"MLX has bits {', '.join(map(str, BITS))} and groups of {', '.join(map(str, GROUPS))}"
    return quantizer.obstacle(weight.rows, weight.columns)


def size(quantizer: Quantizer, weight: Weight) -> int:
    if not isinstance(quantizer, Integer):
        return weight.count * quantizer.size(weight.rows, weight.columns)
    rows = weight.count * weight.rows
    return rows * weight.columns * quantizer.bits // 8 + 4 * rows * quantizer.groups(weight.columns)


def kept(numel: int) -> int:
    return 2 * numel
