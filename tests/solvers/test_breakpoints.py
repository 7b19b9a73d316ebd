"""The curve at its own breakpoints: on each, one ulp beside it, and at both ends, for every program."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zetaplan as zp
from tests.solvers.extremes import extreme, moderate
from zetaplan.solvers.frontier import Frontier, frontier
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import check_feasible, declare
from zetaplan.spec.programs import named, programs

SINGLE = [name for name, program in programs().items() if len(program.terms) == 1]
TINY = 1e-100  # a limit below it is refused, but for 0


def limits(path: Frontier) -> Iterator[float]:
    """Every breakpoint, both ends of the curve, and their neighbours among the doubles."""
    i = path.instance
    ends = [path.slack, float(i.resource @ i.lower), float(i.resource @ i.upper)]
    for limit in filter(math.isfinite, [*path.breakpoints.tolist(), *ends]):
        yield from (limit, math.nextafter(limit, math.inf), math.nextafter(limit, -math.inf))


def is_refused_rightly(path: Frontier, limit: float) -> bool:
    """No plan exists, in exact arithmetic, or the limit is no limit; then it is no breakpoint either."""
    try:
        check_feasible(replace(path.instance, limit=limit))
    except zp.InfeasibleError:
        return limit not in path.breakpoints
    return limit < 0.0 or 0.0 < limit < TINY or limit > 1e50


def is_certified(path: Frontier, limit: float) -> None:
    try:
        at = path.at(limit)
    except zp.SpecError:
        assert is_refused_rightly(path, limit), limit
        return
    assert zp.certify(at.instance, at).valid, (limit, at)
    solved = zp.solve(at.instance)
    assert np.allclose(at.x, solved.x, rtol=1e-11, atol=1e-11), (limit, at.x, solved.x)
    price = solved.multiplier + float(derive(at.instance.program)[0].declared_price_of(*at.instance.scalars))
    same = at.multiplier == solved.multiplier or abs(at.multiplier - solved.multiplier) <= 1e-9 * price
    assert same, (limit, at.multiplier, solved.multiplier)


@pytest.mark.parametrize("draw", [moderate, extreme])
@pytest.mark.parametrize("name", SINGLE)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_breakpoint_and_its_neighbours_certify(name: str, draw: object, seed: int) -> None:
    try:
        path = frontier(draw(named(name), seed))
    except zp.SpecError:
        return
    assert (np.diff(path.breakpoints) >= 0.0).all()
    for limit in limits(path):
        is_certified(path, limit)


def test_a_breakpoint_is_where_a_layer_meets_its_bound() -> None:
    """Two layers of gains 1 and 8 under rho^4: in the ratio 2 to 1, so that the caps of 0.2 are reached at 0.3, 0.4."""
    instance = declare(named("power_pruning"), [1, 8], (1.0,), 0.1, upper=[0.2], parameters={"p": 4.0})
    path = frontier(instance)
    assert path.breakpoints == pytest.approx([0.0, 0.0, 0.3, 0.4], rel=1e-15)
    assert path.at(0.3).x == pytest.approx([0.2, 0.1], rel=1e-15)
    assert path.at(0.4).x.tolist() == [0.2, 0.2]


def test_the_end_of_the_box_is_on_the_curve() -> None:
    """0.1 + 0.2 in doubles is above the double 0.3: the last breakpoint is what the caps allow, rounded down."""
    path = frontier(zp.pruning([1.0, 1.0, 2.0], [1.0, 2.0, 7.0], sparsity=0.01, upper=[0.1, 0.1, 0.7]))
    end = float(path.breakpoints[-1])
    assert path.at(end).x == pytest.approx([0.1, 0.1, 0.7], rel=1e-15)
    with pytest.raises(zp.InfeasibleError):
        path.at(math.nextafter(end, math.inf))


def test_powers_beyond_the_doubles_have_no_curve() -> None:
    instance = declare(named("power_allocation"), [1, 1e-3], (1.0,), 5.0, parameters={"p": 0.99})
    with pytest.raises(zp.SpecError, match="leave the range of doubles"):
        frontier(instance)
