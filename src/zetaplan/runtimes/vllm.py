"""vLLM, by checkpoints of compressed-tensors: integers with groups; embedding and head stay in bfloat16.

vLLM stores q, k and v in one tensor, gate and up in another, and the down projections of latent attention in a third;
parts with different formats are refused when the model is loaded.
"""

from __future__ import annotations

from zetaplan.menus.bits import Weight
from zetaplan.models.quantizers import Quantizer
from zetaplan.models.quantizers._integers import Integer
from zetaplan.models.quantizers.floats import Float

NAME = "vllm"
FUSED = (
    ("q_proj", "k_proj", "v_proj"),
    ("gate_proj", "up_proj"),
    ("w1", "w3"),
    ("q_a_proj", "kv_a_proj_with_mqa"),
    ("in_proj_qkv", "in_proj_z"),
    ("in_proj_a", "in_proj_b"),
)
SHAPE = 16  # bytes of `weight_shape`, two numbers of 64 bits beside every packed linear


def obstacle(quantizer: Quantizer, weight: Weight) -> str:
    if isinstance(quantizer, Float):
        return "" if quantizer.label == "bf16" else "unquantised tensors are stored in bf16"
    if not weight.layer:
        return "embedding and head stay unquantised; use bf16"
    if not isinstance(quantizer, Integer):
        return "compressed-tensors has no such type; use intB-gN or gptqB-gN"
    return quantizer.obstacle(weight.rows, weight.columns)


def size(quantizer: Quantizer, weight: Weight) -> int:
    """The bytes of all tensors that are stored of the matrix."""
    shape = SHAPE if isinstance(quantizer, Integer) else 0
    return weight.count * (quantizer.size(weight.rows, weight.columns) + shape)


def kept(numel: int) -> int:
    return 2 * numel
