"""llama.cpp: GGUF types, chosen for every tensor by itself; norms, biases and routers are stored in float32."""

from __future__ import annotations

from collections.abc import Sequence

from zetaplan.menus.bits import Weight
from zetaplan.models.quantizers import Quantizer
from zetaplan.models.quantizers._gguf import Blockwise, padded
from zetaplan.models.quantizers.floats import Float

NAME = "llama.cpp"
FUSED: Sequence[Sequence[str]] = ()


def obstacle(quantizer: Quantizer, weight: Weight) -> str:
    if not isinstance(quantizer, Blockwise | Float):
        return "GGUF has no such type"
    return quantizer.obstacle(weight.rows, weight.columns)


def size(quantizer: Quantizer, weight: Weight) -> int:
    return padded(quantizer.size(weight.count * weight.rows, weight.columns))


def kept(numel: int) -> int:
    return padded(4 * numel)
