"""Whole units against brute force, against slow independent algorithms, and the certificate of the gap."""

from __future__ import annotations

import heapq
import itertools
import math
from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zetaplan as zp
from zetaplan.solvers.whole import dynamic, greedy, milp
from zetaplan.solvers.whole.integer import IntegerSolution, solve_integer
from zetaplan.solvers.whole.units import Units, window
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Instance, declare
from zetaplan.spec.programs import named
from zetaplan.spec.programs.joint import joint

BUDGETED = ("allocation", "power_allocation", "exponential_allocation", "precision")
TARGETED = ("pruning", "power_pruning")

costs = st.one_of(st.integers(1, 9).map(float), st.sampled_from([0.1, 0.2, 0.3, 0.7, 1.1]))
weights = st.one_of(st.floats(1e-6, 1.0), st.sampled_from([0.0, 0.5, 1.0]))


@st.composite
def budgeted(draw: st.DrawFn) -> Instance:
    """K = 1..4 layers and room for a handful of units: few enough to try every plan."""
    k = draw(st.integers(1, 4))
    program = named(draw(st.sampled_from(BUDGETED)))
    data = draw(st.one_of(costs.map(lambda c: [c] * k), st.lists(costs, min_size=k, max_size=k)))
    quality = [*draw(st.lists(weights, min_size=k - 1, max_size=k - 1)), 1.0]
    lower = draw(st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.5, 1.0]), min_size=k, max_size=k))
    upper = draw(st.lists(st.sampled_from([math.inf, 2.0, 3.5, 5.0]), min_size=k, max_size=k))
    need = sum(F(c) * math.ceil(l) for c, l in zip(data, lower, strict=True))
    budget = float(need) * (1.0 + 2.0**-52) + draw(st.integers(0, 8)) * max(data)
    priced = program.scalars[0].name == "alpha" and draw(st.booleans())
    return declare(program, quality, (data,), budget, (lower,), (upper,), {"alpha": 0.02} if priced else {})


@st.composite
def targeted(draw: st.DrawFn) -> Instance:
    """Layers that stay or go."""
    k = draw(st.integers(1, 6))
    program = named(draw(st.sampled_from(TARGETED)))
    sizes = draw(st.lists(st.integers(1, 30).map(float), min_size=k, max_size=k))
    quality = [*draw(st.lists(weights, min_size=k - 1, max_size=k - 1)), 1.0]
    lower = draw(st.lists(st.sampled_from([0.0, 0.0, 0.25]), min_size=k, max_size=k))
    bits = draw(st.sampled_from([0.0, 0.01]))
    target = draw(st.floats(0.0, 1.0)) * sum(sizes)
    return declare(program, quality, (sizes,), target, (lower,), (1.0,), {"bits": bits})


def objective(i: Instance, x: np.ndarray) -> float:
    values = derive(i.program)[0].objective(x.astype(float), 0.0, i.weight, i.resource, *i.scalars)
    return math.fsum(np.broadcast_to(values, x.shape).tolist())


def fits(i: Instance, x: tuple[int, ...]) -> bool:
    use = sum((F(d) * n for d, n in zip(i.resource.tolist(), x, strict=True)), F(0))
    return use <= F(i.limit) if i.program.sense == "<=" else use >= F(i.limit)


def brute_force(i: Instance, steps: list[int], groups: list[list[int]]) -> float:
    """The best objective over every plan of multiples, one by one."""
    choices = []
    for d, l, u, step in zip(i.resource.tolist(), i.lower.tolist(), i.upper.tolist(), steps, strict=True):
        most = math.floor(min(u, i.limit / d + 1.0))
        choices.append([n for n in range(math.ceil(l), most + 1) if n % step == 0])
    plans = (x for x in itertools.product(*choices) if fits(i, x))
    tied = (x for x in plans if all(len({x[k] for k in group}) <= 1 for group in groups))
    return min((objective(i, np.array(x)) for x in tied), default=math.inf)


