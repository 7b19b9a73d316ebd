"""The curve against the solver, against rational arithmetic, and against the laws of a convex optimal value."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import zetaplan as zp
from tests import oracle
from tests.strategies import instances, random_instance
from zetaplan.solvers.frontier import Frontier, frontier
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Instance, declare
from zetaplan.spec.program import Program
from zetaplan.spec.programs import programs
from zetaplan.spec.programs.joint import joint
from zetaplan.spec.solution import Status

SINGLE = [program for program in programs().values() if len(program.terms) == 1]


def span(i: Instance) -> tuple[float, float]:
    """Limits from where the box is exhausted to well beyond where the constraint is slack."""
    if i.program.sense == ">=":
        return 0.0, math.nextafter(float(i.resource @ i.upper), 0.0) * (1 - 1e-12)
    floors = float(i.resource @ i.lower) * (1 + 1e-12)
    return floors, floors + 4.0 * float(i.resource.sum()) + i.limit


def same_plan(path: Frontier, limit: float) -> None:
    at = path.at(limit)
    solved = zp.solve(replace(path.instance, limit=limit))
    scale = 1.0 + np.abs(solved.x)
    assert (np.abs(at.x - solved.x) <= 1e-11 * scale).all()
    assert at.multiplier == pytest.approx(solved.multiplier, rel=1e-9, abs=1e-300)
    assert at.status is solved.status
    assert path.multiplier(limit) == at.multiplier
    assert zp.certify(at.instance, at).valid


@given(instances(), st.floats(0.0, 1.0))
def test_it_agrees_with_the_solver_at_any_limit(i: Instance, share: float) -> None:
    tight, wide = span(i)
    limit = tight + share * (wide - tight)
    assume(limit > 1e-3 * i.resource.sum())  # a plan is accurate relative to 1 + m, its multiplier likewise
    same_plan(frontier(i), limit)


@pytest.mark.parametrize("seed", range(40))
def test_it_agrees_with_the_solver_over_ten_decades_of_quality(seed: int) -> None:
    i = random_instance(seed)
    path = frontier(i)
    tight, wide = span(i)
    for share in (0.01, 0.1, 0.5, 0.9):
        limit = tight + share * (wide - tight)
        exact, multiplier = oracle.optimum(replace(i, limit=limit))
        at = path.at(limit)
        assert at.multiplier == pytest.approx(float(multiplier), rel=1e-12, abs=1e-300)
        assert max(abs(F(x) - y) / (1 + abs(y)) for x, y in zip(at.x.tolist(), exact, strict=True)) < 1e-13


@pytest.mark.parametrize("program", SINGLE, ids=lambda program: program.name)
@pytest.mark.parametrize("seed", range(3))
def test_every_declared_program_of_one_term_has_a_curve(program: Program, seed: int) -> None:
    rng = np.random.default_rng(seed)
    quality, data = 10.0 ** rng.uniform(-6.0, 0.0, 12), rng.uniform(1.0, 9.0, 12)
    term = program.terms[0]
    floor, cap = 0.125 * (seed > 0), min(term.upper, 6.0)
    i = declare(program, quality, (data,), floor * data.sum() * 1.5, (floor,), (cap,))
    path = frontier(i)
    assert path.breakpoints.size == 24
    for share in rng.uniform(0.01, 0.99, 20):
        same_plan(path, float((floor + share * (cap - floor)) * data.sum()))


def rational_use(i: Instance, price: F) -> F:
    """sum_k c_k clip(price w_k / c_k - 1, l_k, u_k), from Eq. 12 as it stands."""
    rows = zip(*(v.tolist() for v in (i.weight, i.resource, i.lower, i.upper)), strict=True)
    return sum((F(c) * min(max(price * F(w) / F(c) - 1, F(l)), F(u)) for w, c, l, u in rows), F(0))


@pytest.mark.parametrize("decades", [0, 10, 30])
def test_breakpoints_are_exact_up_to_rounding_whatever_the_spread(decades: int) -> None:
    """Caps make the running sums fall again: in floats, 30 decades of quality would leave no digit."""
    rng = np.random.default_rng(decades)
    k = 40
    quality, costs = 10.0 ** rng.uniform(-decades, 0.0, k), rng.uniform(1.0, 100.0, k)
    i = zp.allocation(quality, costs, 1.0, upper=rng.uniform(1.0, 50.0, k))
    path = frontier(i)
    prices = sorted(
        (F(b) + 1) * F(c) / F(w)
        for bounds in (i.lower, i.upper)
        for w, c, b in zip(i.weight.tolist(), costs.tolist(), bounds.tolist(), strict=True)
    )
    truth = [rational_use(i, price) for price in prices]
    assert path.breakpoints.size == 2 * k
    spent = float(costs.sum())  # the offsets: what rounding the slopes is relative to
    for limit, price, exact, at in zip(path.breakpoints, path.levels, truth, prices, strict=True):
        assert abs(F(float(limit)) - exact) <= F(4, 2**52) * (exact + F(spent))
        assert price == pytest.approx(float(at), rel=1e-15)
    between = (path.breakpoints[:-1] + path.breakpoints[1:]) / 2.0
    for j, limit in enumerate(between.tolist()):
        low, high = truth[j], truth[j + 1]
        if low == high:  # every layer at a bound: any price in the interval; the limit itself has been rounded
            assert prices[j] * (1 - F(1, 10**12)) <= 1 / F(path.multiplier(limit)) <= prices[j + 1] * (1 + F(1, 10**12))
            continue
        expected = prices[j] + (F(limit) - low) / (high - low) * (prices[j + 1] - prices[j])
        assert path.multiplier(limit) == pytest.approx(float(1 / expected), rel=1e-13)


def test_the_breakpoints_of_an_allocation_by_the_textbook_formula() -> None:
    """B_j = r_j W_j - C_j with r = c / w sorted (verification by hand: three layers, no caps)."""
    i = zp.allocation([4.0, 2.0, 1.0], [1.0, 2.0, 4.0], 5.0)  # w = (4, 2, 1) / 7, r = (7/4, 7, 28)
    path = frontier(i)
    assert path.breakpoints == pytest.approx([0.0, 7 * 4 / 7 - 1, 28 * 6 / 7 - 3], rel=1e-15)
    assert path.multipliers == pytest.approx([4 / 7, 1 / 7, 1 / 28], rel=1e-15)
    assert path.at(3.0).x == pytest.approx([3.0, 0.0, 0.0], abs=1e-15)
    assert path.at(9.0).x == pytest.approx([7.0, 1.0, 0.0], abs=1e-14)


def rounded_limit(i: Instance, limit: float) -> np.ndarray:
    """How far the plan moves when the limit is rounded: by slope_k / (the rise of the flattest piece)."""
    slope, _ = derive(i.program)[0].line(i.channels[0], i.scalars)
    moves = (i.weight > 0.0) & (i.lower < i.upper)
    flattest = np.min((i.resource * slope)[moves], initial=math.inf)
    return np.where(moves, slope, 0.0) * math.ulp(limit) / flattest


@given(instances())
def test_breakpoints_increase_and_at_each_a_layer_stands_at_its_bound(i: Instance) -> None:
    path = frontier(i)
    assert path.breakpoints.size <= 2 * i.quality.size
    assert (np.diff(path.breakpoints) >= 0.0).all()
    falls = i.program.sense == "<="
    assert (np.diff(path.multipliers) * (-1.0 if falls else 1.0) >= 0.0).all()
    for limit in path.breakpoints[np.isfinite(path.breakpoints)].tolist():
        x = path.at(limit).x
        room = np.minimum(np.abs(x - i.lower), np.abs(x - i.upper))
        assert (room <= 1e-12 * (1.0 + np.abs(x)) + rounded_limit(i, limit)).any()


@given(instances(), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_optimal_value_is_convex_and_its_slope_is_the_multiplier(i: Instance, a: float, b: float) -> None:
    """V(R') >= V(R) - sigma lambda(R) (R' - R) for every pair of limits: convexity and slope in one inequality."""
    tight, wide = span(i)
    path = frontier(i)
    here, there = (path.at(tight + share * (wide - tight)) for share in (a, b))
    step = there.instance.limit - here.instance.limit
    rise = -i.program.sign * here.multiplier * step
    magnitude = abs(here.objective) + abs(there.objective) + here.multiplier * (wide + float(i.resource.sum()))
    price = max(i.parameters.get("alpha", 0.0), i.parameters.get("bits", 0.0)) * (wide + float(i.resource.sum()))
    assert there.objective >= here.objective + rise - 1e-11 * (magnitude + price)


@given(instances(), st.floats(0.0, 1.0))
def test_beyond_the_slack_point_the_curve_is_flat(i: Instance, share: float) -> None:
    path = frontier(i)
    assume(math.isfinite(path.slack))
    tight, wide = span(i)
    end = max(tight, path.slack) if i.program.sense == "<=" else min(wide, path.slack)
    at = path.at(end * (1.0 + share if i.program.sense == "<=" else share))
    assert at.status is Status.SLACK
    assert at.multiplier == 0.0
    assert at.objective == pytest.approx(path.at(end).objective, rel=1e-12, abs=1e-300)


def test_without_slack_the_curve_never_ends() -> None:
    path = frontier(zp.allocation([3.0, 1.0], [1.0, 1.0], 4.0))
    assert path.slack == math.inf
    assert path.at(1e12).instance.resource @ path.at(1e12).x == pytest.approx(1e12, rel=1e-15)


def test_a_kink_has_the_slope_of_the_side_where_the_limit_costs_less() -> None:
    """Both layers at a bound, one capped, one not begun: the price is free in an interval, as for the solver."""
    i = zp.allocation([100.0, 1.0], [1.0, 1.0], 2.0, upper=[2.0, 5.0])
    path = frontier(i)
    assert path.breakpoints.tolist() == [0.0, 2.0, 2.0, 7.0]
    assert path.multiplier(2.0) == pytest.approx(zp.solve(i).multiplier, rel=1e-15)
    assert path.multiplier(math.nextafter(2.0, 0.0)) > 30 * path.multiplier(2.0)


def test_a_limit_that_the_box_rules_out_is_refused() -> None:
    path = frontier(zp.allocation([3.0, 1.0], [1.0, 2.0], 9.0, lower=1.0))
    assert path.at(3.0).x.tolist() == [1.0, 1.0]
    with pytest.raises(zp.InfeasibleError, match=r"budget = 2\.5: the box requires at least 3\.0"):
        path.at(2.5)
    pruned = frontier(zp.pruning([3.0, 1.0], [10.0, 20.0], sparsity=0.25, upper=0.5))
    assert pruned.at(15.0).x.tolist() == [0.5, 0.5]
    with pytest.raises(zp.InfeasibleError, match=r"target = 16\.0: the caps allow 15\.0 at most"):
        pruned.multiplier(16.0)


@pytest.mark.parametrize("limit", [math.nan, math.inf, -1.0])
def test_a_limit_that_is_no_limit_is_refused(limit: float) -> None:
    with pytest.raises(zp.SpecError, match=r"budget = .*expected a finite number of at least 0"):
        frontier(zp.allocation([3.0, 1.0], 1.0, 9.0)).at(limit)


def test_a_program_of_two_terms_is_refused() -> None:
    with pytest.raises(zp.SpecError, match="joint has 2 terms: the frontier supports programs of one"):
        frontier(joint([1.0, 2.0], 1.0, 10.0, 3.0))


def test_weightless_layers_take_a_target_alone_before_anything_is_lost() -> None:
    path = frontier(zp.pruning([1.0, 0.0, 0.0], [10.0, 10.0, 20.0], target=5.0))
    assert path.slack == 30.0
    assert path.at(15.0).x == pytest.approx([0.0, 0.5, 0.5], abs=1e-15)
    assert path.at(31.0).x == pytest.approx([0.1, 1.0, 1.0], abs=1e-15)


def test_a_box_without_room_is_one_point() -> None:
    path = frontier(zp.allocation([1.0, 1.0], [1.0, 3.0], 8.0, lower=2.0, upper=2.0))
    assert path.breakpoints.size == 0
    assert path.at(8.0).x.tolist() == [2.0, 2.0]
    assert path.at(8.0).status is Status.SLACK
