"""The ledger: its numbers are computed again, wrong ones are refused, and everything that it names exists."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flint import fmpq
from hypothesis import given
from hypothesis import strategies as st
from latex2mathml.converter import convert

from zetaplan.errors import CertificateError
from zetaplan.scoring.curvature import find_curvature
from zetaplan.solvers.rational import exact_optimum
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Instance
from zetaplan.spec.programs.allocation import allocation
from zetaplan.spec.programs.pruning import pruning
from zetaplan.spec.rational import Equation
from zetaplan.spec.solution import Solution
from zetaplan.verification.audit.published import audit_plan
from zetaplan.verification.ledger import c02_gradient_norm, c24_published_plans, claims, titles
from zetaplan.verification.ledger.claim import Claim, Fact, Value
from zetaplan.verification.ledger.optimum import evaluations, multiplier, objective, optimum, plan_at
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
        with pytest.raises(CertificateError, match="expected"):
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


RUN = ("zetaplan.spec", "zetaplan.verification.proofs", "zetaplan.verification.ledger.optimum")


@pytest.mark.parametrize("name", claims())
def test_every_fact_runs_the_library(name: str) -> None:
    """No fact is arithmetic of its own: what computes it uses a declaration, a checked expression, or the optimum."""
    tree = ast.parse(source_of(name).read_text())
    for number, fact in enumerate(computations(tree), start=1):
        assert uses_the_library(fact, tree), f"{name}:{number}"


def source_of(name: str) -> Path:
    (path,) = (ROOT / "verification" / "ledger").glob(f"c{int(name[1:]):02d}_*.py")
    return path


def computations(tree: ast.Module) -> list[ast.expr]:
    """The last argument of every Fact."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [call.args[2] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Fact"]


def uses_the_library(computation: ast.AST, tree: ast.Module) -> bool:
    """Does it call something that comes from the library, by itself or through names of the file?"""
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(RUN)
        for alias in node.names
        if alias.name != "number"  # converts only
    }
    own = {name: node for node in tree.body for name in defined(node)}
    seen: set[str] = set()
    waiting = [computation]
    while waiting:
        used = {node.id for node in ast.walk(waiting.pop()) if isinstance(node, ast.Name)} - seen
        if used & imported:
            return True
        seen |= used
        waiting += [own[name] for name in used if name in own]
    return False


def defined(node: ast.stmt) -> set[str]:
    """The names that a statement of a module gives a value."""
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}


def test_a_fact_that_runs_nothing_would_be_seen() -> None:
    tree = ast.parse(
        "from fractions import Fraction\n"
        "from zetaplan.spec.programs.pruning import pruning\n"
        "from zetaplan.verification.ledger.optimum import number\n"
        "SIZE = 32\nstated = pruning([1.0], 1.0)\n"
        "def limit(): return stated.limit\n"
        "def half(): return number(Fraction(SIZE, 2))\n"
        "Fact('', 16, lambda: Fraction(SIZE, 2))\nFact('', 16, half)\nFact('', 1, lambda: limit() / SIZE)\n"
    )
    assert [uses_the_library(fact, tree) for fact in computations(tree)] == [False, False, True]


