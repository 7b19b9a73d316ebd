"""Cross-fitted gains, effective dimension and steps against dense linear algebra; reliability against its formula."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from tests.made import made_scores
from tests.scoring.test_curvature import DENSE, PARAMETERS, SEQUENCES, observe, planted, taus
from zetaplan.scoring.curvature import find_curvature

names = pytest.mark.parametrize("name", sorted(DENSE))


def damped(name, gradients, tau):
    return DENSE[name](gradients) + (tau if find_curvature(name).damped else 0.0) * np.eye(gradients.shape[1])


def literal_cross_fit(name, gradients, tau):
    """Both ways round, every pair i != j of a half written out."""
    halves = gradients[0::2], gradients[1::2]
    answer = []
    for half, other in (halves, halves[::-1]):
        inverse = np.linalg.inv(damped(name, other, tau))
        answer.append(np.mean([half[i] @ inverse @ half[j] for i, j in combinations(range(len(half)), 2)]))
    return answer


@names
@settings(max_examples=40, deadline=None)
@given(gradients=planted, tau=taus)
def test_cross_fitted_gain_is_the_mean_over_pairs(name, gradients, tau):
    expected = literal_cross_fit(name, gradients, tau)
    scale = np.abs(gradients).max() ** 2 * PARAMETERS / (tau if find_curvature(name).damped else 1)
    assert observe(name, gradients).cross_fitted(tau) == pytest.approx(expected, rel=1e-8, abs=1e-12 * scale)


@names
def test_noise_cancels_over_all_signs(name):
    """Where every gradient has a random sign there is nothing to gain, and the cross-fitted gain says so on average."""
    gradients = np.random.default_rng(1).normal(size=(SEQUENCES, PARAMETERS))
    found = []
    for signs in product([-1.0, 1.0], repeat=SEQUENCES):
        found.append(observe(name, np.array(signs)[:, None] * gradients).cross_fitted(0.3))
    assert np.mean(found, axis=0) == pytest.approx([0, 0], abs=1e-12)
    assert np.abs(found).max() > 1e-3


def samples(count, sequences=12, parameters=20, seed=0):
    """Per-sequence gradients around a true one, in directions of very different noise."""
    generator = np.random.default_rng(seed)
    truth, noise = np.r_[np.full(4, 0.7), np.zeros(parameters - 4)], np.geomspace(3, 0.1, parameters)
    return truth, [truth + noise * generator.normal(size=(sequences, parameters)) for _ in range(count)]


@names
def test_on_average_it_is_the_gain_of_the_true_gradient(name):
    """Given the curvature of the other half; the raw gain is not. In units of the standard error of the mean."""
    truth, drawn = samples(300)
    cross_fitted, raw = [], []
    for gradients in drawn:
        inverses = [np.linalg.inv(damped(name, gradients[1 - half :: 2], 1.0)) for half in (0, 1)]
        expected = np.mean([truth @ inverse @ truth for inverse in inverses])
        found = observe(name, gradients)
        cross_fitted.append(np.mean(found.cross_fitted(1.0)) - expected)
        raw.append(found.gain(1.0) - truth @ np.linalg.inv(damped(name, gradients, 1.0)) @ truth)
    off, biased = (np.mean(errors) / np.std(errors) * np.sqrt(len(drawn)) for errors in (cross_fitted, raw))
    assert abs(off) < 4
    assert biased > 8


@pytest.mark.parametrize("name", ["block-fisher", "gradient"])
def test_the_standard_error_is_the_spread_over_samples_or_somewhat_more(name):
    """The jackknife errs upwards (Efron & Stein 1981)."""
    found = [observe(name, gradients) for gradients in samples(300)[1]]
    spread = np.std([one.gain(1.0) for one in found])
    assert 0.95 * spread < np.mean([one.standard_error(1.0) for one in found]) < 1.7 * spread


@names
def test_fewer_than_four_sequences_cannot_be_halved(name):
    assert observe(name, np.eye(3)).cross_fitted(1.0) is None


@names
@settings(max_examples=30, deadline=None)
@given(gradients=planted, tau=taus)
def test_effective_dimension_is_the_dense_trace(name, gradients, tau):
    expected = np.trace(np.linalg.solve(damped(name, gradients, tau), DENSE[name](gradients)))
    assert observe(name, gradients).effective_dimension(tau) == pytest.approx(expected, rel=1e-8, abs=1e-10)


@names
def test_step_is_the_dense_solve(name):
    module = torch.nn.Linear(3, 2, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    x, d = (torch.randn(SEQUENCES, 4, width, dtype=torch.float64, generator=generator) for width in (3, 2))
    gradients = torch.cat([torch.einsum("nto,nti->noi", d, x).flatten(1), d.sum(1)], dim=1)
    step = observe(name, gradients.numpy()).step(0.3)("linear", module, [(x, d)])
    expected = -np.linalg.solve(damped(name, gradients.numpy(), 0.3), gradients.numpy().mean(0))
    np.testing.assert_allclose(step, expected, rtol=1e-9, atol=1e-12)


def test_reliability_steps_the_agreement_of_halves_up():
    first = np.arange(6.0)
    second = first[[1, 0, 2, 3, 5, 4]]  # Spearman 1 - 6 * 4 / (6 * 35) = 31/35
    scores = made_scores(cross_fitted=np.stack([first, second], axis=1))
    assert scores.reliability == pytest.approx(2 * (31 / 35) / (1 + 31 / 35))
    # f halves of 16 sequences reach f r / (1 + (f - 1) r)
    needed = scores.sequences_for(0.95)
    reached, below = (f * (31 / 35) / (1 + (f - 1) * (31 / 35)) for f in (needed / 16, (needed - 1) / 16))
    assert below < 0.95 <= reached


def test_halves_that_disagree_support_no_ranking():
    first = np.arange(6.0)
    scores = made_scores(cross_fitted=np.stack([first, -first], axis=1))
    assert scores.reliability == pytest.approx(-1)
    assert scores.sequences_for(0.9) is None
    assert made_scores(cross_fitted=None).reliability is None
    assert made_scores(cross_fitted=np.ones((6, 2))).reliability is None
