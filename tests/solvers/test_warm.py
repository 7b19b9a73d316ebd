"""A start from a known multiplier decides how long `exact` takes, never what it finds."""

from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import instances
from zetaplan.solvers import solve
from zetaplan.spec.instance import Instance
from zetaplan.spec.programs.allocation import allocation

from .test_exact import errors

CAPPED = allocation([3.0, 2.0, 1.0], 1.0, 2.0, upper=1.0)


@given(instance=instances(), near=st.one_of(st.floats(0.0, 1e12), st.sampled_from([0.0, 5e-324, 1e300, math.inf])))
@example(instance=CAPPED, near=0.0)  # every layer at its cap
@example(instance=CAPPED, near=math.inf)  # every layer at its floor
def test_any_start_finds_the_rational_optimum(instance: Instance, near: float) -> None:
    solution = solve(instance, near=near)
    assert max(errors(instance, solution.x, solution.multiplier)) <= 1e-13
