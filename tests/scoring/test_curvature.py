"""Every surrogate against dense linear algebra on planted gradients G, and the laws that follow from its formula."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zetaplan.errors import ScoringError
from zetaplan.scoring import Damping, curvature_names
from zetaplan.scoring.backward.statistics import Gram, Moments
from zetaplan.scoring.curvature import OnePass, find_curvature

SEQUENCES, PARAMETERS = 6, 11
DENSE = {
    "block-fisher": lambda gradients: gradients.T @ gradients / len(gradients),
    "diagonal-fisher": lambda gradients: np.diag(np.mean(gradients**2, axis=0)),
    "gradient": lambda gradients: np.eye(gradients.shape[1]),
}
names = pytest.mark.parametrize("name", sorted(DENSE))
entries = st.floats(-3, 3).map(lambda x: round(x, 3))
planted = arrays(np.float64, (SEQUENCES, PARAMETERS), elements=entries).filter(lambda g: np.abs(g).max() > 0.01)
taus = st.floats(1e-3, 1e3)


def observe(name, gradients, chunks=1):
    surrogate = find_curvature(name)
    statistic = surrogate.statistic(len(gradients))
    for part in np.array_split(gradients, chunks, axis=1):
        statistic.add(torch.tensor(part))
    return surrogate(statistic)


def dense_gain(name, gradients, tau):
    g = gradients.mean(axis=0)
    tau = tau if find_curvature(name).damped else 0.0
    return g @ np.linalg.solve(DENSE[name](gradients) + tau * np.eye(len(g)), g)


def test_every_surrogate_from_the_columns_has_a_dense_truth_here():
    """The others are functions of more than G, and are held to theirs in test_matrix_free and test_kronecker."""
    one_pass = [name for name in curvature_names() if issubclass(find_curvature(name), OnePass)]
    assert {name for name in one_pass if find_curvature(name).statistic in (Gram, Moments)} == set(DENSE)


@names
@settings(max_examples=50, deadline=None)
@given(gradients=planted, tau=taus)
def test_gain_equals_the_dense_solve(name, gradients, tau):
    assert observe(name, gradients).gain(tau) == pytest.approx(dense_gain(name, gradients, tau), rel=1e-9, abs=1e-12)


@names
@settings(max_examples=20, deadline=None)
@given(gradients=planted, tau=taus)
def test_noise_floor_is_the_mean_gain_over_all_signs(name, gradients, tau):
    signs = np.array(list(product([-1.0, 1.0], repeat=SEQUENCES)))
    gains = [dense_gain(name, s[:, None] * gradients, tau) for s in signs]
    assert observe(name, gradients).noise_floor(tau) == pytest.approx(np.mean(gains), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", ["block-fisher", "gradient"])
@settings(max_examples=50, deadline=None)
@given(gradients=planted, tau=taus)
def test_standard_error_is_the_jackknife_of_dense_gains(name, gradients, tau):
    left_out = np.array([dense_gain(name, np.delete(gradients, i, axis=0), tau) for i in range(SEQUENCES)])
    expected = np.sqrt((SEQUENCES - 1) / SEQUENCES * np.sum((left_out - left_out.mean()) ** 2))
    assert observe(name, gradients).standard_error(tau) == pytest.approx(expected, rel=1e-6, abs=1e-10)


def test_diagonal_fisher_says_that_it_has_no_standard_error():
    assert observe("diagonal-fisher", np.eye(3)).standard_error(1.0) is None


@names
def test_chunks_and_the_order_of_parameters_do_not_matter(name):
    gradients = np.random.default_rng(0).normal(size=(SEQUENCES, PARAMETERS))
    whole, parts = observe(name, gradients), observe(name, gradients[:, ::-1].copy(), chunks=4)
    for answer in ("gain", "noise_floor"):
        assert getattr(parts, answer)(0.3) == pytest.approx(getattr(whole, answer)(0.3), rel=1e-12)
    assert (parts.trace, parts.rank) == (pytest.approx(whole.trace, rel=1e-12), whole.rank)


@names
@settings(max_examples=30, deadline=None)
@given(gradients=planted, tau=taus, scale=st.floats(1e-3, 1e3))
def test_scaling_the_loss_by_s_and_tau_by_s_squared(name, gradients, tau, scale):
    """A Fisher gain is dimensionless, |g|^2 scales by s^2."""
    factor = 1.0 if find_curvature(name).damped else scale**2
    scaled = observe(name, scale * gradients).gain(scale**2 * tau)
    assert scaled == pytest.approx(factor * observe(name, gradients).gain(tau), rel=1e-9, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(gradients=planted, tau=taus)
def test_block_fisher_gain_is_below_one_and_falls_with_damping(gradients, tau):
    fisher = observe("block-fisher", gradients)
    assert 0 <= fisher.gain(2 * tau) <= fisher.gain(tau) <= 1 + 1e-12


def test_block_fisher_gain_tends_to_one_without_damping():
    fisher = observe("block-fisher", np.random.default_rng(0).normal(size=(SEQUENCES, PARAMETERS)))
    assert 1 - 1e-6 < fisher.gain(1e-8) <= 1
    assert fisher.noise_floor(1e-8) == pytest.approx(1, abs=1e-6)


def test_mean_curvature_counts_the_eigenvalues_that_can_differ_from_zero():
    gradients = np.random.default_rng(0).normal(size=(SEQUENCES, PARAMETERS))
    total = np.trace(DENSE["block-fisher"](gradients))
    for name, rank in (("block-fisher", SEQUENCES), ("diagonal-fisher", PARAMETERS)):
        surrogate = observe(name, gradients)
        assert (surrogate.trace, surrogate.rank) == (pytest.approx(total, rel=1e-12), rank)
    assert observe("block-fisher", gradients[:, :2]).rank == 2


def test_damping_relative_to_all_blocks_or_to_each():
    blocks, trace, rank = ("a", "b"), np.array([6.0, 2.0]), np.array([3.0, 1.0])
    assert Damping(0.5).tau(blocks, trace, rank).tolist() == [1.0, 1.0]
    trace = np.array([6.0, 4.0])
    assert Damping(0.5, scope="block").tau(blocks, trace, rank).tolist() == [1.0, 2.0]
    assert Damping(0.5, mode="absolute").tau(blocks, trace, rank).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_damping_must_be_positive(value):
    with pytest.raises(ScoringError, match=r"damping.value: expected a finite number > 0, got"):
        Damping(value)


def test_damping_refuses_unknown_words():
    with pytest.raises(ScoringError, match=r"mode must be one of \('relative', 'absolute'\), got 'rel'"):
        Damping(mode="rel")
    with pytest.raises(ScoringError, match=r"scope must be one of \('global', 'block'\), got 'layer'"):
        Damping(scope="layer")


def test_damping_relative_to_nothing_names_the_block():
    with pytest.raises(ScoringError, match="curvature of block 'b' is zero"):
        Damping(scope="block").tau(("a", "b"), np.array([1.0, 0.0]), np.array([1.0, 1.0]))


def test_unknown_surrogate_lists_those_that_exist():
    with pytest.raises(ScoringError, match="curvature = 'fisher': expected one of block-fisher, diagonal-fisher, "):
        find_curvature("fisher")
