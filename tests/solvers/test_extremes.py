"""Every declared program over huge ranges: a refusal in words, or a finite plan that its certificate confirms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zetaplan as zp
from tests.solvers.extremes import extreme
from zetaplan.solvers import bracketing, exact
from zetaplan.spec.instance import Instance, declare
from zetaplan.spec.programs import named, programs
from zetaplan.spec.solution import Solution, Status

seeds = st.integers(0, 2**32 - 1)


def check(instance: Instance, solution: Solution) -> None:
    """A finite plan within its box, a multiplier that fits its status, and a valid certificate."""
    assert np.isfinite(solution.x).all()
    assert (solution.x >= instance.lower).all()
    assert (solution.x <= instance.upper).all()
    assert solution.multiplier >= 0.0
    assert solution.status in (Status.BINDING, Status.SLACK)
    if solution.status is Status.SLACK:
        assert solution.multiplier == 0.0
    certificate = zp.certify(instance, solution)
    assert certificate.valid, (solution, certificate.failures)


def is_certified_or_refused(name: str, seed: int, method: str) -> None:
    try:
        instance = extreme(named(name), seed)
        solution = zp.solve(instance, method)
    except zp.ZetaplanError:
        return
    check(instance, solution)


@pytest.mark.parametrize("method", ["exact", "bisection"])
@pytest.mark.parametrize("name", sorted(programs()))
@settings(max_examples=120)
@given(seed=seeds)
def test_a_plan_is_refused_or_certified(name: str, method: str, seed: int) -> None:
    is_certified_or_refused(name, seed, method)


#: Draws that once had a plan without a certificate: prices, gradients and capacities below the normal doubles, and a
#: gradient that is 0 up to the rounding of a logarithm.
BELOW_THE_DOUBLES = {
    "power_pruning": (280110, 3691521337, 1806595548, 741639472),
    "exponential_allocation": (697541254,),
    "power_allocation": (3768544384,),
}


@pytest.mark.parametrize("method", ["exact", "bisection"])
@pytest.mark.parametrize(
    ("name", "seed"), [(name, seed) for name in BELOW_THE_DOUBLES for seed in BELOW_THE_DOUBLES[name]]
)
def test_what_underflows_is_refused_or_certified(name: str, seed: int, method: str) -> None:
    is_certified_or_refused(name, seed, method)


@pytest.mark.parametrize("name", sorted(programs()))
def test_the_compiled_path_does_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "LARGE", 0)
    monkeypatch.setattr(bracketing, "PIECE", 2)
    for seed in range(60):
        is_certified_or_refused(name, seed, "exact")


@pytest.mark.parametrize("name", sorted(programs()))
def test_more_layers_than_are_sorted(name: str) -> None:
    """K > 65,536, from integers: slopes that are the constant 1 are numbers like any other."""
    program, layers = named(name), exact.LARGE + 1
    quality = np.arange(1, layers + 1) % 7 + 1
    data = [np.ones(layers, dtype=np.int64)] * len(program.terms)
    high = [0.75 if term.upper <= 1.0 else 4 for term in program.terms]
    instance = declare(program, quality, data, layers // 4, upper=high)
    solution = zp.solve(instance)
    assert solution.status is Status.BINDING
    assert zp.certify(instance, solution).valid
    assert float(instance.resource.ravel()[:layers] @ np.atleast_2d(solution.x)[0]) > 0.0


@pytest.mark.parametrize(("name", "p"), [("power_allocation", p) for p in (0.0001, 0.01, 0.98, 0.99, 0.9999)])
def test_a_power_near_the_ends_of_its_range(name: str, p: float) -> None:
    """Two truths: the solver's multiplier, and the ratio of two interior layers, (w_1 c_2 / w_2 c_1)^(1 / (1 - p))."""
    instance = declare(named(name), [1.0, 1.0001], ([1.0, 1.0],), 5.0, parameters={"p": p})
    solution = zp.solve(instance)
    check(instance, solution)
    first, second = solution.x
    assert math.log(second / first) == pytest.approx(math.log(1.0001) / (1.0 - p), rel=1e-6)
    assert first + second == pytest.approx(5.0, rel=1e-11)