def is_sound(i: Instance, answer: IntegerSolution) -> None:
    """What must hold whatever the method: the box, the limit (exactly), the gap."""
    x = answer.x
    assert x.dtype == np.int64
    assert ((i.lower <= x) & (x <= i.upper)).all()
    assert fits(i, tuple(x.tolist()))
    assert answer.used == pytest.approx(float(i.resource @ x), rel=1e-12)
    assert (answer.used <= i.limit) if i.program.sense == "<=" else (answer.used >= i.limit)
    assert answer.objective == pytest.approx(objective(i, x), rel=1e-13, abs=1e-300)
    assert answer.gap >= 0.0
    assert answer.bound <= answer.relaxed.objective + 1e-12  # a relaxed plan may overstep the limit by a rounding
    if math.isfinite(answer.relaxed.multiplier):
        assert answer.bound == pytest.approx(answer.relaxed.objective, rel=1e-9, abs=1e-9)


def agree(i: Instance, steps: list[int], groups: list[list[int]]) -> None:
    best = brute_force(i, steps, groups)
    if best == math.inf:
        with pytest.raises(zp.InfeasibleError):
            solve_integer(i, steps, groups)
        return
    answer = solve_integer(i, steps, groups)
    is_sound(i, answer)
    assert answer.optimal
    assert answer.bound <= best
    assert answer.objective == pytest.approx(best, rel=1e-12, abs=1e-12)
    assert (answer.x % np.array(steps) == 0).all()
    assert all(len(set(answer.x[group].tolist())) == 1 for group in groups)


@given(budgeted(), st.data())
def test_brute_force_agrees_under_a_budget(i: Instance, data: st.DataObject) -> None:
    k = i.quality.size
    steps = data.draw(st.lists(st.sampled_from([1, 1, 1, 2, 3]), min_size=k, max_size=k))
    size = data.draw(st.integers(2, k)) if k > 1 and data.draw(st.booleans()) else 0
    groups = [data.draw(st.permutations(range(k)))[:size]] if size else []
    agree(i, steps, groups)


@given(targeted(), st.booleans())
def test_brute_force_agrees_where_layers_stay_or_go(i: Instance, tie: bool) -> None:
    k = i.quality.size
    agree(i, [1] * k, [[0, k - 1]] if tie and k > 1 else [])


