"""Many layers: the bracketed sweep against fractions, and where the sample misleads."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

import zetaplan as zp
from zetaplan.solvers import bracketing, exact
from zetaplan.solvers.rational import exact_optimum
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Instance
from zetaplan.spec.solution import Status

K = 20_000


@pytest.fixture(autouse=True)
def _many_layers_begin_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "LARGE", K // 2)
    monkeypatch.setattr(bracketing, "PIECE", K // 8)


def gains(rng: np.random.Generator) -> np.ndarray:
    return 10.0 ** rng.uniform(-3.0, 0.0, K)


def uncapped(rng: np.random.Generator) -> Instance:
    return zp.allocation(gains(rng), rng.uniform(0.5, 2.0, K), K / 2)


def boxed(rng: np.random.Generator) -> Instance:
    return zp.allocation(gains(rng), rng.uniform(0.5, 2.0, K), K, lower=rng.choice([0.0, 0.25], K), upper=2.0)


def pruned(rng: np.random.Generator) -> Instance:
    return zp.pruning(gains(rng), rng.uniform(0.5, 2.0, K), sparsity=0.5, upper=0.8)


def weightless(rng: np.random.Generator) -> Instance:
    return zp.pruning(gains(rng) * (rng.random(K) < 0.9), rng.uniform(0.5, 2.0, K), sparsity=0.5, upper=0.8)


def tied(rng: np.random.Generator) -> Instance:
    return zp.allocation(rng.choice([1.0, 2.0, 4.0], K), 1.0, K / 3)


def heavy(rng: np.random.Generator) -> Instance:
    """One layer holds nearly everything: a sample rarely sees it."""
    quality = np.full(K, 1e-6)
    quality[rng.integers(K)] = 1e3
    return zp.allocation(quality, rng.uniform(0.5, 2.0, K), 3.0 * K, upper=rng.choice([1.0, 8.0, np.inf], K))


def tight(rng: np.random.Generator) -> Instance:
    """The budget hardly exceeds the floors: the sums cancel."""
    costs = rng.uniform(0.5, 2.0, K)
    return zp.allocation(gains(rng), costs, float(costs.sum()) * (1 + 1e-9), lower=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("make", [uncapped, boxed, pruned, weightless, tied, heavy, tight])
def test_many_layers_agree_with_fractions(make: Callable[[np.random.Generator], Instance]) -> None:
    instance = make(np.random.default_rng(1))
    solution, truth = zp.solve(instance), exact_optimum(instance)
    assert abs(Fraction(solution.multiplier) - truth.multiplier) <= Fraction(1e-13) * truth.multiplier
    (derivation,), (channel,) = derive(instance.program), instance.channels
    x = derivation.stationary(float(truth.multiplier), channel, instance.scalars)
    assert (np.abs(solution.x - x) <= 1e-13 * (x + abs(float(derivation.offset)))).all()


def test_a_large_budget_is_slack_and_a_large_program_with_logarithms_is_solved() -> None:
    rng = np.random.default_rng(2)
    slack = zp.allocation(gains(rng), 1.0, 10.0 * K, upper=3.0)
    assert zp.solve(slack).status is Status.SLACK
    precise = zp.precision(gains(rng), rng.uniform(0.5, 2.0, K), 4.0 * K, upper=8.0)
    solution = zp.solve(precise)
    assert solution.status is Status.BINDING
    assert zp.certify(precise, solution).valid


def test_a_bracket_that_misses_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = pruned(np.random.default_rng(3))
    truth = zp.solve(instance)
    low, high = truth.multiplier * 1.01, truth.multiplier * 1.02
    monkeypatch.setattr(bracketing, "_sampled", lambda _: (low, high))
    assert zp.solve(instance).multiplier == pytest.approx(truth.multiplier, rel=1e-13)
    monkeypatch.setattr(bracketing, "_sampled", lambda _: (low / 2, high / 2))
    assert zp.solve(instance).multiplier == pytest.approx(truth.multiplier, rel=1e-13)


@pytest.mark.parametrize("make", [pruned, uncapped])
def test_a_bracket_proves_that_the_limit_binds(make: Callable[[np.random.Generator], Instance]) -> None:
    """Beyond the bracket no sum is needed; within it, and on the side where the limit is kept, nothing is proved."""
    instance = make(np.random.default_rng(4))
    (derivation,), (channel,) = derive(instance.program), instance.channels
    layers, _ = exact._layers(derivation, channel, instance.limit, instance.scalars)
    low, high, rest = layers.bracket
    kept, violated = (low, high) if layers.last else (high, low)
    assert layers.binds(violated)
    assert not layers.binds(kept)
    assert not layers.binds(0.5 * (low + high))
    assert rest.a.size < K / 2
    assert layers.use(low) < instance.limit < layers.use(high)


def test_a_narrow_bracket_that_misses_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = pruned(np.random.default_rng(3))
    truth = zp.solve(instance)
    monkeypatch.setattr(bracketing, "NARROW", 1e-12)
    assert zp.solve(instance).multiplier == pytest.approx(truth.multiplier, rel=1e-13)


def test_a_plan_and_its_use_come_from_one_sweep() -> None:
    instance = pruned(np.random.default_rng(5))
    (derivation,), (channel,) = derive(instance.program), instance.channels
    layers, _ = exact._layers(derivation, channel, instance.limit, instance.scalars)
    x, use = layers.plan(float(np.mean(layers.bracket[:2])))
    assert use == pytest.approx(float(channel.unit_cost @ x), rel=1e-14)
