"""Sketches: unbiased over seeds, exact at full rank, closer with more repeats, and with an honest error."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.tiny_models import tiny_llama
from zetaplan.errors import ScoringError
from zetaplan.scoring import Damping, score
from zetaplan.scoring.backward.per_sequence import per_sequence_gradients
from zetaplan.scoring.backward.sketch import Sketch, relative_error

N, T = 4, 5
TAU = Damping(0.02, mode="absolute")
LINEAR = nn.Linear(12, 9)


def pair(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N, T, 12, generator=generator), torch.randn(N, T, 9, generator=generator)


def products(pairs):
    gradients = torch.cat(list(per_sequence_gradients(LINEAR, pairs)), dim=1).double()
    return gradients @ gradients.mT


def sketched_products(sketch):
    """(R, N, N), of each sketch alone."""
    pairs = [sketch.of("name", LINEAR, pair())]
    return torch.stack([products(sketch.part(LINEAR, pairs, m)) for m in range(sketch.repeats)])


def test_the_products_are_unbiased():
    """The mean over 800 seeds lies within five standard errors of the exact products, entry by entry."""
    draws = torch.cat([sketched_products(Sketch(3, repeats=2, seed=seed)) for seed in range(400)])
    error = (draws.mean(0) - products([pair()])).abs()
    assert (error <= 5 * draws.std(0) / len(draws) ** 0.5).all()
    assert (draws.std(0) / len(draws) ** 0.5 < 0.1 * products([pair()]).diagonal().mean()).all()


def test_the_error_falls_as_the_root_of_the_repeats():
    def deviation(repeats):
        exact = products([pair()])
        means = [sketched_products(Sketch(3, repeats, seed)).mean(0) for seed in range(60)]
        return float(torch.stack([(mean - exact).square().sum() for mean in means]).mean().sqrt())

    assert deviation(2) / deviation(8) == pytest.approx(2, rel=0.3)


def test_the_error_falls_with_the_rank():
    """As 1/r or faster once both sides are sketched: a quarter of the rank has at least twice the deviation."""

    def deviation(rank):
        exact = products([pair()])
        draws = torch.cat([sketched_products(Sketch(rank, 2, seed)) for seed in range(60)])
        return float((draws - exact).square().sum((1, 2)).mean().sqrt())

    assert deviation(2) > 2 * deviation(8)


@pytest.mark.parametrize("rank", [12, 50])
def test_full_rank_is_exact(rank):
    sketched = sketched_products(Sketch(rank, repeats=2))
    for alone in sketched:
        torch.testing.assert_close(alone, products([pair()]), rtol=1e-5, atol=1e-4)


def test_a_basis_spans_and_depends_on_its_name_alone():
    sketch = Sketch(4)
    basis = sketch.basis("a", 10)
    torch.testing.assert_close(basis.mT @ basis, torch.eye(4, dtype=torch.float64) * 2.5)
    assert torch.equal(basis, Sketch(4, repeats=9).basis("a", 10))
    assert not torch.equal(basis, sketch.basis("b", 10))
    assert not torch.equal(basis, Sketch(4, seed=1).basis("a", 10))


def test_a_norm_is_kept_as_it_is():
    norm, given = nn.RMSNorm(12), (torch.ones(2, 3, 12), torch.ones(2, 3, 12))
    assert Sketch(2).of("norm", norm, given) is given


def test_the_error_joins_spread_and_bias():
    # var = 2/3 ... of 1, 2, 3 around 2: variance 1, over 3 repeats 1/3; bias (2 - 1)/2
    assert relative_error(1.0, [1.0, 2.0, 3.0]) == pytest.approx((1 / 3 + 1 / 4) ** 0.5)
    assert relative_error(0.0, [0.0, 0.0]) == np.inf


@pytest.fixture(scope="module")
def model():
    return tiny_llama(hidden=32, vocabulary=23)


@pytest.fixture(scope="module")
def batch():
    return {"input_ids": torch.randint(0, 23, (6, 12), generator=torch.Generator().manual_seed(0))}


@pytest.mark.parametrize("curvature", ["block-fisher", "gradient", "mc-fisher"])
def test_full_rank_scores_are_exact(model, batch, curvature):
    exact = score(model, batch, curvature=curvature, damping=TAU)
    full = score(model, batch, curvature=curvature, damping=TAU, sketch=64)
    for name in ("gain", "noise_floor", "effective_dimension", "damping"):
        np.testing.assert_allclose(getattr(full, name), getattr(exact, name), rtol=1e-4)
    assert max(full.provenance["sketch"]["relative_error"]) < 1e-4


def test_the_stated_error_covers(model, batch, monkeypatch):
    """Over 20 seeds and two blocks, the deviation in units of the stated error is of order one (R - 1 = 3 degrees)."""
    from zetaplan.scoring import measure

    exact = score(model, batch, damping=TAU)
    ratios = []
    for seed in range(20):
        monkeypatch.setattr(measure, "Sketch", lambda rank, seed=seed: Sketch(rank, seed=seed))
        rough = score(model, batch, damping=TAU, sketch=8)
        stated = np.array(rough.provenance["sketch"]["relative_error"]) * rough.gain
        ratios.extend(np.abs(rough.gain - exact.gain) / stated)
    assert 0.2 < np.median(ratios) < 1.5
    assert np.mean(np.array(ratios) < 4) >= 0.9


def test_batches_change_nothing_but_rounding(model, batch):
    whole, parts = (score(model, batch, sketch=8, batch_size=size, damping=TAU) for size in (None, 2))
    np.testing.assert_allclose(parts.gain, whole.gain, rtol=1e-4)
    needs = [
        score(model, batch, batch_size=2, sketch=r, memory="1GB").provenance["memory"]["waiting"] for r in (None, 2)
    ]
    assert needs[1] < needs[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"curvature": "diagonal-fisher"}, "DiagonalFisher needs more than products of gradients; use block-fisher"),
        ({"curvature": "ggn"}, "Ggn needs more than products"),
        ({"held_out": {"input_ids": torch.zeros(2, 4, dtype=torch.int64)}}, "held_out needs the full gradients"),
        ({"sketch": 0}, "sketch: expected at least 1, got 0"),
    ],
)
def test_refusals(model, batch, options, message):
    with pytest.raises(ScoringError, match=message):
        score(model, batch, **{"sketch": 4, **options})
