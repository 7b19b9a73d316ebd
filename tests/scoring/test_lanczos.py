"""Gauss and Gauss-Radau against planted spectra: bounds at every step, exact when the Krylov space is full."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zetaplan.scoring.curvature._lanczos import lanczos

spectra = st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e4)), min_size=1, max_size=12)


def planted(spectrum, seed):
    """H with that spectrum in a random basis, and g; both float64."""
    generator = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(generator.normal(size=(len(spectrum), len(spectrum))))
    return torch.tensor(basis @ np.diag(spectrum) @ basis.T), torch.tensor(generator.normal(size=len(spectrum)))


def truth(matrix, g, tau):
    return float(g @ torch.linalg.solve(matrix + tau * torch.eye(len(g), dtype=torch.float64), g))


@settings(max_examples=200, deadline=None)
@given(spectrum=spectra, seed=st.integers(0, 10**6), tau=st.floats(1e-3, 1e3), steps=st.integers(1, 12))
def test_bounds_hold_at_every_step(spectrum, seed, tau, steps):
    matrix, g = planted(spectrum, seed)
    krylov = lanczos(lambda v: matrix @ v, g, lambda krylov: False, steps)
    low, high = krylov.bounds(tau, 0.0, epsilon=1e-15 * max(spectrum))
    exact = truth(matrix, g, tau)
    assert low <= exact * (1 + 1e-12)
    assert high >= exact * (1 - 1e-12)


@settings(max_examples=50, deadline=None)
@given(spectrum=spectra, seed=st.integers(0, 10**6), tau=st.floats(1e-2, 1e3))
def test_a_full_space_is_exact(spectrum, seed, tau):
    matrix, g = planted(spectrum, seed)
    krylov = lanczos(lambda v: matrix @ v, g, lambda krylov: False, len(g))
    low, high = krylov.bounds(tau, 0.0)
    assert (low, high) == (pytest.approx(truth(matrix, g, tau), rel=1e-8),) * 2
    expected = torch.linalg.solve(matrix + tau * torch.eye(len(g), dtype=torch.float64), g)
    torch.testing.assert_close(krylov.solution(tau, 0.0), expected, rtol=1e-6, atol=1e-9 * float(expected.norm()))


def test_more_steps_never_widen():
    matrix, g = planted(np.geomspace(1e-3, 1e3, 40).tolist(), 0)
    widths = []
    for steps in range(1, 30):
        low, high = lanczos(lambda v: matrix @ v, g, lambda krylov: False, steps).bounds(0.1, 0.0)
        widths.append(high - low)
    assert all(b <= a * (1 + 1e-9) for a, b in itertools.pairwise(widths))
    assert widths[-1] < 1e-3 * widths[0]


def test_an_eigenvector_needs_one_step():
    krylov = lanczos(lambda v: 3.0 * v, torch.ones(5, dtype=torch.float64), lambda krylov: False, 5)
    assert krylov.steps == 1
    assert krylov.bounds(1.0, 0.0) == (pytest.approx(5 / 4), pytest.approx(5 / 4))


@pytest.mark.parametrize("size", [1e-9, 1e-6, 1e-3])
def test_a_wrong_product_is_covered_by_its_stated_error(size):
    """Products of a perturbed matrix, |E| = size: the widened bounds hold for the true one."""
    generator = np.random.default_rng(3)
    for seed in range(50):
        matrix, g = planted(generator.gamma(0.5, 1.0, 10).tolist(), seed)
        noise = torch.tensor(generator.normal(size=(10, 10)))
        noise = (noise + noise.T) / 2
        wrong = matrix + size * noise / torch.linalg.matrix_norm(noise, 2)
        krylov = lanczos(lambda v, wrong=wrong: wrong @ v, g, lambda krylov: False, 1 + seed % 10)
        low, high = krylov.bounds(0.1, 0.0, epsilon=size)
        assert low <= truth(matrix, g, 0.1) <= high
        low, high = krylov.bounds(0.1, 0.0, epsilon=0.2)
        assert 0 < low <= truth(matrix, g, 0.1)
        assert high == np.inf


def test_the_node_below_the_spectrum_matters():
    """Radau with a node above the lowest eigenvalue is no bound: the check that the sign of its error is used."""
    matrix, g = planted([0.0, 0.5, 1.0, 2.0, 5.0, 9.0], 1)
    krylov = lanczos(lambda v: matrix @ v, g, lambda krylov: False, 3)
    exact = truth(matrix, g, 0.1)
    assert krylov.bounds(0.1, 0.0)[1] >= exact
    assert krylov.bounds(0.1, 0.9 * krylov.lowest())[1] < exact
    assert krylov.bounds(0.1, 4.0)[1] == np.inf  # a Ritz value lies below: no such floor


def test_a_weak_coupling_is_no_breakdown():
    """In single precision and a million dimensions, what is left after one step is small and not yet rounding."""
    d = 10**6
    g = torch.ones(d)
    curved = torch.zeros(d)
    curved[:2] = torch.tensor([1e-3, 1.0])
    krylov = lanczos(lambda v: v + curved * v, g, lambda krylov: False, 2)
    assert krylov.steps == 2
    exact = float((1 / (1.1 + curved.double())).sum())
    low, high = krylov.bounds(0.1, 0.0, epsilon=1e-6)
    assert low <= exact <= high


def test_the_residual_is_that_of_the_solution():
    matrix, g = planted(np.geomspace(1e-2, 1e2, 12).tolist(), 4)
    krylov = lanczos(lambda v: matrix @ v, g, lambda krylov: False, 5)
    x = krylov.solution(0.3, 0.0)
    assert krylov.residual(0.3) == pytest.approx(float((g - matrix @ x - 0.3 * x).norm()), rel=1e-9)


def test_ritz_values_lie_inside_the_spectrum():
    matrix, g = planted([-2.0, 0.1, 1.0, 3.0], 2)
    krylov = lanczos(lambda v: matrix @ v, g, lambda krylov: False, 3)
    assert not krylov.full
    assert -2 < krylov.lowest() < krylov.largest() < 3
    krylov = lanczos(lambda v: matrix @ v, g, lambda krylov: False, 4)
    assert krylov.full
    assert (krylov.lowest(), krylov.largest()) == (pytest.approx(-2), pytest.approx(3))
