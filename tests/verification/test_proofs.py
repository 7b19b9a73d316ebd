"""Every proof holds, and no checked step survives a change of a number, a sign or a direction."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
import sympy as sp
from latex2mathml.converter import convert

from zetaplan.errors import CertificateError
from zetaplan.verification.proofs import proofs, smt, three_layers
from zetaplan.verification.proofs.page import KINDS, proof_pages
from zetaplan.verification.proofs.proof import (
    BREAK,
    PART,
    Argument,
    Identity,
    Inequality,
    Numeric,
    Proof,
    Step,
    Theorem,
    above,
    at_least,
    at_most,
    below,
    equal,
    latex,
)

STEPS = [
    pytest.param(step, id=f"{name}:{number}")
    for name, proof in proofs().items()
    for number, step in enumerate(proof.steps, start=1)
    if not isinstance(step, Argument)
]
x, y = sp.symbols("x y", real=True)
OPPOSITE = {
    sp.Eq: lambda left, right: equal(left, right + 1),
    sp.Ge: below,
    sp.Gt: at_most,
    sp.Le: above,
    sp.Lt: at_least,
}


def mutants(step: Step) -> Iterator[Step]:
    """The step with one thing changed: each is false if the step says anything."""
    if isinstance(step, Identity):
        yield replace(step, right=step.right + 1)
        if step.right != 0:
            yield replace(step, right=-step.right)
            yield replace(step, right=2 * step.right)
        for changed in renumbered(step.right):
            yield replace(step, right=changed)
    elif isinstance(step, Inequality | Numeric):
        claim = step.claim
        yield replace(step, claim=OPPOSITE[claim.func](claim.lhs, claim.rhs))
    elif isinstance(step, Theorem):
        yield replace(step, names=())
        yield replace(step, names=(*step.names, f"{step.names[0]}_of_nobody"))


def renumbered(expression: sp.Expr) -> Iterator[sp.Expr]:
    """The expression with one of its numbers (a factor, a summand, an exponent) replaced by another."""
    if expression.is_Rational:
        yield expression + 1
        return
    for place, argument in enumerate(expression.args):
        for changed in renumbered(argument):
            arguments = (*expression.args[:place], changed, *expression.args[place + 1 :])
            yield expression.func(*arguments)


@pytest.mark.parametrize("name", sorted(proofs()))
def test_a_proof_holds(name: str) -> None:
    proofs()[name].check()


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_says_something_else_is_refused(step: Step) -> None:
    for mutant in mutants(step):
        assert mutant.objection(), f"{mutant.formula} is accepted as well as {step.formula}"


@pytest.mark.parametrize("name", sorted(proofs()))
def test_a_proof_that_contains_a_false_step_names_it(name: str) -> None:
    proof = proofs()[name]
    number = next(i for i, step in enumerate(proof.steps) if not isinstance(step, Argument))
    steps = list(proof.steps)
    steps[number] = next(mutants(steps[number]))
    with pytest.raises(CertificateError, match=rf"step {number + 1} \({steps[number].checked_by}\)"):
        replace(proof, steps=tuple(steps)).check()


@pytest.mark.parametrize("step", [case for case in STEPS if getattr(case.values[0], "given", ())])
def test_nothing_is_given_that_is_not_needed(step: Identity | Inequality) -> None:
    """Dropping a premise has to break the step: a proof by fewer assumptions would say so."""
    for place, premise in enumerate(step.given):
        weaker = replace(step, given=step.given[:place] + step.given[place + 1 :])
        assert weaker.objection(), f"{premise} is idle"


def test_no_condition_of_the_certificate_can_be_left_out() -> None:
    (step,) = three_layers.PROOF.steps
    assert isinstance(step, Inequality)
    assert len(step.given) == 3 + 1 + 6 + 1  # slopes, slackness, box, target: each is dropped above


def test_a_formula_breaks_at_its_relation_and_between_its_terms() -> None:
    formula = Inequality("", at_most(x, x + y**2), given=(sp.Or(above(y, 0), below(x, 0)), above(x, y))).formula
    parts = [[piece.strip() for piece in part.split(BREAK.strip())] for part in formula.split(PART.strip())]
    assert parts == [
        [r"\left(y > 0\right)", r"\lor \left(x < 0\right),\quad"],
        ["x", r"> y"],
        [r"\Longrightarrow\;x", r"\le x", "+ y^{2}"],
    ]


@pytest.mark.parametrize("step", STEPS)
def test_no_identity_is_printed_as_x_equals_x(step: Step) -> None:
    """sympy evaluates what it can while a formula is written; a step has to show what is to be shown."""
    assert not isinstance(step, Identity) or latex(step.left) != latex(step.right)


GREEK = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "eta",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "phi",
    "pi",
    "rho",
    "tau",
    "theta",
    "zeta",
]
SPELT_OUT = re.compile(rf"(?<![\\A-Za-z])({'|'.join(GREEK)})\b", re.IGNORECASE)


@pytest.mark.parametrize("step", STEPS)
def test_no_greek_letter_is_spelt_out(step: Step) -> None:
    """sympy prints tau as a letter, and tau with a prime as three."""
    assert not SPELT_OUT.search(step.formula)


def test_a_letter_that_is_spelt_out_would_be_seen() -> None:
    assert SPELT_OUT.search(latex(sp.Symbol("tau'")))
    assert not SPELT_OUT.search(latex(sp.Symbol(r"\tau'") + sp.Symbol("tau_1")))


def test_the_tables_of_the_index_have_the_cells_of_their_headers() -> None:
    rows = [row for row in proof_pages()["index.md"].splitlines() if row.startswith("|")]
    kinds, of_proofs = 2 + len(KINDS), 2 + len(proofs())
    words = sum(isinstance(step, Argument) for proof in proofs().values() for step in proof.steps)
    assert len(rows) == kinds + of_proofs + 2 + words
    assert {row.count("|") for row in rows[:kinds]} == {4}
    assert {row.count("|") for row in rows[kinds : kinds + of_proofs]} == {len(KINDS) + 2}
    assert {row.count("|") for row in rows[kinds + of_proofs :]} == {3}


def test_every_formula_of_the_pages_becomes_mathml() -> None:
    for page in proof_pages().values():
        for formula in map("".join, re.findall(r"\$\$(.+?)\$\$|\$([^$]+)\$", page, re.DOTALL)):
            parts = [convert(part) for part in re.split(r"\\(?:allow|good)break", formula)]
            assert "\\" not in "".join(parts), formula  # a command that the converter does not know stays as it is


def test_every_proof_is_checked_by_more_than_words() -> None:
    for name, proof in proofs().items():
        assert proof.tally.total() > proof.tally["words"], name


def test_the_solver_gives_a_counterexample() -> None:
    positive, whole = sp.Symbol("p", positive=True), sp.Symbol("i", integer=True)
    assert smt.counterexample(above(positive, 0)) == ""
    assert "x = " in smt.counterexample(above(x**2, sp.Integer(0)))
    assert smt.counterexample(at_least(whole, 1), given=(above(whole, 0),)) == ""  # the integers have no 1/2
    assert "false at" in smt.counterexample(at_least(x, 1), given=(above(x, 0),))
    assert smt.counterexample(equal(sp.Max(x, y) + sp.Min(x, y), x + y)) == ""
    assert smt.counterexample(sp.Or(at_least(x, y), above(y, x))) == ""


def test_division_by_zero_proves_nothing() -> None:
    unknown = sp.Mul(x, sp.Pow(y, -1), evaluate=False)
    assert "false at" in smt.counterexample(equal(sp.Mul(unknown, y, evaluate=False), x))
    assert smt.counterexample(equal(sp.Mul(unknown, y, evaluate=False), x), given=(above(y, 0),)) == ""


@pytest.mark.parametrize(
    ("expression", "message"), [(sp.log(x), "z3 cannot decide it"), (sp.sqrt(x), "whole ones only"), (sp.pi, "z3")]
)
def test_what_z3_cannot_decide_is_refused_by_name(expression: sp.Expr, message: str) -> None:
    with pytest.raises(CertificateError, match=message):
        smt.counterexample(at_least(expression, 0))


def test_without_z3_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "z3", None)
    with pytest.raises(CertificateError, match=r"pip install 'zetaplan\[docs\]'"):
        smt.counterexample(at_least(x, 0))


def test_balls_decide_only_what_they_can_tell_apart() -> None:
    half = sp.Rational(1, 2)
    assert Numeric("", above(sp.log(2), sp.Rational(69, 100))).objection() == ""
    assert Numeric("", at_least(half, half)).objection()  # true, but no ball can tell
    assert Numeric("", above(sp.exp(sp.log(2)) * (1 + sp.Rational(1, 2**200)), sp.exp(sp.log(2)))).objection()


def test_rules_rewrite_matrices() -> None:
    a, inverse = sp.symbols("A B", commutative=False)
    assert Identity("", a * inverse * a, a, given=((a * inverse, sp.Integer(1)),)).objection() == ""
    assert Identity("", inverse * a, sp.Integer(1), given=((a * inverse, sp.Integer(1)),)).objection()


def test_words_are_counted_as_words() -> None:
    proof = Proof("", "", steps=(Argument("so", why="it is short"), Identity("", x, x)))
    assert proof.tally == {"words": 1, "sympy": 1}