@st.composite
def knapsacks(draw: st.DrawFn) -> Units:
    k = draw(st.integers(2, 5))
    w = np.array(draw(st.lists(st.floats(1e-3, 1.0), min_size=k, max_size=k)))
    cost = draw(st.lists(st.integers(1, 12), min_size=k, max_size=k))
    room = draw(st.integers(12, 40))
    most = np.array([room // c for c in cost])
    return Units(lambda z: -w * np.log1p(z), tuple(cost), room, most)


def textbook(units: Units) -> float:
    """The dense table over every room, one unit at a time: slow, and nothing of ours but the losses."""
    table = [0.0] * (units.room + 1)
    for k, cost in enumerate(units.costs):
        values = [float(units.loss(np.full(units.most.size, n))[k]) for n in range(int(units.most[k]) + 1)]
        table = [
            min(table[room - n * cost] + value for n, value in enumerate(values) if n * cost <= room)
            for room in range(units.room + 1)
        ]
    return table[units.room]


@given(knapsacks(), st.sampled_from([1, 2, 1 << 20]))
def test_dynamic_programming_and_milp_agree_with_the_textbook_table(units: Units, beam: int) -> None:
    known = greedy.fill(units)
    assert units.left(known.z) >= 0
    best = textbook(units)
    if known.optimal:
        assert float(units.loss(known.z).sum()) == pytest.approx(best, rel=1e-12)
        return
    decisions = window(units, known.z, known.multiplier)
    search = dynamic.solve(units, decisions, beam)
    assert search is not None
    assert units.left(search.z) >= 0
    assert search.complete or beam < 1 << 20
    if search.complete:
        assert float(units.loss(search.z).sum()) == pytest.approx(best, rel=1e-12)
    mixed = milp.solve(units, decisions)
    assert mixed is not None
    assert units.left(mixed.z) >= 0
    assert not mixed.optimal or float(units.loss(mixed.z).sum()) == pytest.approx(best, rel=1e-9)


@given(knapsacks())
def test_the_gap_of_the_greedy_plan_covers_what_it_loses(units: Units) -> None:
    """Weak duality in whole units: greedy - best <= gap, at any price."""
    known = greedy.fill(units)
    lost = float(units.loss(known.z).sum()) - textbook(units)
    for price in (0.0, known.multiplier, 2.0 * known.multiplier + 0.01):
        assert lost <= window(units, known.z, price).gap + 1e-12


def test_greedy_is_not_optimal_where_units_cost_differently() -> None:
    """The first unit by gain per cost is the dear one, and it leaves room for nothing; two cheap ones gain more."""
    i = zp.allocation([0.6, 0.39], [3.0, 2.0], 4.0)
    units = Units(lambda z: -i.weight * np.log1p(z), (3, 2), 4, np.array([1, 2]))
    assert greedy.fill(units).z.tolist() == [1, 0]
    assert not greedy.fill(units).optimal
    answer = solve_integer(i)
    assert answer.x.tolist() == [0, 2]
    assert (answer.method, answer.optimal) == ("dynamic programming", True)


@pytest.mark.parametrize("seed", range(5))
def test_greedy_takes_the_largest_gains_where_units_cost_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    i = zp.allocation(10.0 ** rng.uniform(-4.0, 0.0, 30), 30_000.0, 2_700_000.0 + 1.0, upper=40.5)
    heap = [(-w * math.log(2.0), k, 1) for k, w in enumerate(i.weight.tolist())]
    heapq.heapify(heap)
    x = np.zeros(30, dtype=np.int64)
    for _ in range(90):
        _, k, n = heapq.heappop(heap)
        x[k] = n
        if n < 40:
            heapq.heappush(heap, (-i.weight[k] * math.log((n + 2) / (n + 1)), k, n + 1))
    answer = solve_integer(i)
    assert (answer.method, answer.optimal) == ("greedy", True)
    assert answer.objective == pytest.approx(objective(i, x), rel=1e-13)
    assert answer.x.sum() == 90


def model_sized(seed: int) -> Instance:
    """30 layers, 2 % of 135 million parameters, 20,000 to 40,000 parameters per unit of rank."""
    rng = np.random.default_rng(seed)
    return zp.allocation(10.0 ** rng.uniform(-2.0, 0.0, 30), rng.integers(20_000, 40_000, 30).astype(float), 2.7e6)


@pytest.mark.parametrize("seed", range(5))
def test_a_model_sized_plan_by_two_methods(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    i = model_sized(seed)
    answer = solve_integer(i)
    is_sound(i, answer)
    assert answer.optimal
    monkeypatch.setattr(dynamic, "HISTORY", 0)
    other = solve_integer(i)
    is_sound(i, other)
    assert other.method == "milp"
    assert other.objective >= answer.objective * (1 + 1e-13)
    assert not other.optimal or other.objective == pytest.approx(answer.objective, rel=1e-9)


def test_a_plan_that_nothing_proves_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    i = model_sized(0)
    best = solve_integer(i)
    monkeypatch.setattr(dynamic, "HISTORY", 0)
    monkeypatch.setattr(milp, "BINARIES", 0)
    answer = solve_integer(i)
    is_sound(i, answer)
    assert (answer.method, answer.optimal) == ("greedy", False)
    assert answer.gap >= best.gap


def test_costs_that_no_64_bits_hold_are_decided_exactly() -> None:
    """Three tenths and 0.1 + 0.2 + 0.3 are no decimal numbers: the plan that oversteps by one part in 2^53 is out."""
    i = zp.allocation([0.5, 0.3, 0.2], [0.1, 0.2, 0.3], 0.6, upper=1.0)
    assert F(0.1) + F(0.2) + F(0.3) > F(0.6)
    assert solve_integer(i).x.tolist() == [1, 1, 0]
    wide = zp.allocation([0.5, 0.3, 0.2, 1e-9], [0.1, 2.0**40, 3e-5, 2.0**70], 2.0**70, upper=1.0)
    answer = solve_integer(wide)
    is_sound(wide, answer)
    assert answer.optimal
    assert answer.x.tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize("seed", range(3))
def test_a_larger_budget_and_a_finer_step_never_hurt(seed: int) -> None:
    i = model_sized(seed)
    by_budget = [solve_integer(zp.allocation(i.quality, i.resource, i.limit * f)).objective for f in (0.5, 1.0, 2.0)]
    assert sorted(by_budget, reverse=True) == by_budget
    by_step = [solve_integer(i, step).objective for step in (1, 2, 4, 8)]
    assert sorted(by_step) == by_step
    free, tied = solve_integer(i), solve_integer(i, groups=[[0, 1, 2], [7, 5]])
    assert free.objective <= tied.objective
    assert tied.x[[0, 1, 2]].tolist() == [tied.x[0]] * 3
    assert tied.x[5] == tied.x[7]


def test_floors_are_rounded_up_and_caps_down() -> None:
    i = zp.allocation([0.5, 0.5], [1.0, 1.0], 20.0, lower=[4.5, 0.0], upper=[9.0, 7.5])
    assert solve_integer(i, step=4).x.tolist() == [8, 4]


def test_an_empty_box_is_explained() -> None:
    i = zp.allocation([0.5, 0.5, 0.1], 1.0, 30.0, lower=[0.0, 5.0, 0.0], upper=[3.0, 7.0, 9.0])
    with pytest.raises(zp.InfeasibleError, match=r"layer 1: no multiple of 4 lies between the floor 5 and the cap 7"):
        solve_integer(i, step=4)
    with pytest.raises(zp.InfeasibleError, match=r"layers 0, 1: no multiple of 1 lies between the floor 5 and the cap"):
        solve_integer(i, groups=[[0, 1]])


def test_floors_that_round_beyond_the_budget_are_explained() -> None:
    i = zp.allocation([0.5, 0.5], [1.0, 2.0], 2.0, lower=0.5)
    with pytest.raises(zp.InfeasibleError, match=r"budget = 2\.0: the floors, rounded up to whole units, need 3\.0"):
        solve_integer(i)
    p = zp.pruning([0.5, 0.5], [10.0, 20.0], target=12.0, upper=[1.0, 0.9])
    with pytest.raises(zp.InfeasibleError, match=r"target = 12\.0: the caps, rounded down to whole units, allow 10\.0"):
        solve_integer(p)


@pytest.mark.parametrize("step", [0, -1, 1.5, math.nan, math.inf, [1, 0], "two", [1, 2, 3]])
def test_a_step_that_is_no_whole_number_is_refused(step: object) -> None:
    with pytest.raises(zp.SpecError, match=r"step.*expected (a whole number of at least 1|one whole number or 2)"):
        solve_integer(zp.allocation([0.5, 0.5], 1.0, 9.0), step)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([[0, 2]], r"groups\[0\] names layer 2: expected an index from 0 to 1"),
        ([[-1]], r"groups\[0\] names layer -1: expected an index"),
        ([[0], [1, 0]], r"groups\[1\] names layer 0 again"),
        ([[1, 1]], r"groups\[0\] names layer 1 again"),
    ],
)
def test_groups_that_are_none_are_refused(groups: list[list[int]], message: str) -> None:
    with pytest.raises(zp.SpecError, match=message):
        solve_integer(zp.allocation([0.5, 0.5], 1.0, 9.0), groups=groups)


def test_programs_and_budgets_beyond_whole_units_are_refused() -> None:
    with pytest.raises(zp.SpecError, match="joint has several terms"):
        solve_integer(joint([1.0, 2.0], 1.0, 10.0, 3.0))
    with pytest.raises(zp.SpecError, match=r"layer 0: entries above 2\^53 are not distinct doubles"):
        solve_integer(zp.allocation([0.5, 0.5], 1.0, 1e17))


def test_an_unpriced_plan_without_room_stands_at_its_floors() -> None:
    answer = solve_integer(zp.allocation([0.5, 0.5], [1.0, 3.0], 4.0, lower=1.0))
    assert answer.x.tolist() == [1, 1]
    assert (answer.method, answer.optimal) == ("greedy", True)
    assert answer.gap == pytest.approx(0.0, abs=1e-12)
