"""zeta^2 of the matrix-free surrogates on small models: enclosed against dense float64 matrices, in every precision."""

import copy

import numpy as np
import pytest
import torch

from tests.models import in_float64, tiny_gpt2, tiny_llama
from tests.scoring.test_score import random_ids
from zetaplan.errors import ScoringError
from zetaplan.scoring import Damping, krylov, score
from zetaplan.scoring.blocks import partition
from zetaplan.scoring.curvature import find_curvature, nystrom
from zetaplan.scoring.products import LinearisedBlock
from zetaplan.scoring.sequences import checked_batches

MODELS = {"llama": tiny_llama, "gpt2": tiny_gpt2}
ENCLOSED = {"ggn": "ggn", "token-fisher": "token_fisher", "hessian": "hessian"}


def linearised(tiny, seed=0, blocks="modules", index=0, **options):
    model = in_float64(tiny(layers=1, hidden=4, vocabulary=11, seed=seed, **options))
    data = checked_batches({"input_ids": random_ids(seed=seed, sequences=3, length=6) % 11})
    return LinearisedBlock(model, partition(model, blocks)[index].named_parameters, data)


def matrix(block, name):
    """Column by column: the products themselves are held to dense truths elsewhere."""
    wide = block.in_float64()
    columns = [getattr(wide, name)(column) for column in torch.eye(block.dimension, dtype=torch.float64)]
    return torch.stack(columns), wide.gradient()


def truth(h, g, tau):
    return float(g @ torch.linalg.solve(h + tau * torch.eye(len(g), dtype=torch.float64), g))


def cases(count):
    """Models, linears, seeds, precisions and dampings, cycled so that each meets each."""
    for i in range(count):
        tiny, dtype = [tiny_llama, tiny_gpt2][i % 2], [torch.float64, torch.float32, torch.bfloat16][i % 3]
        yield linearised(tiny, seed=i, index=i % 4), dtype, [1e-4, 1e-2, 1.0, 10.0][i % 4]


def in_dtype(block, dtype):
    model = copy.deepcopy(block.model).to(dtype)
    return LinearisedBlock(model, {name: model.get_parameter(name) for name in block.parameters}, block.batches)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 3, 40])
@pytest.mark.parametrize("name", sorted(ENCLOSED))
def test_enclosures_hold_the_dense_value(name, steps, monkeypatch):
    monkeypatch.setattr(krylov, "STEPS", steps)
    for block, dtype, relative in cases(24):
        low = in_dtype(block, dtype)
        h, g = matrix(low, ENCLOSED[name])
        tau = relative * float(h.diagonal().abs().mean())
        if name == "hessian":
            tau += 3.0 * float(torch.linalg.matrix_norm(h, 2))
        surrogate = find_curvature(name)(low)
        below, above = surrogate.enclosure(tau)
        assert below <= truth(h, g, tau) <= above, (dtype, tau)
        assert below <= surrogate.gain(tau) <= above
        if steps == 40 and dtype != torch.bfloat16 and name != "hessian":
            assert above - below <= 2e-3 * above


@pytest.mark.parametrize("tiny", MODELS.values())
def test_step_solves_the_damped_system(tiny, monkeypatch):
    monkeypatch.setattr(krylov, "WIDTH", 0.0)
    block = linearised(tiny)
    h, g = matrix(block, "ggn")
    step = find_curvature("ggn")(block).step(0.5)
    expected = -torch.linalg.solve(h + 0.5 * torch.eye(len(g), dtype=torch.float64), g)
    torch.testing.assert_close(step, expected, rtol=1e-6, atol=1e-8)


def test_trace_of_random_signs_is_the_trace_on_average(monkeypatch):
    monkeypatch.setattr(krylov, "PROBES", 400)
    block = linearised(tiny_llama)
    h, _ = matrix(block, "ggn")
    # the variance of one probe is 2 (|H|_F^2 - |diag H|^2): 400 of them, five standard deviations
    allowed = 5 * float((2 * (h.square().sum() - h.diagonal().square().sum()) / 400).sqrt())
    assert find_curvature("ggn")(block).trace == pytest.approx(float(h.trace()), abs=allowed)
    assert find_curvature("hessian")(block).trace == find_curvature("ggn")(block).trace


def test_an_indefinite_hessian_is_refused_with_its_ritz_value_and_the_remedy():
    block = linearised(tiny_llama)
    h, _ = matrix(block, "hessian")
    lowest = float(torch.linalg.eigvalsh(h)[0])
    assert lowest < 0
    with pytest.raises(
        ScoringError, match=r"with damping .*: its most negative Ritz value is -.*absolute damping above"
    ):
        find_curvature("hessian")(block).gain(-0.5 * lowest)
    assert find_curvature("hessian")(block).lower_end(1.0 - 2 * lowest) == pytest.approx(lowest, rel=0.1)


def test_nystrom_of_full_rank_is_the_gauss_newton_matrix(monkeypatch):
    monkeypatch.setattr(nystrom, "RANK", 10**6)
    block = linearised(tiny_gpt2)
    h, g = matrix(block, "ggn")
    surrogate = find_curvature("nystrom")(block)
    assert surrogate.gain(0.3) == pytest.approx(truth(h, g, 0.3), rel=1e-6)
    assert surrogate.trace == pytest.approx(float(h.trace()), rel=1e-6)
    d = float(torch.linalg.solve(h + 0.3 * torch.eye(len(g), dtype=torch.float64), h).trace())
    assert surrogate.effective_dimension(0.3) == pytest.approx(d, rel=1e-6)
    expected = -torch.linalg.solve(h + 0.3 * torch.eye(len(g), dtype=torch.float64), g)
    torch.testing.assert_close(surrogate.step(0.3), expected, rtol=1e-5, atol=1e-8)


def test_nystrom_sees_less_curvature_and_so_promises_more():
    for seed in range(5):
        block = linearised(tiny_llama, seed=seed)
        h, g = matrix(block, "ggn")
        gain = find_curvature("nystrom")(block).gain(0.1)
        assert truth(h, g, 0.1) * (1 - 1e-9) <= gain <= float(g @ g) / 0.1 * (1 + 1e-9)


@pytest.mark.parametrize("name", ["ggn", "token-fisher", "nystrom"])
def test_score_hands_it_all_on(name):
    model = in_float64(tiny_llama(hidden=4, vocabulary=11))
    data = {"input_ids": random_ids() % 11}
    found = score(model, data, curvature=name, held_out=data)
    assert (found.low <= found.gain).all()
    assert (found.gain <= found.high).all()
    assert found.standard_error is None
    assert found.noise_floor is None
    assert (found.decrease > 0).all()
    sets = score(model, data, curvature=name, blocks="modules", damping=Damping(0.1, mode="absolute"), batch_size=2)
    whole = score(model, data, curvature=name, blocks="modules", damping=Damping(0.1, mode="absolute"))
    np.testing.assert_allclose(sets.gain, whole.gain, rtol=1e-9)


def test_a_block_without_gradient_gains_nothing():
    block = linearised(tiny_llama)
    with torch.no_grad():
        block.model.lm_head.weight.zero_()
    assert find_curvature("ggn")(block).enclosure(1.0) == (0.0, 0.0)
