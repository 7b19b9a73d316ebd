"""The monitor never calls a plan good that is not, solves only when it must, and follows when it should."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zetaplan as zp
from tests.made import LAYERS, made_scores
from zetaplan.drift import monitor as monitor_module
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate, prune
from zetaplan.spec.instance import with_quality
from zetaplan.spec.solution import Solution

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "monitor_finetuning.py"
PLANS = {
    "ranks": allocate(made_scores(), mean_rank=4, lower=2.0, upper=8.0),
    "ranks, some without": allocate(made_scores(), mean_rank=0.2),
    "sparsity": prune(made_scores(), sparsity=0.5, upper=0.6),
    "sparsity of net gains": prune(made_scores(), sparsity=0.3, gain="net", kappa=0.5),
}
GAINS = st.lists(st.floats(0.01, 10.0), min_size=LAYERS, max_size=LAYERS)


def true_regret(plan: Plan, x: np.ndarray, gains: list[float]) -> float:
    """F(x) - F(x*) by cvxpy, which shares nothing with the monitor."""
    instance = with_quality(plan.instance, gains)
    return Solution(instance, x, 0.0).objective - zp.solve(instance, method="cvxpy").objective


@pytest.fixture(params=PLANS)
def plan(request: pytest.FixtureRequest) -> Plan:
    return PLANS[request.param]


def test_its_own_scores_cost_nothing(plan: Plan) -> None:
    reading = zp.Monitor(plan, tolerance=1e-9).update(plan.scores)
    assert (reading.within, reading.solved) == (True, False)
    assert reading.regret <= 1e-12
    assert not reading.moved.any()


@given(name=st.sampled_from(sorted(PLANS)), drifts=st.lists(GAINS, min_size=1, max_size=4))
def test_the_reading_bounds_the_regret_and_is_it_once_solved(name: str, drifts: list[list[float]]) -> None:
    plan = PLANS[name]
    monitor = zp.Monitor(plan, tolerance=0.02)
    for gains in drifts:
        used = monitor.solution.x
        reading = monitor.update(gains)
        truth, rounding = true_regret(plan, used, gains), 1e-6 * abs(reading.solution.objective)
        assert truth <= reading.regret + rounding
        if reading.solved:
            assert reading.regret == pytest.approx(truth, abs=rounding)
        if reading.within:
            assert np.array_equal(reading.solution.x, used)
        else:
            assert zp.certify(reading.solution.instance, reading.solution).valid
        assert monitor.solution.x == pytest.approx(reading.solution.x, abs=0.0)
        assert reading.moved == pytest.approx(reading.solution.x - used, abs=0.0)


@pytest.mark.parametrize("tolerance", [1e-6, 1e-3, 0.05])
def test_a_plan_that_gave_way_holds_at_the_scores_that_it_followed(plan: Plan, tolerance: float) -> None:
    monitor, gains = zp.Monitor(plan, tolerance=tolerance), plan.scores.gain[::-1].copy()
    first, second = monitor.update(gains), monitor.update(gains)
    assert not first.within
    assert second.within
    assert not second.solved
    assert np.array_equal(first.solution.x, second.solution.x)


def test_scaling_all_gains_is_no_drift(plan: Plan) -> None:
    reading = zp.Monitor(plan, tolerance=1e-9).update(1024 * plan.instance.quality)
    assert reading.within


def test_it_solves_only_when_the_certificate_is_not_enough(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[float] = []

    def counted(instance: zp.Instance, *, near: float) -> Solution:
        starts.append(near)
        return zp.solve(instance, near=near)

    monkeypatch.setattr(monitor_module, "solve", counted)
    monitor = zp.Monitor(plan, tolerance=0.01)
    slightly = plan.instance.quality * np.linspace(0.999, 1.001, LAYERS)
    assert not monitor.update(slightly).solved
    assert starts == []
    far = monitor.update(plan.instance.quality[::-1])
    assert starts == [plan.solution.multiplier]  # warm: from the price of the last solution
    monitor.update(plan.instance.quality)
    assert starts[1:] == [far.solution.multiplier]


def test_a_share_of_the_objective_is_tolerated(plan: Plan) -> None:
    assert zp.Monitor(plan, tolerance=0.25).tolerated == 0.25 * abs(plan.solution.objective)


def test_it_counts_the_gain_that_the_plan_counts() -> None:
    scores, plan = made_scores(), PLANS["sparsity of net gains"]
    by_scores, by_gains = (zp.Monitor(plan, tolerance=1e-9) for _ in range(2))
    drifted = made_scores(noise_floor=0.5 * scores.noise_floor)
    first, second = by_scores.update(drifted), by_gains.update(drifted.gain - drifted.noise_floor)
    assert first.regret == second.regret > 0


def test_the_sentence_says_how_strong_it_is(plan: Plan) -> None:
    monitor = zp.Monitor(plan, tolerance=0.01)
    assert str(monitor.update(plan.scores)).startswith("regret is at most ")
    assert str(monitor.update(plan.scores)).endswith("the plan is kept")
    lost = str(monitor.update(plan.instance.quality[::-1] ** 3))
    assert lost.startswith("regret is ")
    assert "is replaced by the optimum" in lost


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0] * (LAYERS - 1), f"expected {LAYERS} gains, one per layer, got {LAYERS - 1}"),
        ([-1.0, *[1.0] * (LAYERS - 1)], "cannot be negative"),
        ([np.nan, *[1.0] * (LAYERS - 1)], "expected a finite number"),
        ([0.0] * LAYERS, f"all {LAYERS} layers are zero"),
        (made_scores(names=tuple("abcdef")), f"expected the {LAYERS} blocks of the plan in their order"),
    ],
)
def test_bad_scores_are_refused_and_change_nothing(scores: object, message: str) -> None:
    monitor = zp.Monitor(PLANS["ranks"])
    with pytest.raises(zp.SpecError, match=message):
        monitor.update(scores)  # type: ignore[arg-type]
    assert monitor.solution is PLANS["ranks"].solution


@pytest.mark.parametrize("tolerance", [0.0, -0.1, np.inf, np.nan])
def test_a_tolerance_is_a_share(tolerance: float) -> None:
    with pytest.raises(zp.SpecError, match="expected a share of the objective above 0"):
        zp.Monitor(PLANS["ranks"], tolerance=tolerance)


@pytest.mark.slow
def test_the_trainer_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(EXAMPLE))
    callback = example["finetune"](steps=12, every=3)
    assert [step for step, _ in callback.readings] == [3, 6, 9, 12]
    assert {reading.within for _, reading in callback.readings} == {True, False}
    used = callback.readings[-1][1].solution
    assert used.instance.resource @ used.x == pytest.approx(used.instance.limit)
