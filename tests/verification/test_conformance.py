"""Every method solves every declared program; a solver that is wrong does not pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import zetaplan as zp
from zetaplan.spec.instance import Instance
from zetaplan.spec.programs import programs
from zetaplan.spec.solution import Solution
from zetaplan.verification.conformance import conformance, planted_instances


@pytest.mark.parametrize("method", ["exact", "bisection"])
def test_our_methods_conform(method: str) -> None:
    report = conformance(lambda instance: zp.solve(instance, method))
    assert report.passed, report.failures


@pytest.mark.slow
def test_clarabel_conforms_at_its_own_accuracy() -> None:
    report = conformance(lambda instance: zp.solve(instance, "cvxpy"), tolerance=1e-4, certified=False)
    assert report.passed, report.failures


def test_the_suite_covers_every_program_and_both_kinds_of_constraint() -> None:
    names = {planted.name for planted in planted_instances()}
    for program in programs():
        assert {f"{program}, binding, K = 32", f"{program}, tied, K = 1", f"{program}, weightless, K = 5"} <= names
    assert {"allocation, slack, K = 5", "pruning, slack, K = 5", "pruning, priced, K = 2"} <= names


def uniform(instance: Instance) -> Solution:
    """The budget or target spread evenly: feasible, not optimal."""
    solution = zp.solve(instance)
    return replace(solution, x=np.full_like(solution.x, solution.x.mean()))


def doubled(instance: Instance) -> Solution:
    solution = zp.solve(instance)
    return replace(solution, multiplier=2.0 * solution.multiplier)


def clipped_afterwards(instance: Instance) -> Solution:
    """The caps applied after the solve, as the paper does: they break the budget or the optimum."""
    free = zp.solve(replace(instance, upper=np.where(instance.upper < 1.0, 1.0, instance.upper * 10.0)))
    return replace(free, x=np.minimum(free.x, instance.upper), instance=instance)


def broken(instance: Instance) -> Solution:
    raise KeyError("a bug inside the solver")


@pytest.mark.parametrize("wrong", [uniform, doubled, clipped_afterwards])
def test_a_wrong_solver_fails(wrong: object) -> None:
    assert len(conformance(wrong).failures) > 20


def test_a_solver_that_raises_is_reported_with_its_own_words() -> None:
    failures = conformance(broken).failures
    assert failures[0].failed == ("KeyError: 'a bug inside the solver'",)
