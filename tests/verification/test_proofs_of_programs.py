"""What the proofs state of the declared programs, against other arithmetic; no fault of a derivation passes them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp

from zetaplan.errors import CertificateError, SpecError
from zetaplan.solvers import solve
from zetaplan.spec.derivation import TOTAL_PRICE, Derivation, derive
from zetaplan.spec.instance import Instance, declare
from zetaplan.spec.program import MULTIPLIER, Program
from zetaplan.spec.programs import programs
from zetaplan.spec.rational import rational
from zetaplan.spec.solution import Solution
from zetaplan.verification import proofs as folder
from zetaplan.verification.proofs import certificate, constants, drift, kernel
from zetaplan.verification.proofs.proof import Identity, Step

TERMS = [pytest.param(d, id=f"{name}:{d.term.decision}") for name, p in programs().items() for d in derive(p)]
EVERY = pytest.mark.parametrize("program", programs().values(), ids=list(programs()))
POINTS = 20
K = 6


def drawn(program: Program, seed: int, limit: float = 0.4) -> Instance:
    """An instance of any declared program, knobs at their defaults."""
    rng = np.random.default_rng(seed)
    data = [rng.uniform(1.0, 3.0, K) for _ in program.terms]
    return declare(program, rng.lognormal(0.0, 0.7, K), data, limit * float(data[0].sum()))


def identities(steps: Iterator[Step]) -> list[Identity]:
    return [step for step in steps if isinstance(step, Identity)]


@pytest.mark.parametrize("d", TERMS)
def test_slopes_and_second_derivatives_are_those_of_difference_quotients(d: Derivation) -> None:
    """A second truth: quotients in 40 digits at random points."""
    x, rng = d.term.decision, np.random.default_rng(0)
    for _ in range(POINTS):
        values = {s: sp.Float(rng.uniform(0.2, 0.8), 40) for s in d.lagrangian.free_symbols - {x}}
        values |= {k.symbol: values[k.symbol] + 1 for k in d.program.scalars if k.above == 1.0 and k.symbol in values}
        f, at = sp.lambdify(x, d.lagrangian.subs(values), "mpmath"), mpmath.mpf(str(rng.uniform(0.2, 0.8)))
        with mpmath.workdps(40):
            for order, derived in ((1, d.stationarity), (2, d.second_derivative)):
                expected = sp.lambdify(x, derived.subs(values), "mpmath")(at)
                assert mpmath.almosteq(mpmath.diff(f, at, order), expected, 1e-12)


@pytest.mark.parametrize("d", TERMS)
def test_a_proof_notices_what_is_not_convex_or_not_linear_in_the_weight(d: Derivation) -> None:
    term = d.term
    for objective in (-term.objective, term.objective - term.weight * term.decision**4 * 1000):
        bent = Derivation(d.program, replace(term, objective=objective))
        *_, convex = certificate._convexity(bent)
        assert convex.objection()
    squared = Derivation(d.program, replace(term, objective=term.objective.subs(term.weight, term.weight**2)))
    assert drift._linear(squared).objection()
    assert not drift._linear(d).objection()


def wrong_logarithm(self: sp.log, argindex: int = 1) -> sp.Expr:
    return 2 / self.args[0]


def wrong_exponential(self: sp.exp, argindex: int = 1) -> sp.Expr:
    return 2 * self


def wrong_power(self: sp.Pow, symbol: sp.Symbol) -> sp.Expr:
    return self.exp * self.base**self.exp * self.base.diff(symbol)


@pytest.mark.parametrize(
    ("function", "rule", "wrong", "name"),
    [
        (sp.log, "fdiff", wrong_logarithm, "allocation"),
        (sp.log, "fdiff", wrong_logarithm, "barrier_pruning"),
        (sp.log, "fdiff", wrong_logarithm, "joint"),
        (sp.exp, "fdiff", wrong_exponential, "exponential_allocation"),
        (sp.Pow, "_eval_derivative", wrong_power, "power_allocation"),
        (sp.Pow, "_eval_derivative", wrong_power, "power_pruning"),
        (sp.Pow, "_eval_derivative", wrong_power, "precision"),
        (sp.Pow, "_eval_derivative", wrong_power, "pruning"),
    ],
)
def test_a_wrong_rule_of_differentiation_is_refused(
    function: Any, rule: str, wrong: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limits of the proofs do not go through the rules by which the derivation differentiates."""
    program = programs()[name]
    monkeypatch.setattr(function, rule, wrong)
    sp.core.cache.clear_cache()
    try:
        fresh = Derivation(program, program.terms[0])
        slope, second, *_ = identities(certificate._convexity(fresh))
        assert slope.objection()
        assert second.objection()
    finally:
        monkeypatch.undo()
        sp.core.cache.clear_cache()


