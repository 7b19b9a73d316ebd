"""What the exact certificate claims is true, is tight, and is what the checker proves."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import mutants
from tests.strategies import instances, random_instance
from tests.wide import wide_instance
from zetaplan.errors import SpecError
from zetaplan.solvers import solve
from zetaplan.solvers.exact import solve_exact
from zetaplan.solvers.rational import exact_optimum
from zetaplan.spec.instance import Instance
from zetaplan.spec.programs import programs
from zetaplan.spec.programs.allocation import allocation
from zetaplan.spec.programs.pruning import pruning
from zetaplan.spec.rational import rational
from zetaplan.spec.solution import Solution
from zetaplan.verification import checker
from zetaplan.verification.checker import CertificateError, check_certificate
from zetaplan.verification.exact import ExactCertificate, certify_exactly


def accepted(certificate: ExactCertificate) -> bool:
    if certificate.document is None:
        return False
    try:
        check_certificate(json.loads(json.dumps(certificate.document)))
    except CertificateError:
        return False
    return True


@settings(max_examples=150, deadline=None)
@given(instances(), st.sampled_from(["exact", "bisection"]))
def test_solutions_are_proved_and_the_checker_agrees(instance: Instance, method: str) -> None:
    certificate = certify_exactly(instance, solve(instance, method))
    assert certificate.valid
    assert accepted(certificate)


@settings(max_examples=150, deadline=None)
@given(instances(), st.integers(0, 2**32), st.sampled_from([1e-12, 1e-9, 1e-6, 1e-2, 1.0]))
def test_valid_means_accepted_whatever_the_claim(instance: Instance, seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    solution = solve_exact(instance)
    x = np.clip(solution.x * (1 + noise * rng.standard_normal(solution.x.size)), instance.lower, instance.upper)
    price = solution.multiplier * (1 + noise * rng.standard_normal())
    certificate = certify_exactly(instance, Solution(instance, x, price))
    assert certificate.valid == accepted(certificate)


PINNED = [
    allocation([2, 3], 1, 0, upper=[math.inf, 0]),
    pruning([4, 4, 0.5, 3], 3, target=9, lower=[1, 0, 0, 0], upper=[1, 1, 1, 0]),
    *(wide_instance(seed, name) for seed in range(60) for name in sorted(checker.PROGRAMS)),
]


def test_pinned_layers_zero_weights_and_limits_at_the_edges_are_proved_and_the_checker_agrees() -> None:
    for instance in PINNED:
        solution = solve_exact(instance)
        for factor in (1.0, 0.0, 0.5, 2.0, 1e3):
            claim = replace(solution, multiplier=factor * solution.multiplier)
            certificate = certify_exactly(instance, claim)
            assert certificate.valid == accepted(certificate), (instance, factor)
            assert certificate.valid or factor != 1.0, (instance, certificate.failures)


@pytest.mark.parametrize("seed", range(40))
def test_claims_hold_against_the_exact_optimum_and_are_tight(seed: int) -> None:
    instance = random_instance(seed)
    solution = solve_exact(instance)
    document = certify_exactly(instance, solution).document
    assert document is not None
    optimum, free = exact_optimum(instance), check_certificate(document).free
    off = [
        abs(Fraction(x) - exact) / max(1, Fraction(x))
        for k, (x, exact) in enumerate(zip(solution.x.tolist(), optimum.x, strict=True))
        if k not in free
    ]
    claim = Fraction(document["claim"]["distance"])
    assert (
        max(off, default=Fraction(0))
        <= claim
        <= max(off, default=Fraction(0)) * Fraction(1 + 1e-15) + Fraction(2**-120)
    )
    use = sum(Fraction(a) * Fraction(x) for a, x in zip(document["resource"], document["plan"], strict=True))
    excess = instance.program.sign * (use - Fraction(instance.limit))
    assert max(excess, 0) <= Fraction(document["claim"]["coupling"])


@pytest.mark.parametrize("noise", [0.0, 1e-14, 1e-6, 1e-3, 0.3])
def test_the_gap_bounds_the_loss_of_any_plan(noise: float) -> None:
    """Two plans whose objectives are far enough apart for floats to tell."""
    rng = np.random.default_rng(3)
    for instance in mutants.EVERY_KIND.values():
        best = solve_exact(instance)
        x = np.clip(best.x * (1 + noise * rng.standard_normal(best.x.size)), instance.lower, instance.upper)
        plan = Solution(instance, x, best.multiplier)
        gap = certify_exactly(instance, plan).gap
        rounding = 1e-13 * (1 + abs(best.objective))
        assert plan.objective - best.objective <= gap + rounding


def test_a_gap_of_second_order() -> None:
    """A plan that spends the budget but is 1e-6 off loses about 1e-12: the bound says so, too."""
    instance = allocation([0.5, 0.5], 1.0, 2.0)
    certificate = certify_exactly(instance, Solution(instance, np.array([1 + 2.0**-20, 1 - 2.0**-20]), 0.25))
    assert 2.0**-43 < certificate.gap < 2.0**-40
    assert [failure.name for failure in certificate.failures] == ["distance"]


def test_any_multiplier_that_supports_the_plan_will_do() -> None:
    """No budget: every price from the least upwards proves the empty plan."""
    instance = allocation([0.5, 0.25, 0.25], 1.0, 0.0)
    for price in (0.5, 0.75, 1e6):
        certificate = certify_exactly(instance, Solution(instance, np.zeros(3), price))
        assert certificate.valid
        assert accepted(certificate)
    too_low = certify_exactly(instance, Solution(instance, np.zeros(3), 0.49))
    assert [failure.name for failure in too_low.failures] == ["price"]
    assert not accepted(too_low)


@pytest.mark.parametrize(
    ("x", "price", "condition"),
    [
        ([1.0, math.nan], 0.25, "finite"),
        ([1.0, math.inf], 0.25, "finite"),
        ([1.0, 1.0], math.nan, "finite"),
        ([-1e-300, 2.0], 0.25, "box"),
        ([1.0, 1.0 + 1e-8], 0.25, "coupling"),
        ([1.0 + 1e-8, 1.0 - 1e-8], 0.25, "distance"),
        ([1.0, 1.0], 0.25000001, "price"),
        ([1.0, 1.0], -0.25, "price"),
    ],
)
def test_names_what_is_wrong_with_a_claim(x: list[float], price: float, condition: str) -> None:
    instance = allocation([0.5, 0.5], 1.0, 2.0)
    certificate = certify_exactly(instance, Solution(instance, np.array(x), price))
    assert not certificate.valid
    assert condition in {failure.name for failure in certificate.failures}


def test_a_plan_that_knows_nothing_of_the_optimum_is_still_measured() -> None:
    for seed in range(60):
        instance = random_instance(seed)
        rng = np.random.default_rng(seed)
        room = np.where(np.isfinite(instance.upper), instance.upper, instance.lower + 5.0) - instance.lower
        plan = np.minimum(instance.lower + room * rng.random(room.size), instance.upper)
        certificate = certify_exactly(instance, Solution(instance, plan, float(rng.random())))
        assert certificate.document is not None
        assert accepted(certificate) == certificate.valid
        sides = {side: certificate.document[side] for side in ("interior", "floor", "cap")}
        assert sides == {side: certify_exactly(instance, solve_exact(instance)).document[side] for side in sides}


def test_another_shape_is_refused() -> None:
    instance = allocation([0.5, 0.5], 1.0, 2.0)
    with pytest.raises(SpecError, match=r"shape \(3,\), the instance has \(2,\)"):
        certify_exactly(instance, Solution(instance, np.ones(3), 0.25))


def test_the_checker_knows_every_program_whose_optimum_is_a_fraction() -> None:
    """One new rational program in the spec asks for one new line in the checker."""
    fractional = set()
    for program in programs().values():
        template = pruning([1.0], 1.0) if program.sense == ">=" else allocation([1.0], 1.0, 1.0)
        knobs = {scalar.name: scalar.default for scalar in program.scalars}
        try:
            rational(replace(template, program=program, parameters=knobs))
        except SpecError:
            continue
        fractional.add(program.name)
    assert fractional == set(checker.PROGRAMS)


def test_a_program_that_is_not_rational_is_named() -> None:
    from zetaplan.spec.programs.precision import precision

    instance = precision([0.6, 0.4], 1.0, 8.0)
    with pytest.raises(SpecError, match=r"^precision: .* is not a rational function"):
        exact_optimum(instance)
