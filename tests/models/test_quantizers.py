"""Quantizers: values against independent implementations, sizes against the bytes that tools write, laws, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from zetaplan.errors import ScoringError, SpecError
from zetaplan.menus.bits import Weight
from zetaplan.models.quantizers import find_quantizer
from zetaplan.models.quantizers._gguf import BLOCKS, padded
from zetaplan.models.quantizers.gguf_types import LABELS
from zetaplan.models.weights import matrices

INTEGERS = ("int2-g16", "int3-g32-asym", "int4-g32", "int4-g64-asym", "int5-g16", "int6-asym", "int7-g64", "int8")
FLOATS = ("f32", "f16", "bf16")
ROUNDING = (*INTEGERS, *LABELS, *FLOATS)


def drawn(rows: int, columns: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * scale


def literal(label: str, weight: Tensor) -> np.ndarray:
    """Rounding to nearest as the page on formats defines it, group by group, in float64."""
    quantizer = find_quantizer(label)
    levels, group = 2**quantizer.bits - 1, quantizer.group or weight.shape[1]
    values = weight.double().numpy()
    out = np.zeros_like(values)
    for row in range(values.shape[0]):
        for start in range(0, values.shape[1], group):
            part = values[row, start : start + group]
            if quantizer.symmetric:
                scale, zero = 2 * np.abs(part).max() / levels, 2 ** (quantizer.bits - 1)
            else:
                low, high = min(part.min(), 0.0), max(part.max(), 0.0)
                scale, zero = (high - low) / levels, None
            scale = max(float(torch.tensor(scale, dtype=torch.float32).bfloat16()), 2.0**-14)
            if zero is None:
                zero = min(max(round(-low / scale), 0), levels)
            codes = np.clip(np.round(part / scale) + zero, 0, levels)
            out[row, start : start + group] = scale * (codes - zero)
    return out


@pytest.mark.parametrize("label", INTEGERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-2, 3.7, 1e3])
def test_rounding_to_nearest_is_the_literal_one(label: str, dtype: torch.dtype, scale: float) -> None:
    weight = drawn(24, 128, scale=scale).to(dtype)
    expected = literal(label, weight.float())
    found = find_quantizer(label).rounded(weight).double().numpy()
    ties = np.abs(found - expected) > 1e-6 * np.abs(expected).max()  # float32 and float64 part at a tie
    assert ties.mean() < 1e-3
    assert np.abs(found - expected)[ties].max(initial=0.0) <= 1.01 * np.abs(expected).max()


@pytest.mark.parametrize("label", INTEGERS)
def test_codes_scales_and_zeros_are_those_of_compressed_tensors(label: str) -> None:
    """Given our scales and zero points, its own fake quantisation gives our values, bit for bit."""
    ct = pytest.importorskip("compressed_tensors.quantization", reason="compressed-tensors is not installed")
    from compressed_tensors.quantization.lifecycle.forward import fake_quantize

    quantizer, weight = find_quantizer(label), drawn(24, 128)
    codes = quantizer.codes(weight)
    args = ct.QuantizationArgs(
        num_bits=quantizer.bits,
        symmetric=quantizer.symmetric,
        strategy="group" if quantizer.group else "channel",
        group_size=quantizer.group or None,
    )
    half = 2 ** (quantizer.bits - 1)
    zero = (codes.zero.int() - half).to(torch.int8)
    theirs = fake_quantize(weight, codes.scale.float(), zero, args)
    assert torch.equal(theirs, codes.values)


@pytest.mark.parametrize("label", INTEGERS)
def test_scales_are_the_same_in_float16_and_bfloat16(label: str) -> None:
    scale = find_quantizer(label).codes(drawn(24, 128)).scale
    assert scale.dtype == torch.float16
    assert torch.equal(scale.bfloat16().float(), scale.float())


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("suffix", ["", "-g32", "-asym", "-g32-asym"])
@pytest.mark.parametrize(("rows", "columns"), [(24, 128), (7, 96), (33, 64)])
def test_the_size_is_that_of_what_compressed_tensors_packs(bits: int, suffix: str, rows: int, columns: int) -> None:
    packing = pytest.importorskip(
        "compressed_tensors.compressors.pack_quantized.helpers", reason="compressed-tensors is not installed"
    )
    quantizer = find_quantizer(f"int{bits}{suffix}")
    codes = quantizer.codes(drawn(rows, columns))
    half = 2 ** (bits - 1)
    parts = [packing.pack_to_int32((codes.q.int() - half).to(torch.int8), bits), codes.scale]
    if not quantizer.symmetric:
        parts.append(packing.pack_to_int32((codes.zero.int() - half).to(torch.int8), bits, packed_dim=0))
    assert quantizer.size(rows, columns) == sum(part.nbytes for part in parts)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gguf_types_are_those_of_the_package_bit_for_bit(label: str, dtype: torch.dtype) -> None:
    from gguf import GGMLQuantizationType, quants

    kind, weight = GGMLQuantizationType[label.upper()], drawn(16, 128).to(dtype)
    stored = quants.quantize(weight.float().numpy(), kind)
    quantizer = find_quantizer(label)
    assert np.array_equal(quantizer.packed(weight), stored)
    assert np.array_equal(quantizer.rounded(weight).numpy(), quants.dequantize(stored, kind))
    assert quantizer.size(16, 128) == padded(stored.nbytes)


@pytest.mark.parametrize("label", BLOCKS)
def test_blocks_are_those_of_the_package(label: str) -> None:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    assert BLOCKS[label] == GGML_QUANT_SIZES[GGMLQuantizationType[label.upper()]]


@pytest.mark.parametrize("label", ROUNDING)
def test_rounding_twice(label: str) -> None:
    """Changes nothing for floats and GGUF types, little with zero points, and much with symmetric integers.

    A symmetric scale puts the largest weight between two codes, so the second scale is 8/7.5 or 7/7.5 of the first.
    """
    quantizer, weight = find_quantizer(label), drawn(64, 128)
    once = quantizer.rounded(weight)
    change = (quantizer.rounded(once) - once).square().mean() / (once - weight).square().mean().clamp(min=1e-30)
    assert change <= (0.0 if label not in INTEGERS else 0.02 if label.endswith("asym") else 0.75)


@given(
    label=st.sampled_from(ROUNDING),
    rows=st.integers(1, 9),
    groups=st.integers(1, 3),
    exponent=st.floats(-30, 30),
    kind=st.sampled_from(["normal", "constant", "zero", "one outlier", "one sign"]),
    seed=st.integers(0, 99),
)
def test_laws(label: str, rows: int, groups: int, exponent: float, kind: str, seed: int) -> None:
    """Of any size: finite values of the same shape, no larger than the largest weight and half a step, or a refusal."""
    quantizer = find_quantizer(label)
    weight = drawn(rows, 64 * groups, seed)
    if kind in ("constant", "zero"):
        weight = torch.full_like(weight, float(kind == "constant"))
    if kind == "one outlier":
        weight[0, 0] = 100.0
    weight = (weight.abs() if kind == "one sign" else weight) * 10.0**exponent
    try:
        values = quantizer.rounded(weight)
    except ScoringError as error:
        if exponent < 3 or f"format {label}: " not in str(error):
            raise
        return
    assert values.shape == weight.shape
    assert values.dtype == torch.float32
    assert values.isfinite().all()
    if kind == "zero":
        assert not values.any()
    largest = float(weight.abs().max())
    assert float((values - weight).abs().max()) <= 1.01 * max(largest, 2.0**-14)  # at worst zero is read
    assert quantizer.size(rows, 64 * groups) >= 1
    if kind == "constant" and 1e-3 < largest < 1e3 and label not in ("mxfp4", "int2-g16"):
        assert float((values - weight).abs().max()) <= 0.15 * largest


@pytest.mark.parametrize(("fine", "coarse"), [("int8", "int4-g64"), ("int4-g64", "int3-g64"), ("q8_0", "q4_0")])
def test_more_bits_have_a_smaller_error(fine: str, coarse: str) -> None:
    weight = drawn(64, 128)
    errors = [(find_quantizer(label).rounded(weight) - weight).square().sum() for label in (fine, coarse)]
    assert errors[0] < errors[1]


def test_experts_are_rounded_matrix_by_matrix() -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stack = nn.Parameter(torch.stack([drawn(32, 64, seed) for seed in range(3)]))
            self.transposed = nn.Parameter(torch.stack([drawn(64, 32, seed) for seed in range(3)]))

    model = Experts()
    shape = {"module": "", "count": 3, "rows": 32, "columns": 64}
    plain = matrices(model, Weight(name="stack", **shape))
    turned = matrices(model, Weight(name="transposed", transposed=True, **shape))
    assert plain.shape == turned.shape == (3, 32, 64)
    for found in (plain, turned):
        assert found.untyped_storage().data_ptr() in {p.untyped_storage().data_ptr() for p in model.parameters()}
        for matrix in found:
            one = find_quantizer("q4_0").rounded(matrix)
            assert torch.equal(one, find_quantizer("q4_0").rounded(matrix.clone()))
            assert not torch.equal(one, matrix)


@pytest.mark.parametrize("label", ["int1", "int9", "int4-g0", "q4_2", "gptq4-asym-g64", "INT4", "", "int4-g64 ", None])
def test_an_unknown_label_is_refused_with_the_forms(label: object) -> None:
    with pytest.raises(SpecError, match=r"^format = .*: expected one of .*intB-gN"):
        find_quantizer(label)  # type: ignore[arg-type]


def test_what_only_llama_cpp_rounds_says_so() -> None:
    with pytest.raises(ScoringError, match=r"only llama\.cpp can round to it; export the plan for llama-quantize"):
        find_quantizer("q4_k").rounded(drawn(2, 256))


@pytest.mark.parametrize("label", ["int4-g32", "q4_0", "f16"])
def test_weights_too_large_for_a_format_are_refused(label: str) -> None:
    with pytest.raises(ScoringError, match=f"format {label}: a weight"):
        find_quantizer(label).rounded(drawn(2, 64, scale=1e30))


def test_a_shape_that_a_format_cannot_store_is_said() -> None:
    assert "96 columns are no multiple of its group of 64" in find_quantizer("int4-g64").obstacle(8, 96)
    assert "576 columns are no multiple of its block of 256" in find_quantizer("q4_k").obstacle(8, 576)
    assert not find_quantizer("int4").obstacle(8, 95)
    assert math.isclose(find_quantizer("int4-g64").size(64, 64) * 8 / 64**2, 4.25)