def test_a_fault_of_the_library_is_seen_by_the_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plans of the exact arithmetic are off by a part in nine: every claim that states a plan notices."""
    right = Equation.plan

    def wrong(*arguments: Any) -> list[fmpq]:
        return [value * fmpq(10, 9) + fmpq(1, 9) for value in right(*arguments)]

    monkeypatch.setattr(Equation, "plan", wrong)
    noticed = {name for name, claim in claims().items() if fails(claim)}
    stated = {"C4", "C5", "C6", "C7", "C8", "C9", "C10", "C11", "C12", "C14", "C15", "C16", "C17", "C19", "C22", "C23"}
    assert noticed == stated | {"C24"}


def fails(claim: Claim) -> bool:
    try:
        claim.check()
    except CertificateError:
        return True
    return False


def observed(name: str, samples: list[list[float]]) -> Any:
    """What a surrogate makes of the gradients of samples, one row each."""
    surrogate = find_curvature(name)
    statistic = surrogate.statistic(len(samples))
    statistic.add(torch.tensor(samples, dtype=torch.float64))
    return surrogate(statistic)


def worth(samples: list[list[float]], tau: float) -> float:
    """The decrease of the undamped model by the damped step, from the gain that the library measures."""
    mean, square = float(np.mean(samples)), float(np.mean(np.square(samples)))
    step = -observed("block-fisher", samples).gain(tau) / mean
    return -(mean * step + square * step**2 / 2)


def test_c1_the_library_gives_gain_and_decrease() -> None:
    gain = observed("block-fisher", [[1.0], [3.0]]).gain(3.0)
    assert gain == pytest.approx(float(expected("C1", 0)), rel=1e-14)
    assert gain / 2 == pytest.approx(float(expected("C1", 1)), rel=1e-14)


def test_c2_the_library_orders_by_gain_and_by_norm() -> None:
    layers = [[[float(g)] for g in samples] for samples in c02_gradient_norm.SAMPLES]
    gains = [observed("block-fisher", samples).gain(1.0) for samples in layers]
    assert [gain / 2 for gain in gains] == pytest.approx([float(v) for v in expected("C2", 0)], rel=1e-14)
    norms = [observed("gradient", samples).gain(1.0) for samples in layers]
    assert norms == pytest.approx([2 * float(v) for v in expected("C2", 1)], rel=1e-14)  # curvature 1 everywhere


def test_c3_the_library_turns_these_orders_round() -> None:
    for fact, tau in ((0, 1.0), (1, 2.0)):
        gains = [observed("block-fisher", samples).gain(tau) for samples in ([[1.0], [1.0]], [[0.0], [4.0]])]
        assert gains == pytest.approx([float(v) for v in expected("C3", fact)], rel=1e-14)
    layers = ([[1.0], [5.0]], [[1.0], [1.0]])
    gains = [observed("block-fisher", samples).gain(1.0) for samples in layers]
    assert gains == pytest.approx([float(v) for v in expected("C3", 2)], rel=1e-14)
    assert [worth(samples, 1.0) for samples in layers] == pytest.approx([float(v) for v in expected("C3", 3)])


def test_c21_the_library_needs_the_inner_products() -> None:
    layers = ([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]])
    gains = [observed("block-fisher", samples).gain(1.0) for samples in layers]
    assert gains == pytest.approx([float(v) for v in expected("C21", 1)], rel=1e-14)
    gram = find_curvature("block-fisher").statistic(32)
    gram.add(torch.randn(32, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    assert len(set(gram.products.triu().flatten().tolist()) - {0.0}) == 32 * 33 // 2


def expected(name: str, fact: int) -> Any:
    return claims()[name].facts[fact].expected


@given(instances())
def test_halving_finds_the_piece_of_the_root(instance: Instance) -> None:
    count, holds = evaluations(instance)
    assert holds
    assert count <= math.ceil(math.log2(2 * instance.quality.size + 1))


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
    assert all(f"\n## {name}: {title} {{#{name.lower()}}}\n" in page for name, title in titles().items())
    assert titles()["C5"] == "uniqueness"
    assert page.count('<span class="verdict ') == 2 * len(claims()) == 2 * len(titles())
    for formula in re.findall(r"\$([^$]+)\$", page):
        assert "\\" not in convert(formula), formula  # a command that the converter does not know stays as it is
    assert r"the decrease of the step $-\tfrac14$ is **1/4**" in page


def test_a_page_is_not_made_of_wrong_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    first = claims()["C1"]
    wrong: Claim = replace(first, facts=(replace(first.facts[0], expected=Fraction(2)),))
    monkeypatch.setitem(claims(), "C1", wrong)
    with pytest.raises(CertificateError, match="expected 2, computed 1/2"):
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
    ("name", "off"),
    [
        ("cola_cap051", -Fraction(c24_published_plans.MISSED)),
        ("commonq_caps", Fraction(c24_published_plans.EXCEEDED)),
    ],
)
def test_the_published_plans_are_off_as_the_ledger_says(shared_data: Path, name: str, off: Fraction) -> None:
    path = shared_data / "published_plans" / f"mistral7b_{name}.json"
    plan = json.loads(path.read_text())
    assert (set(plan["sizes"]), len(plan["sizes"])) == ({c24_published_plans.SIZE}, c24_published_plans.LAYERS)
    assert (plan["bits"], plan["eta"]) == (c24_published_plans.BITS, c24_published_plans.ETA)
    removed = sum(Fraction(n) * Fraction(x) for n, x in zip(plan["sizes"], plan["sparsity"], strict=True))
    assert abs(removed - Fraction(plan["target"]) - off) < Fraction(1, 10**7)
    assert plan["multiplier_published"] > 0.0
    (audit,) = audit_plan(path)
    assert "but for rounding" in audit.verdict
