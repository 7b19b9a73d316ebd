"""Laws of the optimum, written as equations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import zetaplan as zp
from tests.strategies import allocations, instances, limits, prunings
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import EPSILON, Instance

CLOSE = {"rtol": 1e-11, "atol": 1e-11}  # relative to 1 + m, and to the whole of a fraction


def with_data(i: Instance, **changes: object) -> Instance:
    """The same instance with other doubles, past the validation: weights are kept as they are."""
    return replace(i, **changes)


@given(instances(), st.randoms(use_true_random=False))
def test_permutation(i: Instance, random: object) -> None:
    """x(P q, P c) = P x(q, c)."""
    order = list(range(i.quality.size))
    random.shuffle(order)
    names = ("quality", "weight", "resource", "lower", "upper")
    permuted = with_data(i, **{name: getattr(i, name)[order] for name in names})
    assert np.allclose(zp.solve(permuted).x, zp.solve(i).x[order], **CLOSE)


@given(instances(), st.integers(-60, 60))
def test_scaling_the_resource_by_a_power_of_two_changes_no_bit(i: Instance, exponent: int) -> None:
    """x(2^s c, 2^s B) = x(c, B), and the multiplier is divided by 2^s, when the resource has no price."""
    assume(derive(i.program)[0].declared_price_of(*i.scalars) == 0.0)
    scaled = with_data(i, resource=np.ldexp(i.resource, exponent), limit=float(np.ldexp(i.limit, exponent)))
    a, b = zp.solve(i), zp.solve(scaled)
    assert np.array_equal(a.x, b.x)
    assert b.multiplier == np.ldexp(a.multiplier, -exponent)


@given(instances(), st.integers(-30, 30))
def test_scaling_the_weights_by_a_power_of_two_changes_no_bit(i: Instance, exponent: int) -> None:
    """The knobs cancel (method 5.1): a binding plan does not depend on the strength gamma or eta."""
    assume(derive(i.program)[0].declared_price_of(*i.scalars) == 0.0)
    a, b = zp.solve(i), zp.solve(with_data(i, weight=np.ldexp(i.weight, exponent)))
    assert np.array_equal(a.x, b.x)
    assert b.multiplier == np.ldexp(a.multiplier, exponent)


@given(prunings(), st.integers(0, 7), st.floats(0.1, 0.9))
def test_splitting_a_layer_of_a_pruning(i: Instance, which: int, share: float) -> None:
    """n -> (s n, (1 - s) n) with w -> (s w, (1 - s) w): both parts are pruned as the whole was."""
    k = which % i.quality.size
    names = ("quality", "weight", "resource", "lower", "upper")
    parts = {name: np.append(getattr(i, name), getattr(i, name)[k]) for name in names}
    for name in ("weight", "resource"):
        parts[name][[k, -1]] *= [share, 1.0 - share]
    whole, split = zp.solve(i), zp.solve(with_data(i, **parts))
    assert np.allclose(split.x[:-1], whole.x, rtol=1e-9, atol=1e-9)
    assert split.x[-1] == pytest.approx(split.x[k], rel=1e-9, abs=1e-9)


@given(allocations(), st.floats(1.0, 10.0))
def test_no_layer_loses_when_the_budget_grows(i: Instance, factor: float) -> None:
    poor, rich = zp.solve(i), zp.solve(with_data(i, limit=i.limit * factor))
    assert (rich.x >= poor.x - 1e-11 * (1.0 + poor.x)).all()
    assert rich.multiplier <= poor.multiplier * (1.0 + 1e-11)
    assert rich.objective <= poor.objective + 1e-11 * abs(poor.objective)


@given(prunings(), limits(1.0))
def test_no_layer_is_spared_when_the_target_grows(i: Instance, factor: float) -> None:
    assume((i.weight > 0.0).all())
    hard, easy = zp.solve(i), zp.solve(with_data(i, limit=i.limit * factor))
    assert (hard.x >= easy.x - 1e-11).all()
    assert hard.multiplier >= easy.multiplier * (1.0 - 1e-11)


@given(instances())
def test_without_a_price_the_constraint_binds(i: Instance) -> None:
    """Price zero = equality, unless the box stops the plan first."""
    assume(derive(i.program)[0].declared_price_of(*i.scalars) == 0.0)
    x = zp.solve(i).x
    stop = i.upper if i.program.sense == "<=" else i.lower
    weighted = i.weight > 0.0
    stopped = (x == stop)[weighted].all() if i.program.sense == "<=" else (x == stop).all()
    assert stopped or i.resource @ x == pytest.approx(i.limit, rel=1e-10, abs=1e-10 * float(i.resource.sum()))


@given(instances())
def test_duality(i: Instance) -> None:
    """F(x) = D(lambda): the gap is rounding, of the objective and of lambda times the limit."""
    solution = zp.solve(i)
    gap = abs(zp.certify(i, solution).gap)
    assert gap <= 1e-12 * abs(solution.objective) + 4 * EPSILON * i.quality.size * solution.multiplier * abs(i.limit)


@given(allocations(), st.floats(1.001, 2.0))
def test_the_multiplier_is_the_slope_of_the_optimal_value(i: Instance, factor: float) -> None:
    """V(B') >= V(B) - lambda (B' - B): the multiplier is a subgradient of the convex optimal value."""
    assume(i.limit > 1e-3 * i.resource.sum())  # a plan is accurate relative to 1 + m, not to a tiny m
    a, b = zp.solve(i), zp.solve(with_data(i, limit=i.limit * factor))
    step = b.instance.limit - i.limit
    scale = abs(a.objective) + abs(b.objective) + a.multiplier * step
    assert b.objective >= a.objective - a.multiplier * step - 1e-12 * scale
    assert a.objective >= b.objective + b.multiplier * step - 1e-12 * scale
