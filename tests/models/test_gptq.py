"""GPTQ: against a literal column-by-column implementation in float64, and against rounding to nearest."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zetaplan.errors import ScoringError
from zetaplan.models.inverse_hessian import DAMPING
from zetaplan.models.quantizers import find_quantizer
from zetaplan.models.quantizers._integers import Codes

LABELS = ("gptq2-g32", "gptq3-g16-asym", "gptq4-g32", "gptq4-g64-asym", "gptq5", "gptq8-asym")


def problem(rows: int = 24, columns: int = 192, tokens: int = 600, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A weight, and inputs that are correlated: a third of the directions carry most of them."""
    draw = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns // 3, columns, generator=draw)
    noise = 0.1 * torch.randn(tokens, columns, generator=draw)
    inputs = torch.randn(tokens, columns // 3, generator=draw) @ mixing + noise
    return torch.randn(rows, columns, generator=draw), inputs


def literal(label: str, weight: Tensor, gram: Tensor) -> Codes:
    """Every column in turn: round it, then correct the columns right of it by the inverse of what is left of H."""
    quantizer = find_quantizer(label)
    left, gram = weight.double(), gram.double()
    gram = gram + DAMPING * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    columns = left.shape[1]
    group = quantizer.group or columns
    q = torch.empty_like(left, dtype=torch.uint8)
    scales, zeros = [], []
    for j in range(columns):
        if j % group == 0:
            scale, zero = quantizer.grid(left[:, j : j + group])
            scales.append(scale)
            zeros.append(zero)
        q[:, j] = quantizer.code(left[:, j], scale, zero)
        value = (q[:, j].double() - zero) * scale.double()
        inverse = torch.linalg.inv(gram[j:, j:])
        left[:, j:] -= ((left[:, j] - value) / inverse[0, 0])[:, None] * inverse[0]
    return Codes(q, torch.stack(scales, 1), torch.stack(zeros, 1))


def output_error(weight: Tensor, values: Tensor, inputs: Tensor) -> float:
    return float((inputs @ (weight - values).mT).square().sum())


@pytest.mark.parametrize("label", LABELS)
def test_codes_are_those_of_the_literal_method(label: str) -> None:
    weight, inputs = problem(columns=64, tokens=300)
    gram = inputs.mT @ inputs
    found, expected = find_quantizer(label).codes(weight, gram), literal(label, weight, gram)
    # a tie that float32 decides otherwise changes all columns right of it in its row
    rows = (found.q == expected.q).all(1)
    assert rows.float().mean() >= 0.8
    assert torch.equal(found.scale[rows], expected.scale[rows])
    assert torch.equal(found.zero[rows], expected.zero[rows])


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_output_error_is_below_that_of_rounding_to_nearest(label: str, dtype: torch.dtype) -> None:
    weight, inputs = problem()
    weight = weight.to(dtype).float()
    gram = inputs.mT @ inputs
    by_gptq = find_quantizer(label).rounded(weight.to(dtype), gram)
    nearest = find_quantizer(label.replace("gptq", "int")).rounded(weight.to(dtype))
    assert output_error(weight, by_gptq, inputs) < 0.7 * output_error(weight, nearest, inputs)


@pytest.mark.parametrize("label", LABELS)
def test_without_inputs_it_is_rounding_to_nearest_and_is_stored_alike(label: str) -> None:
    weight, inputs = problem()
    ours, nearest = find_quantizer(label), find_quantizer(label.replace("gptq", "int"))
    assert torch.equal(ours.rounded(weight), nearest.rounded(weight))
    assert ours.size(24, 192) == nearest.size(24, 192)
    codes = ours.codes(weight, inputs.mT @ inputs)
    assert int(codes.q.max()) < 2**ours.bits
    assert codes.scale.shape == codes.zero.shape == (24, ours.groups(192))


def test_uncorrelated_inputs_change_nothing() -> None:
    weight, _ = problem(columns=64)
    gram = 3.0 * torch.eye(64)
    assert torch.equal(find_quantizer("gptq4-g32").rounded(weight, gram), find_quantizer("int4-g32").rounded(weight))


def test_inputs_that_are_always_zero_are_rounded_to_nearest() -> None:
    weight, inputs = problem(columns=64)
    inputs[:, 7] = 0
    found = find_quantizer("gptq4-g32").rounded(weight, inputs.mT @ inputs)
    assert found.isfinite().all()
    assert output_error(weight, found, inputs) < output_error(
        weight, find_quantizer("int4-g32").rounded(weight), inputs
    )


def test_wide_inputs_give_the_same_codes_whatever_is_carried_together(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, inputs = problem()
    gram = inputs.mT @ inputs
    quantizer = find_quantizer("gptq4")
    together = quantizer.codes(weight, gram).q
    monkeypatch.setattr("zetaplan.models.quantizers.gptq.WIDTH", 16)
    assert (quantizer.codes(weight, gram).q == together).float().mean() > 0.98


def test_unusable_inputs_are_refused() -> None:
    weight, inputs = problem(columns=64)
    gram = inputs.mT @ inputs
    gram[3, 3] = torch.inf
    with pytest.raises(ScoringError, match="the inputs of this linear overflow or are not finite"):
        find_quantizer("gptq4-g32").rounded(weight, gram)
