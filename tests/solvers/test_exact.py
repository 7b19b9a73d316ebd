"""`exact` against rational arithmetic, and the laws that every plan obeys."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given

from tests.oracle import optimum
from tests.strategies import instances, random_instance
from zetaplan.solvers import solve
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Instance
from zetaplan.verification.certificate import certify


def errors(instance: Instance, x: np.ndarray, multiplier: float) -> tuple[float, float]:
    """The worst error of the plan, relative to |slope u| + |offset|, and of the total price."""
    truth, price = optimum(instance)
    (derivation,) = derive(instance.program)
    offset = abs(float(derivation.offset))
    plan = max(
        float(abs(Fraction(a) - b)) / max(float(abs(b)) + offset, np.finfo(float).tiny)
        for a, b in zip(x.tolist(), truth, strict=True)
    )
    declared = Fraction(derivation.declared_price_of(*instance.scalars))
    scale = float(price + declared)
    return plan, float(abs(Fraction(multiplier) - price)) / scale if scale else multiplier


@pytest.mark.slow
def test_agrees_with_rational_arithmetic_on_a_thousand_instances() -> None:
    worst = np.max(
        [errors(i, s.x, s.multiplier) for i in map(random_instance, range(1000)) for s in [solve(i)]], axis=0
    )
    assert worst.max() <= 1e-13, worst


@pytest.mark.slow
def test_bisection_agrees_with_rational_arithmetic() -> None:
    pairs = ((i, solve(i, "bisection")) for i in map(random_instance, range(1000)))
    worst = np.max([errors(i, s.x, s.multiplier) for i, s in pairs], axis=0)
    assert worst.max() <= 1e-9, worst


@given(instances())
def test_agrees_with_rational_arithmetic_where_hypothesis_looks(instance: Instance) -> None:
    solution = solve(instance)
    assert max(errors(instance, solution.x, solution.multiplier)) <= 1e-13


@given(instances())
def test_every_plan_is_certified(instance: Instance) -> None:
    for method in ("exact", "bisection"):
        certificate = certify(instance, solve(instance, method))
        assert certificate.valid, (method, certificate.failures)
