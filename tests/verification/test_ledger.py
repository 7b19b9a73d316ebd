"""The ledger: its numbers are computed again, wrong ones are refused, and everything that it names exists."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from latex2mathml.converter import convert

from zetaplan.errors import CertificateError
from zetaplan.solvers.rational import exact_optimum
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Instance
from zetaplan.spec.programs.allocation import allocation
from zetaplan.spec.programs.pruning import pruning
from zetaplan.spec.solution import Solution
from zetaplan.verification.audit.published import audit_plan
from zetaplan.verification.ledger import c24_published_plans, claims
from zetaplan.verification.ledger.claim import Claim, Fact, Value
from zetaplan.verification.ledger.optimum import multiplier, objective, optimum, plan_at
from zetaplan.verification.ledger.page import OWN_TEST, ledger_page
from zetaplan.verification.proofs import proofs

ROOT = Path(__file__).resolve().parents[2]
FACTS = [
    pytest.param(fact, id=f"{name}:{number}")
    for name, claim in claims().items()
    for number, fact in enumerate(claim.facts, start=1)
]
whole = st.integers(1, 9).map(float)


@st.composite
def instances(draw: st.DrawFn) -> Instance:
    """Small instances of both programs with whole numbers, the price of the resource zero or not."""
    quality, data = draw(st.lists(whole, min_size=1, max_size=5)), draw(whole)
    price = draw(st.sampled_from([0.0, 0.25]))
    if draw(st.booleans()):
        return allocation(quality, data, draw(whole), alpha=price)
    return pruning(quality, data, sparsity=draw(st.sampled_from([0.25, 0.5])), bits=price, upper=0.75)


@pytest.mark.parametrize("name", claims())
def test_a_claim_is_as_the_ledger_says(name: str) -> None:
    claims()[name].check()


def test_every_claim_is_there_and_has_a_fact() -> None:
    assert list(claims()) == [f"C{number}" for number in range(1, 25)]
    assert all(claim.facts for claim in claims().values())


@pytest.mark.parametrize("fact", FACTS)
def test_another_number_is_refused(fact: Fact) -> None:
    for wrong in changed(fact.expected):
        with pytest.raises(CertificateError, match="the ledger says"):
            replace(fact, expected=wrong).check()


def changed(value: Value) -> Iterator[Value]:
    """The value with one of its numbers replaced by a neighbour."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, tuple):
        for k, part in enumerate(value):
            for other in changed(part):
                yield (*value[:k], other, *value[k + 1 :])
    else:
        yield value + Fraction(1, 10**9)


@pytest.mark.parametrize("name", claims())
def test_the_proofs_and_tests_that_a_claim_names_exist(name: str) -> None:
    claim = claims()[name]
    assert set(claim.proofs) <= set(proofs())
    for test in (OWN_TEST.format(name).split("[")[0], *claim.tests):
        path, _, function = test.partition("::")
        assert function in functions(path), test


@cache
def functions(path: str) -> set[str]:
    return {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}


def test_the_page_holds_every_claim_and_the_day() -> None:
    page = ledger_page("2001-02-03")
    assert page.count("| <time>2001-02-03</time> |") == len(claims())
    assert all(row.count("|") == 7 for row in page.splitlines() if row.startswith("| [C"))  # six cells
    assert all(f"\n## {name}\n" in page for name in claims())
    for formula in re.findall(r"\$([^$]+)\$", page):
        assert "\\" not in convert(formula), formula  # a command that the converter does not know stays as it is
    assert r"the decrease of the step $-\tfrac12$ is **1/2**" in page


def test_a_page_is_not_made_of_wrong_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    first = claims()["C1"]
    wrong: Claim = replace(first, facts=(replace(first.facts[0], expected=Fraction(2)),))
    monkeypatch.setitem(claims(), "C1", wrong)
    with pytest.raises(CertificateError, match="the ledger says 2, the computation 1"):
        ledger_page("2001-02-03")


@given(instances())
def test_the_optimum_is_that_of_the_solver(instance: Instance) -> None:
    best = exact_optimum(instance)
    assert optimum(instance) == best.x
    if best.interior:
        assert multiplier(instance) == best.multiplier


@given(instances(), st.integers(1, 16))
def test_plan_and_objective_are_those_of_the_declaration(instance: Instance, sixteenths: int) -> None:
    (derivation,), (channel,) = derive(instance.program), instance.channels
    plan = plan_at(instance, Fraction(sixteenths, 16))
    x = derivation.stationary(sixteenths / 16, channel, instance.scalars)
    assert np.allclose([float(value) for value in plan], x, rtol=1e-13, atol=1e-13)
    exact = float(objective(instance, x.tolist()))
    assert Solution(instance, x, 0.0).objective == pytest.approx(exact, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "off", "broken"),
    [
        ("cola_cap051", -Fraction(c24_published_plans.MISSED), "not for this target, which it misses"),
        ("commonq_caps", Fraction(c24_published_plans.EXCEEDED), "complementary slackness"),
    ],
)
def test_the_published_plans_are_off_as_the_ledger_says(
    shared_data: Path, name: str, off: Fraction, broken: str
) -> None:
    path = shared_data / "published_plans" / f"mistral7b_{name}.json"
    plan = json.loads(path.read_text())
    assert (set(plan["sizes"]), len(plan["sizes"])) == ({c24_published_plans.SIZE}, c24_published_plans.LAYERS)
    assert (plan["bits"], plan["eta"]) == (c24_published_plans.BITS, c24_published_plans.ETA)
    removed = sum(Fraction(n) * Fraction(x) for n, x in zip(plan["sizes"], plan["sparsity"], strict=True))
    assert abs(removed - Fraction(plan["target"]) - off) < Fraction(1, 10**7)
    assert plan["multiplier_published"] > 0.0
    (audit,) = audit_plan(path)
    assert any(broken in finding.words for finding in audit.findings)
