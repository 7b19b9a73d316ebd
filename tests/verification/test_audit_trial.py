"""The judge: honest solvers pass, and every kind of lie is seen as what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from zetaplan.errors import SpecError
from zetaplan.solvers import solve
from zetaplan.spec.instance import Instance
from zetaplan.spec.programs.allocation import allocation
from zetaplan.spec.programs.pruning import pruning
from zetaplan.spec.solution import Solution, Status
from zetaplan.verification.audit.contestants import contestant, quadratic
from zetaplan.verification.audit.planting import Planted, plant
from zetaplan.verification.audit.trial import Truth, TruthError, Verdict, judge, measure, truth


def known(instance: Instance) -> Truth:
    return truth(Planted(instance, 0.0, None, None))


@pytest.fixture
def exact() -> Truth:
    return known(allocation([0.5, 0.3, 0.2, 1e-4], [1.0, 2.0, 1.0, 1.0], 10.0, upper=[4.0, 9.0, 9.0, 9.0]))


def answer(exact: Truth, **changes: object) -> Verdict:
    honest = Solution(exact.instance, exact.x, exact.multipliers[0], Status.BINDING)
    return measure(exact, replace(honest, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["exact", "bisection"])
def test_our_solvers_are_right_on_planted_instances(method: str) -> None:
    solver = contestant(method)
    for index in range(150):
        verdict = judge(truth(plant(3, index)), solver.solve)
        assert verdict.optimal, (index, verdict)
        assert not verdict.wrong(strict=solver.strict), (index, verdict)
        assert not verdict.misread, (index, verdict)


def test_the_truth_itself_has_no_error(exact: Truth) -> None:
    verdict = answer(exact)
    assert (verdict.error, verdict.sharp, verdict.dual, verdict.sides, verdict.misread) == (0.0, 0.0, 0.0, 0, False)
    assert verdict.violation < 1e-15
    assert exact.side.tolist() == [1, 0, 0, -1]


def test_a_small_lie_is_wrong_for_a_solver_that_claims_to_be_exact_only(exact: Truth) -> None:
    verdict = answer(exact, x=exact.x * (1 - 1e-9))
    assert not verdict.wrong(strict=False)
    assert verdict.wrong(strict=True)


def test_a_layer_put_at_its_bound_is_seen(exact: Truth) -> None:
    verdict = answer(exact, x=np.array([4.0, 0.0, exact.x[2], 0.0]))
    assert verdict.wrong(strict=False)
    assert verdict.sides == 1
    assert verdict.sharp == pytest.approx(exact.x[1] / (2 + exact.x[1]))


def test_a_layer_too_small_for_the_common_measure_is_seen_by_the_sharp_one() -> None:
    exact = known(pruning([1.0, 1e9], [1.0, 1.0], target=1.0))
    verdict = answer(exact, x=np.array([exact.x[0], 0.0]))
    assert verdict.error < 1e-8
    assert verdict.sharp == pytest.approx(1.0)


def test_a_wrong_price_is_measured_relative_to_the_total_price(exact: Truth) -> None:
    assert answer(exact, multiplier=1.25 * exact.multipliers[0]).dual == pytest.approx(0.25)


def test_a_budget_overspent_is_a_violation(exact: Truth) -> None:
    assert answer(exact, x=exact.x + np.array([0.0, 0.0, 1.0, 0.0])).violation > 0.02
    assert answer(exact, x=exact.x + np.array([1.0, 0.0, 0.0, 0.0])).violation >= 0.2  # above its cap


def test_a_status_that_contradicts_the_facts_is_seen(exact: Truth) -> None:
    assert answer(exact, status=Status.SLACK, multiplier=0.0).misread
    slack = known(allocation([0.5, 0.5], 1.0, 100.0, alpha=0.1))
    honest = Solution(slack.instance, slack.x, 0.0, Status.SLACK)
    assert not measure(slack, honest).misread
    assert measure(slack, replace(honest, status=Status.BINDING, multiplier=0.05)).misread


def test_who_does_not_say_optimal_is_not_wrong(exact: Truth) -> None:
    verdict = answer(exact, x=exact.x + 1.0, status=Status.INACCURATE)
    assert not verdict.optimal
    assert not verdict.wrong(strict=True)


def test_an_exception_and_a_broken_plan_are_answers_too(exact: Truth) -> None:
    assert judge(exact, fails_with(ValueError("no"))).failure == "ValueError: no"
    assert answer(exact, x=np.array([1.0, np.nan, 0.0, 0.0])).failure
    assert answer(exact, x=np.ones(3)).failure


def fails_with(error: Exception) -> Callable[[Instance], Solution]:
    def solver(instance: Instance) -> Solution:
        raise error

    return solver


def test_every_multiplier_of_the_interval_is_right() -> None:
    exact = known(pruning([1.0, 2.0], [1.0, 1.0], target=1.0, lower=[0.0, 0.5], upper=[0.5, 1.0]))
    least, largest = exact.multipliers
    assert (least, largest) == pytest.approx((1 / 3, 2 / 3))
    duals = [answer(exact, multiplier=value).dual for value in (least, 0.5, largest, 1.0)]
    assert duals == pytest.approx([0.0, 0.0, 0.0, 0.5])


def test_layers_without_weight_are_free_where_nothing_has_a_price() -> None:
    exact = known(pruning([1.0, 0.0, 0.0], 1.0, target=1.0))
    assert exact.decided.tolist() == [True, False, False]
    assert answer(exact, x=np.array([0.0, 1.0, 0.0])).error == 0.0
    assert answer(exact, x=np.array([0.0, 0.2, 0.0])).violation > 0.1


def test_a_planted_answer_that_is_not_the_optimum_stops_the_trial() -> None:
    planted = next(p for p in (plant(3, i) for i in range(50)) if p.plan is not None and p.plan[0] > 0)
    assert planted.plan is not None
    with pytest.raises(TruthError, match=r"layer 0: planted .*, exact"):
        truth(replace(planted, plan=(planted.plan[0] / 2, *planted.plan[1:])))
    with pytest.raises(TruthError, match="planted multiplier"):
        truth(replace(planted, multiplier=Fraction(10) ** 9))


@pytest.mark.parametrize("name", ["osqp", "clarabel"])
def test_the_references_agree_where_the_data_are_kind(name: str) -> None:
    solver = contestant(name)
    for instance in (
        allocation([0.5, 0.3, 0.2], [1.0, 2.0, 1.0], 10.0, upper=[4.0, 9.0, 9.0]),
        pruning([0.5, 0.3, 0.2], [1.0, 2.0, 1.0], sparsity=0.5, upper=0.8),
    ):
        verdict = judge(known(instance), solver.solve)
        assert not verdict.failure
        assert max(verdict.error, verdict.dual, verdict.violation) < 1e-4


def test_osqp_is_asked_for_an_allocation_only_where_the_budget_binds_whatever_the_weights() -> None:
    assert quadratic(allocation([0.5, 0.5], 1.0, 10.0))
    assert not quadratic(allocation([0.5, 0.5], 1.0, 10.0, upper=2.0))
    assert not quadratic(allocation([0.5, 0.5], 1.0, 10.0, alpha=0.1))


def test_an_unknown_contestant_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match="'gurobby' is unknown: expected one of exact, bisection"):
        contestant("gurobby")


def test_the_exact_method_is_what_solve_does_by_default(exact: Truth) -> None:
    assert contestant("exact").solve(exact.instance).x.tolist() == solve(exact.instance).x.tolist()
