"""No drift inside the box costs more than the bound says, and some drift costs nearly as much."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import instances
from zetaplan.errors import SpecError
from zetaplan.solvers import solve
from zetaplan.spec.instance import Instance, with_quality
from zetaplan.spec.programs.allocation import allocation
from zetaplan.spec.programs.exponential_allocation import exponential_allocation
from zetaplan.spec.programs.joint import joint
from zetaplan.spec.programs.power_pruning import power_pruning
from zetaplan.spec.programs.precision import precision
from zetaplan.spec.programs.pruning import pruning
from zetaplan.spec.solution import Solution
from zetaplan.verification.regret.relative import relative_regret

K = 12
ROUNDING = 1e-11


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Gains and costs."""
    rng = np.random.default_rng(seed)
    return rng.lognormal(0.0, 0.7, K), rng.uniform(1.0, 3.0, K)


def program(name: str, seed: int, layers: int = K) -> Instance:
    g, c = (values[:layers] for values in drawn(seed))
    return {
        "allocation": lambda: allocation(g, c, 2.0 * c.sum()),
        "allocation, few active": lambda: allocation(g, c, 0.1 * c.sum(), beta=2.0, upper=4.0),
        "allocation, priced": lambda: allocation(g, c, 2.0 * c.sum(), alpha=1e-3),
        "pruning": lambda: pruning(g, c, sparsity=0.3),
        "pruning, capped": lambda: pruning(g, c, sparsity=0.5, upper=0.8),
        "pruning, priced": lambda: pruning(g, c, sparsity=0.5, bits=1e-4),
        "precision": lambda: precision(g, c, 4.0 * c.sum(), upper=8.0),
        "exponential": lambda: exponential_allocation(g, c, c.sum()),
        "power pruning": lambda: power_pruning(g, c, sparsity=0.5),
    }[name]()


PROGRAMS = (
    "allocation",
    "allocation, few active",
    "allocation, priced",
    "pruning",
    "pruning, capped",
    "pruning, priced",
    "precision",
    "exponential",
    "power pruning",
)
UNPRICED = tuple(name for name in PROGRAMS if "priced" not in name)


def regret(instance: Instance, x: np.ndarray, gains: np.ndarray) -> float:
    """The regret on known gains, as a share of the best objective, by solving."""
    target = with_quality(instance, gains)
    best = solve(target).objective
    return (Solution(target, x, 0.0).objective - best) / abs(best)


