"""Our methods pass the conformance suite of choices; a solver that is wrong, or fails, does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import zetaplan as zp
from zetaplan.spec.menus.choice import Choice
from zetaplan.verification.menus.conformance import choice_conformance, known_choices


def cheapest(instance: Choice) -> zp.ChoiceSolution:
    """The cheapest options, called optimal with the proof of the optimum."""
    rows = np.array(
        [a + int(np.argmin(instance.costs[a:b, 0])) for a, b in zip(instance.first, instance.first[1:], strict=False)]
    )
    return replace(zp.solve(instance), choice=instance.options_of(rows))


def test_exact_passes_with_its_proofs() -> None:
    report = choice_conformance(zp.solve)
    assert report.passed, report.failures
    assert len(report.cases) == len(list(known_choices())) == 52
    assert len({case.name for case in report.cases}) == 13


def test_highs_finds_the_optimum_where_it_can_resolve_it_and_proves_nothing() -> None:
    report = choice_conformance(lambda instance: zp.solve(instance, "milp"), proved=False)
    assert {case.name for case in report.failures} <= {"200 orders of magnitude"}
    assert not choice_conformance(lambda instance: zp.solve(instance, "milp")).passed


def test_a_wrong_solver_fails_by_its_excess_and_its_proof() -> None:
    report = choice_conformance(cheapest)
    wrong = [case for case in report.failures if case.excess > 0.0]
    assert wrong
    assert all("optimality" in case.failed for case in wrong)


def test_a_solver_that_raises_or_takes_no_option_is_a_failed_case() -> None:
    def breaks(instance: Choice) -> zp.ChoiceSolution:
        raise RuntimeError("no")

    report = choice_conformance(breaks)
    assert len(report.failures) == len(report.cases)
    assert report.failures[0].failed == ("RuntimeError: no",)
    none = choice_conformance(lambda instance: replace(zp.solve(instance), choice=np.full(instance.blocks, 99)))
    assert {case.failed for case in none.cases} == {("options",)}
