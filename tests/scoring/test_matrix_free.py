"""zeta^2 of the matrix-free surrogates on small models: enclosed against dense float64 matrices, in every precision."""

import copy

import numpy as np
import pytest
import torch

from tests.scoring.test_score import random_ids
from tests.tiny_models import in_float64, tiny_gpt2, tiny_llama
from zetaplan.errors import ScoringError
from zetaplan.scoring import Damping, score
from zetaplan.scoring.curvature import _krylov as krylov
from zetaplan.scoring.curvature import find_curvature, nystrom
from zetaplan.scoring.curvature._products import LinearisedBlock
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.text.sequences import checked_batches

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
        surrogate = find_curvature(name)(low, 1e-3)
        below, above = surrogate.enclosure(tau)
        assert below <= truth(h, g, tau) <= above, (dtype, tau)
        assert below <= surrogate.gain(tau) <= above
        if steps == 40 and dtype != torch.bfloat16 and name != "hessian":
            assert above - below <= 2e-3 * above


@pytest.mark.parametrize("tiny", MODELS.values())
def test_step_solves_the_damped_system(tiny):
    block = linearised(tiny)
    h, g = matrix(block, "ggn")
    step = find_curvature("ggn")(block, 0.0).step(0.5)
    expected = -torch.linalg.solve(h + 0.5 * torch.eye(len(g), dtype=torch.float64), g)
    torch.testing.assert_close(step, expected, rtol=1e-6, atol=1e-8)


def test_trace_of_random_signs_is_the_trace_on_average(monkeypatch):
    monkeypatch.setattr(krylov, "PROBES", 400)
    block = linearised(tiny_llama)
    h, _ = matrix(block, "ggn")
    # the variance of one probe is 2 (|H|_F^2 - |diag H|^2): 400 of them, five standard deviations
    allowed = 5 * float((2 * (h.square().sum() - h.diagonal().square().sum()) / 400).sqrt())
    assert find_curvature("ggn")(block, 1e-3).trace == pytest.approx(float(h.trace()), abs=allowed)
    assert find_curvature("hessian")(block, 1e-3).trace == find_curvature("ggn")(block, 1e-3).trace


def test_an_indefinite_hessian_is_refused_with_its_ritz_value_and_the_remedy():
    block = linearised(tiny_llama)
    h, _ = matrix(block, "hessian")
    lowest = float(torch.linalg.eigvalsh(h)[0])
    assert lowest < 0
    with pytest.raises(
        ScoringError, match=r"with damping .*: its most negative Ritz value is -.*absolute damping above"
    ):
        find_curvature("hessian")(block, 1e-3).gain(-0.5 * lowest)
    assert find_curvature("hessian")(block, 1e-3).lower_end(1.0 - 2 * lowest) == pytest.approx(lowest, rel=0.1)


def test_nystrom_of_full_rank_is_the_gauss_newton_matrix(monkeypatch):
    monkeypatch.setattr(nystrom, "RANK", 10**6)
    block = linearised(tiny_gpt2)
    h, g = matrix(block, "ggn")
    surrogate = find_curvature("nystrom")(block, 1e-3)
    assert surrogate.gain(0.3) == pytest.approx(truth(h, g, 0.3), rel=1e-6)
    assert surrogate.trace == pytest.approx(float(h.trace()), rel=1e-6)
    d = float(torch.linalg.solve(h + 0.3 * torch.eye(len(g), dtype=torch.float64), h).trace())
    assert surrogate.effective_dimension(0.3) == pytest.approx(d, rel=1e-6)
    expected = -torch.linalg.solve(h + 0.3 * torch.eye(len(g), dtype=torch.float64), g)
    torch.testing.assert_close(surrogate.step(0.3), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_nystrom_sees_less_curvature_and_so_promises_more(dtype):
    for seed in range(3):
        block = in_dtype(linearised(tiny_llama, seed=seed), dtype)
        h, g = matrix(block, "ggn")
        surrogate = find_curvature("nystrom")(block, 1e-3)
        low, high = surrogate.enclosure(0.1)
        assert low <= truth(h, g, 0.1) <= high
        assert low <= surrogate.gain(0.1) <= high <= float(g @ g) / 0.1 * (1 + 1e-9)


@pytest.mark.parametrize("name", ["ggn", "token-fisher", "nystrom"])
def test_score_hands_it_all_on(name):
    model = in_float64(tiny_llama(layers=1, hidden=4, vocabulary=11))
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


def test_the_width_is_what_was_asked_for():
    model = in_float64(tiny_llama(hidden=4, vocabulary=11))
    data, tau = {"input_ids": random_ids() % 11}, Damping(0.01, mode="absolute")
    wide, narrow = (score(model, data, curvature="ggn", damping=tau, width=width) for width in (0.3, 1e-6))
    assert (narrow.high - narrow.low <= 1e-6 * narrow.high).all()
    assert (1e-4 * wide.high < wide.high - wide.low).all()
    assert (wide.high - wide.low <= 0.3 * wide.high).all()
    assert ((wide.low <= narrow.high) & (narrow.low <= wide.high)).all()
    assert narrow.provenance["width"] == 1e-6
    for width in (-1.0, float("nan")):
        with pytest.raises(ScoringError, match="width: expected a finite number >= 0"):
            score(model, data, curvature="ggn", width=width)


def test_a_block_without_gradient_gains_nothing():
    block = linearised(tiny_llama)
    with torch.no_grad():
        block.model.lm_head.weight.zero_()
    for name in ("ggn", "nystrom"):
        assert find_curvature(name)(block, 1e-3).enclosure(1.0) == (0.0, 0.0)
