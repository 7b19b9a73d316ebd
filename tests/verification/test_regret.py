"""No drift costs more than any bound says; how near each comes; where the paper's proof step fails (C19, C20)."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zetaplan.drift.regret import regret, robust
from zetaplan.errors import SpecError
from zetaplan.solvers import solve
from zetaplan.spec.constants import constants
from zetaplan.spec.instance import Instance, with_quality
from zetaplan.spec.programs.allocation import allocation
from zetaplan.spec.programs.joint import joint
from zetaplan.spec.programs.precision import precision
from zetaplan.spec.programs.pruning import pruning
from zetaplan.spec.solution import Solution
from zetaplan.verification.certificate import certify
from zetaplan.verification.regret.bound import NEEDS, Kind, box_constants, regret_bound
from zetaplan.verification.regret.boxes import quality_ends

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
        "allocation, exponent below 1": lambda: allocation(g, c, 2.0 * c.sum(), beta=0.5),
        "pruning, priced and slack": lambda: pruning(g, c, sparsity=0.2, bits=0.03),
        "joint, two exponents": lambda: joint(g, c, 20 * c, 3.0 * c.sum(), beta=1.0, kappa=0.3, upper=(6.0, 0.8)),
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
    "allocation, exponent below 1",
    "pruning, priced and slack",
    "joint, two exponents",
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
        assert bounds["separable"] <= bounds["variational"] * (1 + 1e-12)
        assert bounds["variational"] <= bounds["theorem-4"] * (1 + 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("normalised", [False, True])
def test_dual_ends_come_near_the_worst_corner(normalised: bool) -> None:
    """The regret is convex in the shares where e = 1: its worst is at one of the 2^K corners of the gains, or, of
    shares, at a vertex of their box on the simplex; for other exponents those are the worst that is looked at."""
    ratios = []
    for name, width in itertools.product(PROGRAMS, (0.1, 0.3)):
        instance, _ = program(name, 0, layers=6)
        low, high = instance.quality * np.array([[1 - width], [1 + width]])
        plan = solve(instance)
        bound = regret_bound(instance, plan, low=low, high=high, normalised=normalised).value
        corners = vertices(low, high) if normalised else all_corners(low, high)
        worst = max(regret(instance, plan, q).value for q in corners)
        ratios.append(bound / worst)
    assert min(ratios) >= 1 - 1e-9
    assert np.median(ratios) <= 1.05
    assert max(ratios) <= 1.2


def all_corners(low: np.ndarray, high: np.ndarray) -> list[np.ndarray]:
    return [np.where(at_high, high, low) for at_high in itertools.product((False, True), repeat=low.size)]


def vertices(low: np.ndarray, high: np.ndarray) -> list[np.ndarray]:
    """Of a box on the simplex: all shares but one at an end."""
    found = []
    for corner, k in itertools.product(all_corners(low, high), range(low.size)):
        left = 1.0 - (corner.sum() - corner[k])
        if low[k] <= left <= high[k]:
            found.append(np.where(np.arange(low.size) == k, left, corner))
    return found


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from(PROGRAMS), st.sampled_from([0.03, 0.3, 0.9]))
def test_no_shares_of_a_box_cost_more(seed: int, name: str, width: float) -> None:
    """Shares with a sum of one, at vertices of the box and between them; one layer outweighs the others."""
    instance, _ = program(name, seed, layers=4)
    instance = with_quality(instance, instance.quality * np.array([50.0, 1.0, 1.0, 1.0]))
    low, high = instance.quality * np.array([[1 - width], [1 + width]])
    plan, rng = solve(instance), np.random.default_rng(seed)
    corners = vertices(low, high)
    between = [rng.dirichlet(np.full(len(corners), 0.2)) @ np.array(corners) for _ in range(10)]
    worst = max(regret(instance, plan, q).value for q in (*corners, *between))
    for kind in KINDS:
        bound = regret_bound(instance, plan, low=low, high=high, kind=kind, normalised=True).value
        assert worst <= bound + ROUNDING, kind


def test_a_layer_of_two_decisions_can_do_its_worst_between_the_ends() -> None:
    """Exponents 1 and 1/5: the regret is no convex function of the gain, and larger at 56 than at 12.31 or 262.83."""
    costs = np.array([1.2, 1.73])
    instance = joint([1.0, 0.38], costs, 20 * costs, 0.88, beta=1.0, kappa=0.2, gamma=0.3, upper=(6.0, 0.8))
    plan, low, high = solve(instance), [12.31, 0.38], [262.83, 0.38]
    ends, between = (max(regret(instance, plan, [g, 0.38]).value for g in gains) for gains in ((12.31, 262.83), (56,)))
    assert between > 1.04 * ends
    assert between <= regret_bound(instance, plan, low=low, high=high).value


def test_a_share_does_not_drown_in_the_sum_of_the_others() -> None:
    """Of [1e-3, 1e16] and 1: the lowest share of the first is 1e-3 / 1.001, though 1e16 + 1 - 1e16 is not 1."""
    instance = pruning([1.0, 1.0], 1.0, bits=1e-3)
    low, high = quality_ends(instance, [1e-3, 1.0], [1e16, 1.0], False)
    assert low[0] == pytest.approx(1e-3 / 1.001)
    assert high[1] == pytest.approx(1 / 1.001)


def test_shares_leave_no_less_than_nothing_to_the_others() -> None:
    instance = pruning([0.9, 0.1], 1.0)
    low, high = quality_ends(instance, [0.6, 0.05], [1.0, 0.2], True)
    assert low == pytest.approx([0.8, 0.05])
    assert high == pytest.approx([0.95, 0.2])


def test_the_constants_hold_from_the_source_to_the_box() -> None:
    """An exponent below 1: the change of the slope with q is largest at the source, which lies below the box."""
    instance = pruning([1e-3, 1.0], 1.0, kappa=0.5)
    ends = quality_ends(instance, [0.5, 0.5], [1.0, 1.0], False)
    found = box_constants(instance, ends)
    assert (found.score_lipschitz >= constants(instance).score_lipschitz).all()


def test_a_layer_that_is_pinned_costs_nothing_by_any_constant() -> None:
    """Sparsity pinned to 0 where the score can be 0 and the exponent is below 1: no 0 times infinity."""
    instance = pruning([0.0, 1.0, 2.0], 1.0, sparsity=0.4, kappa=0.5, upper=[0.0, 1.0, 1.0])
    found = regret_bound(instance, solve(instance), low=[0, 0.5, 1.0], high=[0, 1.5, 3.0], kind="separable")
    assert np.isfinite(found.value)
    assert found.layers is not None
    assert found.layers[0] == 0.0


def test_without_a_price_a_better_one_is_found() -> None:
    """All caps can be paid for, but for a layer without a gain; if it has one after all, the price decides."""
    instance = allocation([1.0, 0.0], 1.0, 10.0, upper=[2.0, np.inf])
    plan = solve(instance)
    assert plan.multiplier == 0.0
    rough = regret_bound(instance, plan, low=[0.5, 0.0], high=[1.0, 0.5], refine=False)
    assert rough.value == np.inf
    needs = "no assumption: any plan, any multiplier"
    assert str(rough) == f"no bound on the regret is proved by dual-endpoint (needs {needs})"
    refined = regret_bound(instance, plan, low=[0.5, 0.0], high=[1.0, 0.5]).value
    assert regret(instance, plan, [0.5, 0.5]).value <= refined <= 1.01 * regret(instance, plan, [0.5, 0.5]).value


@pytest.mark.parametrize("name", PROGRAMS)
def test_refinement_only_improves(name: str) -> None:
    instance, gains = program(name, 5)
    plan = solve(instance)
    rough, refined = (
        regret_bound(instance, plan, low=0.7 * gains, high=1.3 * gains, refine=refine).value for refine in (False, True)
    )
    assert refined <= rough


@given(st.integers(0, 10**6), st.sampled_from(PROGRAMS))
def test_no_drift_no_regret(seed: int, name: str) -> None:
    instance, _ = program(name, seed)
    plan = solve(instance)
    q = instance.quality
    assert regret(instance, plan, q).value == pytest.approx(0, abs=1e-12)
    for kind in KINDS:
        found = regret_bound(instance, plan, low=q, high=q, kind=kind, normalised=True).value
        assert found == pytest.approx(0, abs=1e-9 * (1 + abs(plan.objective)))


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_a_wider_box_has_no_smaller_bound(seed: int) -> None:
    instance, gains = program("pruning", seed)
    plan = solve(instance)
    values = [
        regret_bound(instance, plan, low=(1 - w) * gains, high=(1 + w) * gains).value for w in (0.0, 0.05, 0.1, 0.2)
    ]
    assert all(a <= b * (1 + 1e-3) + 1e-12 for a, b in itertools.pairwise(values))


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


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_robust_plan_loses_less_in_the_worst_case_and_is_feasible(name: str) -> None:
    instance, gains = program(name, 2)
    rng = np.random.default_rng(7)
    low, high = gains * (1 - 0.4 * rng.random(K)), gains * (1 + 0.8 * rng.random(K))
    found = robust(instance, low, high)
    assert found.worst is not None
    assert found.before is not None
    assert found.worst.value <= found.before.value
    conditions = {c.name: c.ok for c in certify(instance, found.solution).conditions}
    assert conditions["coupling"]
    assert conditions["box"]
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
    assert found.gap <= 1e-12
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
    with pytest.raises(SpecError, match=r"no shares in this box sum to 1, only to between 1\.8 and 2"):
        regret_bound(instance, plan, low=np.full(K, 1.8 / K), high=np.full(K, 2 / K), normalised=True)
    other = Solution(instance, np.ones(3), 0.1)
    for call in (lambda: regret(instance, other, gains), lambda: regret_bound(instance, other, low=gains, high=gains)):
        with pytest.raises(SpecError, match=r"solution.x has shape \(3,\), the instance has \(8,\)"):
            call()
    with pytest.raises(
        SpecError, match=r"solution\.x violates the constraint that the target is met: relative residual"
    ):
        regret(instance, Solution(instance, np.zeros(K), 0.1), gains)
    with pytest.raises(SpecError, match="quality: expected 8 gains, one per layer, got 7"):
        regret(instance, plan, gains[:-1])


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
