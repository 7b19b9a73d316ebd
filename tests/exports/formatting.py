"""Plans of formats for the matrices of any model, and models of four architectures to plan for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from tests.exports.architectures import tiny
from zetaplan.menus.bits import BitsFacts, Weight
from zetaplan.menus.menu import Menu
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.planner import choose
from zetaplan.models.quantizers import find_quantizer
from zetaplan.models.weights import others, weights
from zetaplan.runtimes import find_runtime, fused

LAYERS = 12  # layer 1 is not layer 11
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "moe_intermediate_size": 64,
    "num_hidden_layers": LAYERS,
    "head_dim": 32,
}

#: Models without weights, by architecture.
MODELS: dict[str, Callable[[], nn.Module]] = {
    "llama": lambda: tiny("llama", **SIZES),
    "qwen3": lambda: tiny("qwen3", tie_word_embeddings=True, **SIZES),
    "gpt2": lambda: tiny("gpt2", **SIZES),
    "qwen3_moe": lambda: tiny("qwen3_moe", **SIZES),
}

INTEGERS = ("int2-g32", "int3-g64", "int4-g32", "gptq4-g64", "int8", "bf16")
ASYMMETRIC = ("int2-g32-asym", "int3-g64-asym", "int4-g32-asym", "int8-g64-asym", "bf16")
GGUF = ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "mxfp4", "iq4_nl", "f16", "bf16", "f32")

#: The formats that each tool takes for the linears of the decoder layers.
TOOLS: dict[str, tuple[str, ...]] = {
    "auto-round": (*INTEGERS, "int3-g32-asym"),
    "compressed-tensors": (*INTEGERS, *ASYMMETRIC),
    "csv": (*INTEGERS, *GGUF, "q4_k"),
    "gptqmodel": (*INTEGERS, *ASYMMETRIC),
    "json": (*INTEGERS, *GGUF, "q4_k"),
    "llama-quantize": GGUF,
    "llm-compressor": (*INTEGERS, *ASYMMETRIC),
    "mlx": ASYMMETRIC,
    "modelopt": INTEGERS,
    "torchao": INTEGERS,
}
WHOLE = ("csv", "json", "llama-quantize", "mlx")  # they quantise embedding and head too
FUSED = ("compressed-tensors", "gptqmodel", "llm-compressor")
NO_CONV1D = ("compressed-tensors", "llm-compressor", "mlx", "modelopt", "torchao")


def takes(to: str, weight: Weight) -> tuple[str, ...]:
    """The formats of the matrix that the tool takes."""
    if (to not in WHOLE and not weight.layer) or (to == "torchao" and weight.count > 1):
        return ("bf16",)
    if to in NO_CONV1D and weight.transposed and weight.count == 1:
        return ("bf16",)
    if to == "auto-round" and (weight.rows % 32 or weight.columns % 32):
        return ("bf16",)
    fits = [name for name in TOOLS[to] if not find_quantizer(name).obstacle(weight.rows, weight.columns)]
    return tuple(fits)


def plan_of(model: nn.Module, formats: Mapping[str, str]) -> ChoicePlan:
    """The plan that stores each matrix as said, by the name of its parameter."""
    found = {weight.name: weight for weight in weights(model) if weight.name in formats}
    labels = [formats[name] for name in found]
    costs = [
        w.count * find_quantizer(label).size(w.rows, w.columns) for w, label in zip(found.values(), labels, strict=True)
    ]
    facts = BitsFacts(
        model="tiny", model_sha256="0" * 64, weights={name: (w,) for name, w in found.items()}, others=others(model)
    )
    menu = Menu(
        tuple(found),
        tuple((label,) for label in labels),
        tuple((0.0,) for _ in labels),
        tuple(((float(cost),),) for cost in costs),
        budgets=("size",),
        units=("bytes",),
        provenance=facts.model_dump(mode="json"),
    )
    return choose(menu, float(sum(costs)))


def drawn(model: nn.Module, to: str, pick: Callable[[tuple[str, ...]], str]) -> dict[str, str]:
    """A format that the tool takes for every matrix, the same one for those that it wants to be equal."""
    formats = {weight.name: pick(takes(to, weight)) for weight in weights(model)}
    ties = fused(find_runtime("vllm"), weights(model)) if to in FUSED else []
    formats |= {name: formats[names[0]] for names in ties for name in names}
    if set(formats.values()) <= {"bf16", "f16", "f32"}:
        first = next(w for w in weights(model) if takes(to, w) != ("bf16",))
        ties = [names for names in ties if first.name in names] or [(first.name,)]
        formats |= dict.fromkeys(ties[0], takes(to, first)[0])
    return formats
