"""A mixture of scores proves from below what no plan can better, whatever it is; that of the solver proves its plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verification.test_regret import PROGRAMS, K, program
from zetaplan.drift.regret import robust
from zetaplan.solvers import solve
from zetaplan.solvers.minimax import minimax
from zetaplan.spec.instance import Instance
from zetaplan.spec.programs.allocation import allocation
from zetaplan.spec.programs.precision import precision
from zetaplan.spec.programs.pruning import pruning
from zetaplan.verification.regret.adversary import worst_case_floor
from zetaplan.verification.regret.boxes import Box, decision_box
from zetaplan.verification.regret.dual_ends import dual_ends
from zetaplan.verification.regret.quotient import mixed


def drawn(name: str, seed: int) -> tuple[Instance, np.ndarray, np.ndarray]:
    instance, gains = program(name, seed)
    rng = np.random.default_rng(seed)
    return instance, gains * (1 - 0.5 * rng.random(K)), gains * (1 + rng.random(K))


def one_price(instance: Instance, box: Box, x: np.ndarray, price: float) -> float:
    return dual_ends(instance, [box], x.reshape(instance.weight.shape), price, refine=False).value


@given(name=st.sampled_from(PROGRAMS), seed=st.integers(0, 10**6))
def test_no_plan_at_any_price_is_below_the_floor_of_any_mixture(name: str, seed: int) -> None:
    instance, low, high = drawn(name, seed)
    box, rng, plan = decision_box(instance, low, high, False), np.random.default_rng(seed), solve(instance)
    chances, answers = rng.random(box.weights.shape[1:]), np.stack([plan.x.reshape(box.weights.shape[1:])] * 2)
    floor = worst_case_floor(instance, box, chances, plan.multiplier * rng.lognormal(), answers)
    best = min(one_price(instance, box, plan.x, plan.multiplier * power) for power in np.geomspace(0.5, 2.0, 9))
    assert 0.0 <= floor <= best


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_floor_meets_the_robust_plan(name: str) -> None:
    """The two proofs share nothing but the box: one is of the plan, from above, the other of all plans.

    A price of the resource, or two exponents, make one box wider than the gains allow: the nominal plan can be better.
    """
    instance, low, high = drawn(name, 1)
    found = robust(instance, low, high)
    assert found.worst is not None
    if found.solution.method != "minimax":
        assert name in ("pruning, priced and slack", "joint, two exponents")
        assert found.worst is found.before
        return
    assert found.gap <= 1e-8 * found.worst.value + 1e-12 * abs(solve(instance).objective)


@pytest.mark.parametrize("name", PROGRAMS)
def test_answers_that_break_the_limit_prove_nothing_more(name: str) -> None:
    """The opponent who may use more than there is would prove too much: the answers are drawn back first."""
    instance, low, high = drawn(name, 2)
    box = decision_box(instance, low, high, False)
    found = minimax(instance, box.weights, box.parts.reshape(box.weights.shape), box.rest, solve(instance).multiplier)
    expected = replace(instance, weight=mixed(box.weights, found.chances).reshape(instance.weight.shape))
    nu = solve(expected).multiplier
    truth = worst_case_floor(instance, box, found.chances, nu, found.answers)
    assert truth == pytest.approx(found.value, rel=1e-7)
    sign = instance.program.sign
    greedy = found.answers + sign * np.array([c.term.usage for c in instance.channels])[:, None] * 0.1
    assert worst_case_floor(instance, box, found.chances, nu, greedy) <= truth * (1 + 1e-9)


def test_chances_and_prices_below_zero_prove_nothing() -> None:
    instance, low, high = drawn("pruning", 0)
    box, plan = decision_box(instance, low, high, False), solve(instance)
    answers = np.stack([plan.x[None]] * 2)
    assert worst_case_floor(instance, box, np.full((1, K), 1.5), plan.multiplier, answers) == 0.0
    assert worst_case_floor(instance, box, np.full((1, K), 0.5), -1.0, answers) == 0.0


@pytest.mark.parametrize(
    "instance",
    [
        allocation([3.0, 1.0], [1.0, 2.0], 4.0),
        allocation([3.0, 1.0], [1.0, 2.0], 0.5),
        pruning([3.0, 1.0], [1.0, 2.0], sparsity=0.5, upper=0.8),
        precision([3.0, 1.0], [1.0, 2.0], 9.0, upper=8.0),
        allocation([3.0, 1.0, 2.0], [1.0, 2.0, 1.0], 4.0),
        pruning([3.0, 1.0, 2.0], [1.0, 2.0, 1.0], sparsity=0.5, upper=0.8),
    ],
    ids=lambda instance: f"{instance.program.name} {instance.quality.size} {instance.limit:g}",
)
def test_no_plan_of_a_grid_does_better(instance: Instance) -> None:
    """By brute force over plans and prices, of the same one-price worst case."""
    gains = instance.quality
    low, high = gains * [0.5, 0.8, 0.6][: gains.size], gains * [1.2, 2.0, 1.5][: gains.size]
    box, found = decision_box(instance, low, high, False), robust(instance, low, high)
    robust_value = one_price(instance, box, found.solution.x, found.solution.multiplier)
    prices = solve(instance).multiplier * np.geomspace(0.25, 4.0, 41)
    best = min(one_price(instance, box, x, price) for x in grid(instance) for price in prices)
    assert robust_value <= best
    assert best <= 1.3 * robust_value  # the grid is fine enough to come near


def grid(instance: Instance) -> list[np.ndarray]:
    """Plans that use the limit to the full."""
    steps = 41 if instance.quality.size == 2 else 15
    shares = [np.array([a, 1 - a]) for a in np.linspace(0, 1, steps)]
    if instance.quality.size == 3:
        shares = [np.append(a * s, 1 - a) for a in np.linspace(0, 1, steps) for s in shares]
    plans = (instance.limit * s / instance.resource for s in shares)
    return [x for x in plans if ((instance.lower <= x) & (x <= instance.upper)).all()]
