"""No drift costs more than any bound says; how near each comes; where the paper's proof step fails (C19, C20)."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zetaplan.errors import SpecError
from zetaplan.solvers import solve
from zetaplan.spec.allocation import allocation
from zetaplan.spec.constants import constants
from zetaplan.spec.instance import Instance, with_quality
from zetaplan.spec.joint import joint
from zetaplan.spec.precision import precision
from zetaplan.spec.pruning import pruning
from zetaplan.spec.solution import Solution
from zetaplan.transfer import regret, robust
from zetaplan.verification.regret import NEEDS, Kind, regret_bound

K = 8
ROUNDING = 1e-11
KINDS: tuple[Kind, ...] = tuple(NEEDS)


def program(name: str, seed: int, layers: int = K) -> tuple[Instance, np.ndarray]:
    rng = np.random.default_rng(seed)
    g, c = rng.lognormal(0.0, 0.7, layers), rng.uniform(1.0, 3.0, layers)
    made = {
        "allocation": lambda: allocation(g, c, 2.0 * c.sum(), upper=6.0),
        "allocation, layers that enter and leave": lambda: allocation(g, c, 0.15 * c.sum(), beta=2.0, upper=4.0),
        "allocation, priced": lambda: allocation(g, c, 2.0 * c.sum(), alpha=1e-2),
        "pruning": lambda: pruning(g, c, sparsity=0.3),
        "pruning, capped": lambda: pruning(g, c, sparsity=0.5, upper=0.6),
        "precision": lambda: precision(g, c, 4.0 * c.sum(), upper=8.0),
        "joint": lambda: joint(g, c, 20 * c, 3.0 * c.sum(), upper=(6.0, 0.8)),
    }[name]()
    return made, g


PROGRAMS = (
    "allocation",
    "allocation, layers that enter and leave",
    "allocation, priced",
    "pruning",
    "pruning, capped",
    "precision",
    "joint",
)


def drifts(low: np.ndarray, high: np.ndarray, rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Gains inside the box, half of them at its corners."""
    inside = [rng.uniform(low, high) for _ in range(count // 2)]
    return inside + [np.where(rng.random(low.size) < rng.random(), low, high) for _ in range(count - count // 2)]


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("width", [0.02, 0.3])
def test_no_drift_costs_more_than_any_bound(name: str, width: float) -> None:
    rng = np.random.default_rng(1)
    for seed in range(3):
        instance, gains = program(name, seed)
        low, high = gains * (1 - width * rng.random(K)), gains * (1 + width * rng.random(K))
        plan = solve(instance)
        bounds = {kind: regret_bound(instance, plan, low=low, high=high, kind=kind).value for kind in KINDS}
        worst = max(regret(instance, plan, g).value for g in drifts(low, high, rng, 30))
        for kind, bound in bounds.items():
            assert worst <= bound + ROUNDING, kind
        assert bounds["separable"] <= bounds["variational"] * (1 + 1e-12) * (2 if name == "joint" else 1)
        assert bounds["variational"] <= bounds["theorem-4"] * (1 + 1e-12)


@pytest.mark.slow
def test_dual_ends_come_near_the_worst_corner() -> None:
    """The regret is convex in the weights, so over a box of shares the worst drift is one of the 2^K corners."""
    ratios = []
    for name, width in itertools.product(PROGRAMS[:2] + PROGRAMS[3:6], (0.1, 0.3)):
        instance, _ = program(name, 0, layers=6)
        ends = instance.quality * np.array([[1 - width], [1 + width]])
        plan = solve(instance)
        bound = regret_bound(instance, plan, low=ends[0], high=ends[1], normalised=True).value
        corners = (ends[corner, range(6)] for corner in map(list, itertools.product((0, 1), repeat=6)))
        worst = max(unnormalised_regret(instance, plan.x, q) for q in corners)
        ratios.append(bound / worst)
    assert min(ratios) >= 1 - 1e-9
    assert np.median(ratios) <= 1.2
    assert max(ratios) <= 2.0


def unnormalised_regret(instance: Instance, x: np.ndarray, q: np.ndarray) -> float:
    """The regret at shares that need not sum to one: at their sum s it is s^e times that of the shares (no prices)."""
    (term,) = instance.program.terms
    exponent = {scalar.symbol: instance.parameters[scalar.name] for scalar in instance.program.scalars}[term.exponent]
    return regret(instance, Solution(instance, x, 0.0), q).value * float(q.sum()) ** exponent


@given(st.integers(0, 10**6), st.sampled_from(PROGRAMS))
def test_no_drift_no_regret(seed: int, name: str) -> None:
    instance, _ = program(name, seed)
    plan = solve(instance)
    q = instance.quality
    assert regret(instance, plan, q).value == pytest.approx(0, abs=1e-12)
    for kind in KINDS:
        found = regret_bound(instance, plan, low=q, high=q, kind=kind, normalised=True).value
        assert found == pytest.approx(0, abs=1e-9 * (1 + abs(plan.objective)))


@given(st.integers(0, 10**6))
def test_a_wider_box_has_no_smaller_bound(seed: int) -> None:
    instance, gains = program("pruning", seed)
    plan = solve(instance)
    values = [
        regret_bound(instance, plan, low=(1 - w) * gains, high=(1 + w) * gains).value for w in (0.0, 0.05, 0.1, 0.2)
    ]
    assert all(a <= b * (1 + 1e-6) + 1e-12 for a, b in itertools.pairwise(values))


def test_each_bound_says_what_it_needs() -> None:
    instance, gains = program("pruning", 0)
    for kind in KINDS:
        found = regret_bound(instance, solve(instance), low=gains, high=2 * gains, kind=kind)
        assert NEEDS[kind] in str(found)
    assert "of the best objective on these scores" in str(regret(instance, solve(instance), gains[::-1]))


def test_a_plan_that_is_not_optimal_still_has_a_sound_dual_bound() -> None:
    """The certificate asks nothing of plan and price; the variational bound needs an optimum, and fails without."""
    instance, gains = program("pruning", 3)
    uniform = Solution(instance, np.full(K, 0.3), 0.7 * solve(instance).multiplier)
    lost = regret(instance, uniform, gains).value
    assert lost <= regret_bound(instance, uniform, low=gains, high=gains).value
    assert lost > regret_bound(instance, uniform, low=gains, high=gains, kind="variational").value


@pytest.mark.parametrize("name", [n for n in PROGRAMS if n != "joint"])
def test_a_robust_plan_loses_less_in_the_worst_case_and_is_feasible(name: str) -> None:
    instance, gains = program(name, 2)
    rng = np.random.default_rng(7)
    low, high = gains * (1 - 0.4 * rng.random(K)), gains * (1 + 0.8 * rng.random(K))
    found = robust(instance, low, high)
    assert found.worst is not None
    assert found.before is not None
    assert found.worst.value <= found.before.value
    x, sign = found.solution.x, instance.program.sign
    assert (x >= instance.lower - 1e-12).all()
    assert (x <= instance.upper + 1e-12).all()
    assert sign * (instance.channels[0].term.usage * instance.resource @ x - instance.limit) <= 1e-9 * instance.limit
    worst = max(regret(instance, found.solution, g).value for g in drifts(low, high, rng, 40))
    assert worst <= found.worst.value + ROUNDING
    assert found.cost.value >= 0


def test_where_one_gain_is_unknown_robustness_pays() -> None:
    """Two alike layers, one measured exactly and one anywhere from half to four times as much."""
    instance = pruning([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], sparsity=0.5)
    found = robust(instance, [1.0, 1.0, 0.5], [1.0, 1.0, 4.0])
    assert found.worst is not None
    assert found.before is not None
    assert found.worst.value < 0.8 * found.before.value
    assert found.solution.x[2] < found.solution.x[0]
    assert "instead of" in str(found)


def test_the_worst_objective_stands_at_the_worse_weights() -> None:
    instance, gains = program("allocation", 4)
    low, high = 0.5 * instance.quality, 1.5 * instance.quality
    found = robust(instance, low, high, worst="objective", normalised=True)
    expected = solve(with_quality(instance, low)).x  # the same shares: all gains half as large
    np.testing.assert_allclose(found.solution.x, expected, rtol=1e-9)
    assert "worst objective" in str(found)
    assert gains.shape == found.solution.x.shape


def test_bad_input_is_refused() -> None:
    instance, gains = program("pruning", 0)
    plan = solve(instance)
    for low, high, message in (
        (gains[:-1], gains, "low: expected 8 numbers"),
        (gains, gains / 2, r"low\[0\] = .* is above high\[0\]"),
        (-gains, gains, r"low\[0\] = .*: expected a finite number of at least 0"),
        (0 * gains, 0 * gains, "high: all zero"),
    ):
        with pytest.raises(SpecError, match=message):
            regret_bound(instance, plan, low=low, high=high)
    with pytest.raises(SpecError, match="kind = 'best': expected one of dual-endpoint"):
        regret_bound(instance, plan, low=gains, high=gains, kind="best")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="worst = 'case'"):
        robust(instance, gains, gains, worst="case")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="joint: a robust plan is found for programs of one term only"):
        robust(program("joint", 0)[0], gains, gains)


def test_c19_the_paper_s_proof_drops_a_term_that_is_not_zero() -> None:
    """K = 2, psi = rho^2, n = 1, target 1, caps 3/4; q_S = (1/2, 1/2), q_T = (1/8, 7/8), in fractions.

    x_S = (1/2, 1/2). On the target x_T would be (7/8, 1/8), and the cap makes it (3/4, 1/4). F_T(x) = q_T . x^2.
    """
    q, xs, xt = (Fraction(1, 8), Fraction(7, 8)), (Fraction(1, 2),) * 2, (Fraction(3, 4), Fraction(1, 4))

    def f(x: tuple[Fraction, ...]) -> Fraction:
        return sum((a * b * b for a, b in zip(q, x, strict=True)), Fraction(0))

    lost = f(xs) - f(xt)
    linear = sum((2 * a * b * (c - b) for a, b, c in zip(q, xt, xs, strict=True)), Fraction(0))
    quadratic = Fraction(2) * max(q) / 2 * sum(((c - b) ** 2 for b, c in zip(xt, xs, strict=True)), Fraction(0))
    assert (lost, linear) == (Fraction(1, 8), Fraction(1, 16))
    assert lost > quadratic == Fraction(7, 64)  # the step L/2 |x_S - x_T|^2 alone is no bound
    instance = pruning([0.5, 0.5], [1.0, 1.0], sparsity=0.5, upper=0.75)
    assert regret(instance, solve(instance), [1 / 8, 7 / 8]).value == pytest.approx(1 / 8)
    assert solve(with_quality(instance, [1 / 8, 7 / 8])).x == pytest.approx([3 / 4, 1 / 4])


def test_c20_the_constants_need_scores_away_from_zero() -> None:
    """Exponent below 1: the mixed derivative grows like q^(kappa - 1); kappa = 1: mu = 2 eta min q falls to 0."""
    for tiny in (1e-2, 1e-4, 1e-6):
        half = constants(pruning([1.0, tiny], [1.0, 1.0], sparsity=0.5, kappa=0.5))
        assert half.L_q == pytest.approx((tiny / (1 + tiny)) ** -0.5, rel=1e-6)
        assert constants(pruning([1.0, tiny], [1.0, 1.0], sparsity=0.5)).mu == pytest.approx(2 * tiny / (1 + tiny))
    instance = pruning([1.0, 0.5], [1.0, 1.0], sparsity=0.5)
    low, high = np.array([0.5, 0.0]), np.array([1.0, 0.5])
    assert regret_bound(instance, solve(instance), low=low, high=high, kind="variational").value == np.inf
    assert np.isfinite(regret_bound(instance, solve(instance), low=low, high=high).value)