@pytest.mark.parametrize("p", [1.0001, 1.01, 1.03, 2.0, 100.0])
def test_a_penalty_near_the_ends_of_its_range(p: float) -> None:
    instance = declare(named("power_pruning"), [1.0, 1.0001], ([1.0, 1.0],), 0.9, parameters={"p": p})
    solution = zp.solve(instance)
    check(instance, solution)
    first, second = solution.x
    assert math.log(first / second) == pytest.approx(math.log(1.0001) / (p - 1.0), rel=1e-6)
    assert first + second == pytest.approx(0.9, rel=1e-11)


def test_what_was_reported() -> None:
    joint = zp.joint([1], [1], [10], -10, beta=0, eta=14.675207948690865)
    assert zp.solve(joint).x.tolist() == [[0.0], [1.0]]
    check(joint, zp.solve(joint))
    layers = zp.solve(declare(named("exponential_allocation"), [1, 1], (1,), 1600)).x
    assert layers.tolist() == [800.0, 800.0]  # the multiplier exp(-800) is below every double
    with pytest.raises(zp.SolverError, match="budget = 1600: the price of a layer is positive but below 1e-290"):
        zp.solve(declare(named("exponential_allocation"), [1, 1], (1,), 1600), "bisection")


def test_a_target_of_zero_may_be_missed_by_infinitely_more_than_itself() -> None:
    """Its layers of the smallest double leave 1e-308 of a limit of 0, which no price is put on."""
    instance = zp.power_pruning([0.2] * 3, 1.0, target=0.0, bits=0.00128, p=1.0005, lower=[0.0, 0.1, 1e-9])
    check(instance, zp.solve(instance))
    found = zp.solve_batch("power_pruning", [[0.2] * 3], 1.0, 0.0, lower=[0.0, 0.1, 1e-9], bits=0.00128, p=1.0005)
    assert found.valid.all()


OUT_OF_RANGE = {
    r"sizes\[1\] = 8.6e\+227: expected a number between 1e-50 and 1e\+50": {"sizes": [1, 8.6e227]},
    r"sizes\[0\] = 1e-150: expected a number between 1e-50 and 1e\+50": {"sizes": [1e-150, 1]},
    r"target = 1e\+60: expected a number between 1e-100 and 1e\+50": {"target": 1e60},
    r"target = 4.94066e-324: expected a number between 1e-100 and": {"target": 5e-324},
    r"eta = 1e\+60: expected a number between": {"eta": 1e60},
    r"quality\[1\] = 1e-150: expected 0, or a share whose power kappa is at least 1e-100": {"quality": [1, 1e-150]},
    r"quality\[0\] = 1e-40: expected 0, or a share whose power kappa": {"quality": [1e-40, 1], "kappa": 3},
    r"target = 10000000000000000000000000000000000000000000000000000000000": {"target": 10**400},
    r"sizes: expected numbers, got list": {"sizes": [10**400, 1]},
}


@pytest.mark.parametrize("message", OUT_OF_RANGE)
def test_what_is_out_of_range_is_refused_with_the_range(message: str) -> None:
    with pytest.raises(zp.SpecError, match=message):
        zp.pruning(**({"quality": [1, 2], "sizes": 1, "target": 0.5} | OUT_OF_RANGE[message]))


@pytest.mark.parametrize(
    ("name", "p", "expected"),
    [
        ("power_allocation", 0.99995, r"between 0\.0001 and 0\.9999"),
        ("power_allocation", 1e-5, r"between 0\.0001 and 0\.9999"),
        ("power_allocation", 1.0, "above 0 and below 1"),
        ("power_pruning", 1.00005, r"between 1\.0001 and 100"),
        ("power_pruning", 101.0, r"between 1\.0001 and 100"),
        ("power_pruning", 1.0, "above 1"),
    ],
)
def test_a_power_out_of_range_is_refused(name: str, p: float, expected: str) -> None:
    with pytest.raises(zp.SpecError, match=f"p = .*: expected .*{expected}"):
        declare(named(name), [1, 2], (1,), 1.0, parameters={"p": p})


@pytest.mark.parametrize("tolerance", [-1.0, math.nan, "x"])
def test_a_tolerance_that_is_none_is_refused(tolerance: object) -> None:
    with pytest.raises(zp.SpecError, match="tolerance = "):
        zp.solve(zp.allocation([1, 3], 1.0, 6.0), "bisection", tolerance=tolerance)
