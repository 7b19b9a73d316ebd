"""The float certificate against 80 digits: optima are accepted, what is wrong by a millionth is refused."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest

import zetaplan as zp
from tests import high_precision
from tests.wide import wide_instance
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import EPSILON, Array, Instance
from zetaplan.spec.programs import programs
from zetaplan.spec.solution import Solution

NAMES = sorted(programs())
NEXT = math.nextafter(1.0, 0.0)
MILLIONTH = 1e-6


def accepted(instance: Instance, x: Array, multiplier: float) -> bool:
    return zp.certify(instance, Solution(instance, x, multiplier)).valid


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", NAMES)
def test_an_optimum_rounded_to_doubles_is_accepted(name: str, seed: int) -> None:
    instance = wide_instance(seed, name)
    truth = high_precision.solved(instance)
    assert accepted(instance, high_precision.rounded(instance, truth.x), float(truth.multiplier))


def resolves(instance: Instance, x: Array) -> bool:
    """Do doubles resolve a millionth of limit and objective? slope u + offset is rounded relative to the offset."""
    room = 0.0
    for derivation, channel, row in zip(derive(instance.program), instance.channels, instance.rows(x), strict=True):
        with np.errstate(divide="ignore"):
            offset = np.abs(derivation.line(channel, instance.scalars)[1])
        room += float(channel.unit_cost @ (np.abs(row) + np.where(channel.weight > 0.0, offset, 0.0)))
    near_cap = instance.program.name == "barrier_pruning" and (x > 1.0 - 1e-6).any()
    return 16.0 * EPSILON * room < 0.1 * MILLIONTH * abs(instance.limit) and not near_cap


def prices(instance: Instance, x: Array, multiplier: float) -> list[float]:
    """The honest multiplier, none, and every one at which a layer of the plan is stationary."""
    found = [multiplier, 0.0, 2.0 * multiplier]
    for derivation, channel, row in zip(derive(instance.program), instance.channels, instance.rows(x), strict=True):
        with np.errstate(all="ignore"):
            gradient = derivation.gradient(row, 0.0, channel.weight, channel.unit_cost, *instance.scalars)
            price = -gradient / (instance.program.sign * channel.term.usage * channel.unit_cost)
        found += np.broadcast_to(price, row.shape).tolist()
    return [price for price in found if not math.isnan(price)]


def spoiled(instance: Instance, x: Array, rng: np.random.Generator) -> Array:
    """The plan with resource added, dropped, or carried from one layer to another."""
    rows = np.atleast_2d(x.copy())
    a, b = (int(rng.integers(len(rows))) for _ in range(2))
    k, j = (int(rng.integers(rows.shape[1])) for _ in range(2))
    sigma = [instance.program.sign * channel.term.usage for channel in instance.channels]
    data = [channel.unit_cost for channel in instance.channels]
    kind, amount = rng.integers(3), 10.0 ** rng.uniform(-5.5, 0.0)
    moved = amount * (abs(instance.limit) if kind == 0 else max(abs(rows[a, k]), 1e-9) * data[a][k])
    rows[a, k] += (1 if kind == 0 else -1) * sigma[a] * moved / data[a][k]
    if kind == 1:
        rows[b, j] += sigma[b] * moved / data[b][j]
    return np.clip(rows.reshape(x.shape), instance.lower, instance.upper)


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_that_is_wrong_by_a_millionth_is_refused_at_every_price(name: str) -> None:
    rng, refused = np.random.default_rng(len(name)), 0
    for seed in range(30):
        instance = wide_instance(seed, name)
        truth = high_precision.solved(instance)
        x = high_precision.rounded(instance, truth.x)
        if not resolves(instance, x):
            continue
        best = abs(Solution(instance, x, 0.0).objective)
        for _ in range(3):
            plan = spoiled(instance, x, rng)
            with mp.workdps(high_precision.DIGITS):
                numbers = high_precision.numbers(plan)
                use = high_precision._use(instance, numbers) - mp.mpf(instance.limit)
                gap = high_precision.objective(instance, numbers) - truth.objective
            infeasible = instance.program.sign * use >= MILLIONTH * abs(instance.limit)
            if infeasible or (instance.program.sign * use <= 0 and gap >= MILLIONTH * best > 0.0):
                refused += 1
                for price in prices(instance, plan, float(truth.multiplier)):
                    assert not accepted(instance, plan, price), (seed, plan, price)
    assert refused >= 5


RIGHT = [
    zp.precision([1, 1], 1, 1200),
    zp.precision([1, 1], 1, 1070),
    zp.exponential_allocation([1, 1], 1, 1600),
    zp.power_allocation([1, 1], 1, 0),
    zp.power_allocation([1, 1], 1, 1, lower=[1, 0]),
    zp.power_allocation([1, 2, 0], 1, 1, lower=[1, 0, 0], upper=[1, 0, 3]),
    zp.barrier_pruning([1, 1], 1, target=2 * NEXT, upper=NEXT),
    zp.barrier_pruning([1, 3], 1, target=1.9999999999999990, upper=NEXT),
    zp.barrier_pruning([1, 1e-15], 1, target=1.0, upper=NEXT),
]


@pytest.mark.parametrize("instance", RIGHT, ids=lambda instance: f"{instance.program.name} {instance.limit:g}")
def test_prices_that_under_or_overflow_and_caps_next_to_one_are_no_reason_to_refuse(instance: Instance) -> None:
    assert zp.certify(instance, zp.solve(instance)).valid


def test_a_dear_layer_hides_no_overspending() -> None:
    instance = zp.allocation([1, 1], [1, 1e12], 10)
    assert not accepted(instance, np.array([1000.0, 0.0]), 0.5 / 1001)
    assert not accepted(instance, np.array([10.0, 1e-10]), 0.5 / 11)
    instance = zp.allocation([1, 1], [1, 1e8], 100)
    assert not accepted(instance, np.array([100.9, 0.0]), 0.5 / 101.9)
    proof = zp.certify(instance, Solution(instance, np.array([100.0, 1e-9]), 0.5 / 101), exact=True)
    assert "coupling" in {failure.name for failure in proof.failures}


def test_another_layer_does_not_pay_with_an_infinite_price() -> None:
    """Only the plan that spares everything is optimal at it, and only where no other is allowed."""
    instance = zp.power_allocation([1, 1], 1, 1.0)
    for x in ([0.0, 0.0], [0.5, 0.5], [1.0, 0.0]):
        assert not accepted(instance, np.array(x), math.inf)
