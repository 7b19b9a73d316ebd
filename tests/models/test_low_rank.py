"""Low-rank replacements of single matrices, against numpy's decomposition and the published formula with an inverse."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from zetaplan.errors import ScoringError
from zetaplan.menus.bits import Weight
from zetaplan.menus.low_rank import kept_weights, rank_of
from zetaplan.models import low_rank
from zetaplan.models.low_rank import factors, principal_directions

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))
SEEDS = st.integers(0, 2**20)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated(tokens: int, inputs: int, seed: int = 1) -> Tensor:
    """Inputs of which some directions are far larger than others."""
    return normal(tokens, inputs, seed=seed) * 2.0 ** -torch.arange(inputs) @ normal(inputs, inputs, seed=seed + 1)


def replaced(weight: Tensor, gram: Tensor | None, rank: int) -> Tensor:
    left, right = factors(weight, principal_directions(weight, gram)[:, :rank])
    assert left.shape[1] == right.shape[0] == rank
    return left @ right


def energy(values: Tensor) -> float:
    return float(values.square().sum())


@pytest.mark.parametrize("tokens", [None, 40, 5])
@pytest.mark.parametrize("rank", [1, 3, 5])
def test_a_matrix_of_this_rank_loses_nothing(rank: int, tokens: int | None) -> None:
    weight = normal(12, rank) @ normal(rank, 10, seed=1)
    gram = None if tokens is None else (x := correlated(tokens, 10)).mT @ x
    assert energy(weight - replaced(weight, gram, rank)) <= 1e-20 * energy(weight)
    assert rank == 1 or energy(weight - replaced(weight, gram, rank - 1)) > 1e-6 * energy(weight)


@given(SHAPES, SEEDS)
def test_the_error_of_the_weights_is_that_of_the_discarded_singular_values(shape: tuple[int, int], seed: int) -> None:
    weight = normal(*shape, seed=seed)
    values = np.linalg.svd(weight.numpy(), compute_uv=False)
    for rank in range(principal_directions(weight, None).shape[1] + 1):
        found = energy(weight - replaced(weight, None, rank))
        assert found == pytest.approx(np.sum(values[rank:] ** 2), rel=1e-9, abs=1e-12)


@given(SHAPES, SEEDS)
def test_the_error_of_the_outputs_is_that_of_the_discarded_principal_components(
    shape: tuple[int, int], seed: int
) -> None:
    """X'X as the inputs give it plus the damping, as more inputs: no root is taken here, and the outputs are written
    out."""
    weight, inputs = normal(*shape, seed=seed), correlated(20, shape[1], seed=seed)
    gram = inputs.mT @ inputs
    damping = (low_rank.DAMPING * gram.diagonal().mean()).sqrt()
    seen = torch.cat([inputs, damping * torch.eye(shape[1], dtype=torch.float64)])
    components = np.linalg.eigvalsh((seen @ weight.mT).mT @ (seen @ weight.mT))[::-1]
    for rank in range(principal_directions(weight, gram).shape[1] + 1):
        found = energy(seen @ (weight - replaced(weight, gram, rank)).mT)
        assert found == pytest.approx(np.sum(components[rank:]), rel=1e-6, abs=1e-10 * components[0])


@pytest.mark.parametrize("shape", [(12, 8), (8, 12), (9, 9)])
@pytest.mark.parametrize("rank", [1, 3, 4])
def test_it_is_the_published_formula_and_beats_the_plain_one(shape: tuple[int, int], rank: int) -> None:
    """SVD-LLM: U S V' L^-1 with the first `rank` singular triples of W L."""
    weight, inputs = normal(*shape), correlated(60, shape[1])
    gram = inputs.mT @ inputs
    root = torch.linalg.cholesky(gram + low_rank.DAMPING * gram.diagonal().mean() * torch.eye(shape[1]))
    u, s, v = torch.linalg.svd(weight @ root, full_matrices=False)
    expected = (u[:, :rank] * s[:rank]) @ v[:rank] @ torch.linalg.inv(root)
    found = replaced(weight, gram, rank)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    plain = replaced(weight, None, rank)
    assert energy(inputs @ (weight - found).mT) < energy(inputs @ (weight - plain).mT)
    assert energy(weight - plain) < energy(weight - found)


@given(SHAPES, SEEDS, st.booleans())
def test_the_error_falls_with_the_rank_and_follows_permutations(
    shape: tuple[int, int], seed: int, calibrated: bool
) -> None:
    weight, inputs = normal(*shape, seed=seed), correlated(20, shape[1], seed=seed)
    gram = inputs.mT @ inputs if calibrated else None
    rows, columns = (torch.randperm(n, generator=torch.Generator().manual_seed(seed)) for n in shape)
    moved = gram[columns][:, columns] if gram is not None else None
    errors = []
    for rank in range(principal_directions(weight, gram).shape[1] + 1):
        found = replaced(weight, gram, rank)
        other = replaced(weight[rows][:, columns], moved, rank)
        torch.testing.assert_close(other, found[rows][:, columns], rtol=1e-5, atol=1e-6)
        errors.append(energy(inputs @ (weight - found).mT) if calibrated else energy(weight - found))
    slack = 1e-2 * errors[0] if calibrated else 1e-12  # the damping is no part of the error
    assert all(after <= before + slack for before, after in itertools.pairwise(errors))


def test_few_tokens_are_reproduced_and_the_rest_follows_the_weights() -> None:
    """X'X of 3 tokens has rank 3: they are kept first; of the directions that no token reaches, those of large W."""
    weight, inputs = normal(12, 10), normal(3, 10, seed=4)
    found = replaced(weight, inputs.mT @ inputs, 5)
    assert energy(inputs @ (weight - found).mT) < 1e-3 * energy(inputs @ weight.mT)
    arbitrary = [normal(12, 2, seed=seed) for seed in range(20)]
    first = torch.linalg.qr((inputs @ weight.mT).mT).Q
    for more in arbitrary:
        basis = torch.linalg.qr(torch.cat([first, more], 1)).Q
        assert energy(weight - found) < energy(weight - basis @ basis.mT @ weight)


def test_inputs_that_are_all_zero_give_the_plain_decomposition() -> None:
    weight = normal(6, 5)
    torch.testing.assert_close(replaced(weight, torch.zeros(5, 5), 2), replaced(weight, None, 2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_directions_are_at_least_float32(dtype: torch.dtype) -> None:
    found = principal_directions(normal(6, 5).to(dtype), torch.eye(5))
    assert found.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(found.mT @ found, torch.eye(found.shape[1], dtype=found.dtype))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(value: float) -> None:
    broken = normal(5, 5).index_fill(0, torch.tensor([2]), value)
    for weight, gram in ((broken, None), (normal(5, 5), broken), (broken, torch.eye(5))):
        with pytest.raises(ScoringError, match="not finite"):
            principal_directions(weight, gram)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 5), st.integers(1, 999))
def test_a_rank_is_the_largest_that_leaves_the_share_out(rows: int, columns: int, count: int, permille: int) -> None:
    weight, share = Weight(name="w", module="m", count=count, rows=rows, columns=columns), str(permille / 1000)
    rank, kept = rank_of(weight, share), kept_weights(weight, share)
    left = (1 - Fraction(share)) * weight.numel
    assert rank is not None
    assert kept == count * rank * (rows + columns) <= left < count * (rank + 1) * (rows + columns)
    assert (rank_of(weight, "0"), kept_weights(weight, "0")) == (None, weight.numel)