EXPRESSIONS = sorted(
    name
    for name, value in vars(Derivation).items()
    if isinstance(value, property | cached_property)
    and isinstance(getattr(derive(programs()["joint"])[0], name), sp.Expr)
)
NOT_OF_THE_PROOFS = {"absolute_stationarity"}  # a scale for residuals, of which the proofs do not speak
NOTICED_BY = {
    "closed_form": "allocation",
    "combined_form": "kernel",
    "declared_price": "knobs",
    "dual": "drift",
    "inverse_level": "knobs",
    "lagrangian": "kernel",
    "offset": "kernel",
    "level": "kernel",
    "score_derivative": "constants",
    "second_derivative": "constants",
    "slope": "kernel",
    "stationarity": "pruning",
    "total_price": "kernel",
}


def test_every_derived_expression_is_held_by_a_proof() -> None:
    assert set(NOTICED_BY) == set(EXPRESSIONS) - NOT_OF_THE_PROOFS


@pytest.mark.parametrize("name", NOTICED_BY)
def test_a_fault_of_the_derivation_is_refused_by_a_proof(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each expression that is derived from a declaration is replaced by one that is off by a factor."""
    right = vars(Derivation)[name]
    get = right.func if isinstance(right, cached_property) else right.fget
    monkeypatch.setattr(Derivation, name, property(lambda self: get(self) * (1 + self.term.unit_cost)))
    derive.cache_clear()
    try:
        assert refused(NOTICED_BY[name])
    finally:
        monkeypatch.undo()
        derive.cache_clear()


def refused(name: str) -> bool:
    """Is the proof, made anew, refused? A step that cannot be formed or decided at all counts as well."""
    try:
        fresh(name).PROOF.check()
    except (CertificateError, SpecError):
        return True
    return False


def fresh(name: str) -> ModuleType:
    """The module of a proof, executed once more and kept from the others."""
    path = Path(folder.__file__).parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"fresh_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["allocation", "knobs", "pruning"])
def test_a_proof_made_anew_is_not_refused(name: str) -> None:
    assert not refused(name)
    assert f"fresh_{name}" not in sys.modules


@EVERY
def test_the_kernel_puts_every_program_into_its_class(program: Program) -> None:
    """By the numbers: between bounds the use of the resource is a line in each level, or in none."""
    instance, lines = drawn(program, 0), []
    unclipped = replace(instance, lower=instance.lower - 1e6, upper=instance.lower + 1e6)
    for level in kernel.levels(program):
        knobs = {scalar.symbol: instance.parameters[scalar.name] for scalar in program.scalars}
        u = sp.lambdify(MULTIPLIER, level.subs(knobs), "numpy")
        inverse = sp.lambdify(TOTAL_PRICE, derivation_of(program, level).inverse_level.subs(knobs), "numpy")
        ends = u(0.5), u(0.9)
        uses = [resource(unclipped, float(inverse(at))) for at in (ends[0], sum(ends) / 2, ends[1])]
        lines.append(abs(uses[0] - 2 * uses[1] + uses[2]) <= 1e-9 * max(map(abs, uses)))
    assert all(lines) if len(lines) == 1 else not any(lines)
    assert (f"`{program.name}`" in kernel.ONE) == (len(lines) == 1)
    assert (f"`{program.name}`" in kernel.SEVERAL) == (len(lines) > 1)


def derivation_of(program: Program, level: sp.Expr) -> Derivation:
    return next(d for d in derive(program) if d.level.subs(TOTAL_PRICE, d.total_price) == level)


def resource(instance: Instance, multiplier: float) -> float:
    rows = zip(derive(instance.program), instance.channels, strict=True)
    return sum(c.term.usage * float(c.unit_cost @ d.stationary(multiplier, c, instance.scalars)) for d, c in rows)


@EVERY
def test_the_resource_moves_one_way_with_the_multiplier(program: Program) -> None:
    for seed in range(5):
        instance = drawn(program, seed)
        used = [program.sign * resource(instance, float(m)) for m in np.geomspace(1e-4, 1e3, 200)]
        assert (np.diff(used) <= 1e-12 * np.abs(used[:-1])).all()


@EVERY
def test_a_program_is_called_rational_where_fractions_can_solve_it(program: Program) -> None:
    instance = drawn(program, 0)
    if not kernel.has_rational_root(program):
        with pytest.raises(SpecError):
            rational(instance)
        return
    exact = rational(instance)
    u, sides = exact.equation.root([0] * len(exact.weighted))
    assert exact.equation.left(sides) == exact.equation.growth(sides) * u  # to the last digit
    multiplier = exact.multiplier_of(u)
    assert float(multiplier.p) / float(multiplier.q) == pytest.approx(solve(instance).multiplier, rel=1e-12)


def test_joint_has_a_root_that_is_no_fraction() -> None:
    (program,) = (p for p in programs().values() if len(kernel.levels(p)) > 1)
    assert program.name == "joint"
    found = solve(declare(program, [1.0], [[1.0], [1.0]], 0.0))
    assert found.multiplier == pytest.approx(3**0.5 - 1, rel=1e-12)
    assert sp.degree(sp.minimal_polynomial(kernel.IRRATIONAL, TOTAL_PRICE), TOTAL_PRICE) == 2  # a fraction has 1
    assert kernel.has_rational_root(program) is False


def test_the_classes_of_the_kernel_are_stated_on_its_page() -> None:
    statement = kernel.PROOF.statement
    assert all(f"({names})" in statement for names in (kernel.ONE, kernel.SEVERAL))
    assert kernel.RATIONAL in statement
    named = f"{kernel.ONE}, {kernel.SEVERAL}".replace("`", "").split(", ")
    assert sorted(named) == sorted(programs())
    assert set(kernel.RATIONAL.split(", ")) < set(kernel.ONE.split(", "))


@EVERY
def test_the_regret_of_a_plan_is_convex_in_the_weights(program: Program) -> None:
    """What halving a box rests on, in weights that are drawn freely: each decision has its own."""
    for seed in range(10):
        rng, instance = np.random.default_rng(seed), drawn(program, seed)
        plan, share = solve(instance).x, rng.random()
        one, two = (instance.weight * rng.lognormal(0.0, 1.0, instance.weight.shape) for _ in range(2))
        ends = [regret(instance, plan, w) for w in (one, two)]
        between = regret(instance, plan, share * one + (1 - share) * two)
        assert between <= share * ends[0] + (1 - share) * ends[1] + 1e-10 * max(*ends, 1.0)


def regret(instance: Instance, x: np.ndarray, weight: np.ndarray) -> float:
    moved = replace(instance, weight=weight)
    return Solution(moved, x, 0.0).objective - solve(moved).objective


@pytest.mark.parametrize("d", TERMS)
def test_the_constants_are_at_the_ends(d: Derivation) -> None:
    """On a grid inside the box, no f'' and no rate lies outside what the ends have."""
    term, grid = d.term, np.linspace(0.01, 0.9, 50)
    defaults = [scalar.default for scalar in d.program.scalars]
    for function in (d.curvature, d.mixed):
        values = np.broadcast_to(np.abs(function(grid, 0.0, 0.7, 1.3, *defaults)), grid.shape)
        ends = values[[0, -1]]
        assert (values >= ends.min() - 1e-12).all()
        assert (values <= ends.max() + 1e-12).all()
    assert term.decision in d.term.objective.free_symbols
    assert all(not step.objection() for step in constants._in_the_decision(d))
