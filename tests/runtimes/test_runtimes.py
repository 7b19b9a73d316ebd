"""What every runtime loads, and in how many bytes, against a table written by hand."""

from __future__ import annotations

import itertools

import pytest

from zetaplan.errors import SpecError
from zetaplan.menus.bits import Weight
from zetaplan.models.quantizers import find_quantizer
from zetaplan.runtimes import find_runtime, fused, runtime_names


def weight(module: str = "layers.0.o_proj", *, layer: str = "layers.0", count: int = 1, columns: int = 512) -> Weight:
    return Weight(name=f"{module}.weight", module=module, layer=layer, count=count, rows=96, columns=columns)


WEIGHTS = {
    "linear": weight(),
    "odd linear": weight(columns=100),
    "576 columns": weight(columns=576),
    "experts": weight("layers.0.experts", count=4),
    "embedding": weight("embed", layer=""),
}
#: Bits of a weight where everything divides, and the columns of a block or group.
GGUF = {"q4_0": (4.5, 32), "q5_1": (6.0, 32), "q8_0": (8.5, 32), "q4_k": (4.5, 256), "q6_k": (6.5625, 256),
        "iq4_nl": (4.5, 32), "iq4_xs": (4.25, 256), "mxfp4": (4.25, 32)}  # fmt: skip
FLOATS = {"f32": 32, "f16": 16, "bf16": 16}
#: Bits, columns of a group (0: a row), zero points, calibrated.
INTEGERS = {
    "int4-g64": (4, 64, False, False), "int8": (8, 0, False, False), "int4-g64-asym": (4, 64, True, False),
    "int3-g32": (3, 32, False, False), "int7-g64-asym": (7, 64, True, False), "int4-g4-asym": (4, 4, True, False),
    "gptq4-g64": (4, 64, False, True), "gptq4-g64-asym": (4, 64, True, True),
}  # fmt: skip
LABELS = (*GGUF, *FLOATS, *INTEGERS)


def loads(runtime: str, label: str, name: str) -> bool:
    """The table: may the runtime store this matrix in this format?"""
    columns, outside = WEIGHTS[name].columns, name == "embedding"
    if label in FLOATS:
        return runtime == "llama.cpp" or label == "bf16"
    if label in GGUF:
        return runtime == "llama.cpp" and columns % GGUF[label][1] == 0
    bits, group, asymmetric, calibrated = INTEGERS[label]
    divides = not group or columns % group == 0
    if runtime == "vllm":
        return divides and not outside
    if runtime == "torchao":
        return divides and not outside and not asymmetric and not calibrated and name != "experts"
    if runtime == "mlx":
        return divides and asymmetric and not calibrated and bits in (2, 3, 4, 5, 6, 8) and group in (32, 64, 128)
    return False


@pytest.mark.parametrize("runtime", runtime_names())
def test_every_pair_of_format_and_matrix_is_as_in_the_table(runtime: str) -> None:
    found = find_runtime(runtime)
    for label, name in itertools.product(LABELS, WEIGHTS):
        reason = found.obstacle(find_quantizer(label), WEIGHTS[name])
        assert (reason == "") == loads(runtime, label, name), (label, name, reason)
        assert "\n" not in reason


def words(codes: int, bits: int) -> int:
    """Bytes of codes without gaps, in whole words of 32 bits."""
    return 4 * ((codes * bits + 31) // 32)


def size(runtime: str, label: str, w: Weight) -> int:
    """The table: bytes of the stored matrix."""
    n = w.count * w.rows * w.columns
    if label in FLOATS:
        return n * FLOATS[label] // 8
    if label in GGUF:
        return (round(n * GGUF[label][0]) // 8 + 31) // 32 * 32
    bits, group, asymmetric, _ = INTEGERS[label]
    groups = w.columns // group if group else 1
    if runtime == "torchao":
        return n * bits // 8 + 2 * w.rows * groups
    if runtime == "mlx":
        return n * bits // 8 + w.count * w.rows * groups * (2 + 2)
    zeros = groups * words(w.rows, bits) if asymmetric else 0
    return w.count * (w.rows * words(w.columns, bits) + 2 * w.rows * groups + zeros)


@pytest.mark.parametrize("runtime", runtime_names())
def test_sizes_are_those_of_the_table(runtime: str) -> None:
    found, count = find_runtime(runtime), 0
    for label, name in itertools.product(LABELS, WEIGHTS):
        if loads(runtime, label, name):
            count += 1
            extra = found.size(find_quantizer(label), WEIGHTS[name]) - size(runtime, label, WEIGHTS[name])
            shape = 16 * WEIGHTS[name].count if runtime == "vllm" and label in INTEGERS else 0
            assert extra in (0, shape), (label, name)  # compressed-tensors stores the shape beside the codes
    assert count >= 5


def test_what_is_not_planned_is_stored_in_the_number_type_of_the_runtime() -> None:
    kept = {name: find_runtime(name).kept(33) for name in runtime_names()}
    assert kept == {"llama.cpp": 160, "mlx": 66, "torchao": 66, "vllm": 66}  # 132 bytes are padded to 160


@pytest.mark.parametrize("name", ["gguf", "", "vLLM", None, 3, ["vllm"], {}])
def test_an_unknown_runtime_is_refused_with_the_names(name: object) -> None:
    with pytest.raises(SpecError, match=r"for = .*: expected one of llama\.cpp, mlx, torchao, vllm"):
        find_runtime(name)  # type: ignore[arg-type]


def linears(*names: str) -> list[Weight]:
    return [weight(f"layers.{layer}.{name}", layer=f"layers.{layer}") for layer in range(2) for name in names]


def test_vllm_ties_what_it_stores_in_one_tensor() -> None:
    names = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
             "mlp.up_proj", "mlp.down_proj")  # fmt: skip
    found = fused(find_runtime("vllm"), linears(*names))
    one = lambda layer, *own: tuple(f"layers.{layer}.{name}.weight" for name in own)  # noqa: E731
    assert sorted(found) == sorted(one(layer, *own) for layer in range(2) for own in (names[:3], names[4:6]))
    assert fused(find_runtime("llama.cpp"), linears(*names)) == []


def test_vllm_ties_the_down_projections_of_latent_attention() -> None:
    names = ("self_attn.q_a_proj", "self_attn.kv_a_proj_with_mqa", "self_attn.q_b_proj", "self_attn.kv_b_proj")
    found = fused(find_runtime("vllm"), linears(*names))
    assert found == [tuple(f"layers.{layer}.{name}.weight" for name in names[:2]) for layer in range(2)]
    assert fused(find_runtime("vllm"), linears("self_attn.q_proj", "self_attn.kv_a_proj_with_mqa")) == []


def test_linears_of_one_name_under_two_parents_are_apart() -> None:
    """Two experts with w1 and w3 are two pairs."""
    found = fused(find_runtime("vllm"), linears("experts.0.w1", "experts.0.w3", "experts.1.w1", "experts.1.w3"))
    assert all(len(group) == 2 for group in found)
    assert len(found) == 4


@pytest.mark.parametrize("runtime", runtime_names())
def test_the_stacks_of_one_module_of_experts_are_one(runtime: str) -> None:
    up, down = weight("layers.0.experts", count=4), weight("layers.0.experts", count=4)
    down = down.model_copy(update={"name": "layers.0.experts.down"})
    assert fused(find_runtime(runtime), [up, down]) == [(up.name, down.name)]