def drifts(low: np.ndarray, high: np.ndarray, rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Gains inside the box, half of them at its corners."""
    inside = [rng.uniform(low, high) for _ in range(count // 2)]
    return inside + [np.where(rng.random(low.size) < rng.random(), low, high) for _ in range(count // 2)]


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("width", [0.01, 0.1, 0.3])
def test_no_drift_costs_more(name: str, width: float) -> None:
    rng = np.random.default_rng(1)
    for seed in range(3):
        instance = program(name, seed)
        gains, _ = drawn(seed)
        low, high = gains * (1 - width * rng.random(K)), gains * (1 + width * rng.random(K))
        plan = solve(instance)
        bound = relative_regret(instance, plan.x, plan.multiplier, low, high)
        assert np.isfinite(bound.share)
        worst = max(regret(instance, plan.x, g) for g in drifts(low, high, rng, 40))
        assert worst <= bound.share + ROUNDING


@pytest.mark.slow
def test_it_is_tight_without_prices() -> None:
    """Bound over the worst of 60 drifts: at most 1.2 in the median and 2 at worst, for boxes of up to 30 per cent."""
    rng, ratios = np.random.default_rng(2), []
    for name in UNPRICED:
        for seed, width in enumerate((0.05, 0.1, 0.3)):
            instance, (gains, _) = program(name, seed), drawn(seed)
            plan, low, high = solve(instance), gains * (1 - width), gains * (1 + width)
            bound = relative_regret(instance, plan.x, plan.multiplier, low, high)
            ratios.append(bound.share / max(regret(instance, plan.x, g) for g in drifts(low, high, rng, 60)))
    assert np.median(ratios) <= 1.2
    assert max(ratios) <= 2.0
    assert min(ratios) >= 1 - 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("name", UNPRICED)
def test_beside_the_true_worst_of_all_corners(name: str) -> None:
    """The regret is convex in the weights and its share quasiconvex, so the worst drift is one of the 2^K corners."""
    ratios = []
    for seed, width in itertools.product(range(3), (0.1, 0.3)):
        instance, gains = program(name, seed, layers=6), drawn(seed)[0][:6]
        plan, ends = solve(instance), np.array([gains * (1 - width), gains * (1 + width)])
        corners = (ends[corner, range(6)] for corner in map(list, itertools.product((0, 1), repeat=6)))
        worst = max(regret(instance, plan.x, corner) for corner in corners)
        ratios.append(relative_regret(instance, plan.x, plan.multiplier, *ends).share / worst)
    assert min(ratios) >= 1 - 1e-9
    assert np.median(ratios) <= 1.1
    assert max(ratios) <= 1.5


@given(instance=instances(), seed=st.integers(0, 99), width=st.floats(0.0, 0.9))
def test_no_drift_of_any_instance_costs_more(instance: Instance, seed: int, width: float) -> None:
    rng, q = np.random.default_rng(seed), instance.quality
    plan, low, high = solve(instance), q * (1 - width), q * (1 + width)
    bound = relative_regret(instance, plan.x, plan.multiplier, low, high)
    for gains in drifts(low, high, rng, 4):
        target = with_quality(instance, gains)
        best, own = solve(target).objective, Solution(target, plan.x, 0.0).objective
        assert np.isinf(bound.share) or own - best <= bound.share * abs(best) + ROUNDING * (abs(own) + abs(best))


@pytest.mark.parametrize("name", PROGRAMS)
def test_on_one_point_it_is_the_regret(name: str) -> None:
    instance, (gains, _) = program(name, 0), drawn(1)
    plan, best = solve(instance), solve(with_quality(instance, gains))
    bound = relative_regret(best.instance, plan.x, best.multiplier, gains, gains)
    assert bound.share == pytest.approx(regret(instance, plan.x, gains), abs=ROUNDING)
    assert bound.layers.sum() == pytest.approx(bound.share, abs=1e-9)
    assert (bound.layers >= -ROUNDING).all()


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_unit_of_the_gains_does_not_matter(name: str) -> None:
    instance, (gains, _) = program(name, 0), drawn(0)
    plan = solve(instance)
    one, other = (
        relative_regret(instance, plan.x, plan.multiplier, 0.9 * gains * unit, 1.1 * gains * unit).share
        for unit in (1.0, 1e6)
    )
    assert one == pytest.approx(other, rel=1e-9)


@pytest.mark.parametrize("name", UNPRICED)
def test_a_wider_box_costs_more(name: str) -> None:
    instance, (gains, _) = program(name, 0), drawn(0)
    plan = solve(instance)
    shares = [
        relative_regret(instance, plan.x, plan.multiplier, gains * (1 - w), gains * (1 + w)).share
        for w in (0.0, 0.05, 0.1, 0.2, 0.4)
    ]
    assert shares == sorted(shares)
    assert shares[0] <= ROUNDING


def test_by_hand() -> None:
    """Two equal layers, half of all to go: x = (1/2, 1/2). At (3/4, 1/4) the best is (1/4, 3/4): 1/4 against 3/16."""
    instance = pruning([1.0, 1.0], 1.0, target=1.0)
    plan = solve(instance)
    assert relative_regret(instance, plan.x, 0.375, [0.75, 0.25], [0.75, 0.25]).share == pytest.approx(1 / 3)
    box = relative_regret(instance, plan.x, plan.multiplier, [0.25, 0.25], [0.75, 0.75])
    assert 1 / 3 <= box.share <= 0.36


def test_a_layer_that_is_known_adds_nothing() -> None:
    instance, (gains, _) = program("pruning", 0), drawn(0)
    plan, spread = solve(instance), np.where(np.arange(K) == 3, 0.2, 0.0)
    bound = relative_regret(instance, plan.x, plan.multiplier, gains * (1 - spread), gains * (1 + spread))
    assert bound.layers.argmax() == 3


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ([1.0], [1.0, 1.0], "low: expected 2 numbers, one per layer"),
        ([1.0, 2.0], [1.0, 1.0], r"low\[1\] = 2 is above high\[1\] = 1"),
        ([0.0, 0.0], [0.0, 0.0], "high: all zero"),
        ([-1.0, 1.0], [1.0, 1.0], r"low\[0\] = -1: expected a finite number of at least 0"),
        ([0.0, 1.0], [np.nan, 1.0], r"high\[0\] = nan"),
        ([0.0, 1.0], [np.inf, 1.0], r"high\[0\] = inf"),
    ],
)
def test_a_box_that_is_none_is_refused(low: list[float], high: list[float], message: str) -> None:
    instance = pruning([1.0, 2.0], 1.0)
    with pytest.raises(SpecError, match=message):
        relative_regret(instance, [0.5, 0.5], 0.1, low, high)


def test_several_terms_and_plans_of_another_shape() -> None:
    instance, gains = joint([1.0, 2.0], 1.0, 1.0, 1.0), [1.0, 2.0]
    plan = solve(instance)
    found = relative_regret(instance, plan.x, plan.multiplier, np.array(gains), 2 * np.array(gains))
    assert found.layers.shape == (2, 2)
    assert regret(instance, plan.x, np.array([2.0, 2.0])) <= found.share
    with pytest.raises(SpecError, match=r"solution.x has shape \(1,\), the instance has \(2, 2\)"):
        relative_regret(instance, [0.0], 0.1, gains, gains)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("equal", [False, True])
def test_rounding_does_not_change_the_bound(seed: int, equal: bool) -> None:
    """Another machine rounds otherwise, also where layers are alike and rounding would choose between them."""
    rng = np.random.default_rng(seed)
    layers = int(rng.integers(4, 30))
    c = rng.choice([1.0, 3.0], layers)
    g = np.ones(layers) if equal else rng.lognormal(0.0, 0.7, layers)
    instance = allocation(g, c, 12.0 * c.sum())
    best, shares = solve(instance), []
    for most in (0, 0, 1, 1, 1):
        x, low, high = 1.0 + most * 2.2e-16 * rng.integers(-2, 3, (3, layers))
        ends = 0.5 * instance.quality * low, 1.5 * instance.quality * high
        shares.append(relative_regret(instance, best.x * x, best.multiplier, *ends).share)
    assert shares == pytest.approx([shares[0]] * 5, rel=1e-9, abs=1e-12)
