"""A proof as a value: what is stated, under which assumptions, and steps that a machine checks where it can.

    Identity     left = right, symbolically              sympy
    Inequality   for all variables, given ... , claim    an SMT solver refutes the negation (z3, real arithmetic)
    Numeric      an inequality between constants         balls of Arb, which rounding cannot leave
    Argument     words                                   nobody but the reader

The formula that is printed is the expression that is checked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import sympy as sp
from flint import ctx
from sympy.printing.latex import LatexPrinter

from zetaplan.errors import CertificateError
from zetaplan.verification.enclosure import evaluate
from zetaplan.verification.proofs import smt

PART, BREAK = r" \goodbreak ", r" \allowbreak "  # where a narrow page breaks a formula first, and where it may
SIGNS = {"==": "=", ">=": r"\ge", "<=": r"\le", ">": ">", "<": "<"}
PRECISION = 128  # bits of a ball; no constant in a proof is nearer to its bound than 2^-100 of its size

Rules = tuple[tuple[sp.Expr, sp.Expr], ...]


class _Printer(LatexPrinter):  # type: ignore[misc] # sympy has no type information
    """As sympy's, with brackets around what a substitution is about."""

    def _print_Subs(self, substitution: sp.Subs) -> str:
        expression, variables, values = substitution.args
        pairs = r",\;".join(_equation(a, b) for a, b in zip(variables, values, strict=True))
        return rf"\left[ {self._print(expression)} \right]_{{{pairs}}}"


def latex(expression: sp.Basic) -> str:
    """The expression as it is shown."""
    return str(_Printer().doprint(expression))


def breakable(expression: sp.Basic) -> str:
    """The expression as it is shown, with breaks at its relation, or between its terms or alternatives.

    Of a limit the terms are those of what is under it.
    """
    if isinstance(expression, sp.core.relational.Relational):
        sign = SIGNS[expression.rel_op]
        return f"{breakable(expression.lhs)}{BREAK}{sign} {breakable(expression.rhs)}"
    if isinstance(expression, sp.Or):
        return rf"{BREAK}\lor ".join(rf"\left({latex(argument)}\right)" for argument in expression.args)
    if isinstance(expression, sp.Limit):
        body, variable, point, direction = expression.args
        side = "" if str(direction) == "+-" or point.is_infinite else f"^{direction}"
        return rf"\lim_{{{latex(variable)} \to {latex(point)}{side}}} ({BREAK}{breakable(body)})"
    if expression.is_Add:
        first, *others = expression.as_ordered_terms()
        return BREAK.join((latex(first), *map(_signed, others)))
    return latex(expression)


def _signed(term: sp.Expr) -> str:
    return f"- {latex(-term)}" if term.could_extract_minus_sign() else f"+ {latex(term)}"


@dataclass(frozen=True, eq=False)
class Step(ABC):
    """One step: what it says in words (Markdown, mathematics between dollars)."""

    words: str

    checked_by: ClassVar[str]

    @property
    @abstractmethod
    def formula(self) -> str:
        """What is checked, in LaTeX; empty where nothing is."""

    @abstractmethod
    def objection(self) -> str:
        """Why the step does not hold; empty if it does."""


@dataclass(frozen=True, eq=False)
class Identity(Step):
    """left = right for all values of the symbols; derivatives, limits and integrals in it are carried out.

    given : equations, used as rewriting rules from left to right until nothing changes. Symbols that do not commute
    stand for matrices and vectors.
    """

    left: sp.Expr
    right: sp.Expr
    given: Rules = ()

    checked_by: ClassVar[str] = "sympy"

    @property
    def formula(self) -> str:
        rules = rf",\quad{PART}".join(_equation(a, b) for a, b in self.given)
        where = rf"{PART}\quad\text{{where}}\quad {rules}" if rules else ""
        return f"{breakable(self.left)}{PART}= {breakable(self.right)}{where}"

    def objection(self) -> str:
        rest = _rewritten(sp.expand((self.left - self.right).doit()), self.given)
        if rest.is_commutative:
            rest = sp.simplify(rest)
        return "" if rest == 0 else f"the sides differ by {rest}"


@dataclass(frozen=True, eq=False)
class Inequality(Step):
    """For all real values that the symbols' assumptions allow: if every relation in `given` holds, so does `claim`.

    Relations between polynomials, quotients, Max and Min; integer symbols range over the integers.
    """

    claim: sp.Basic
    given: tuple[sp.Basic, ...] = ()

    checked_by: ClassVar[str] = "SMT"

    @property
    def formula(self) -> str:
        premises = rf",\quad{PART}".join(map(breakable, self.given))
        return (rf"{premises}{PART}\Longrightarrow\;" if premises else "") + breakable(self.claim)

    def objection(self) -> str:
        return smt.counterexample(self.claim, self.given)


@dataclass(frozen=True, eq=False)
class Numeric(Step):
    """An inequality between constants, strict or not, which has to hold for whole balls."""

    claim: sp.core.relational.Relational

    checked_by: ClassVar[str] = "Arb"

    @property
    def formula(self) -> str:
        return breakable(self.claim)

    def objection(self) -> str:
        with ctx.workprec(PRECISION):
            gap = evaluate(self.claim.gts.doit(), {}) - evaluate(self.claim.lts.doit(), {})
            return "" if gap > 0 else f"the larger side minus the smaller one is {gap}"


@dataclass(frozen=True, eq=False)
class Argument(Step):
    """Words that no machine has checked."""

    checked_by: ClassVar[str] = "words"

    @property
    def formula(self) -> str:
        return ""

    def objection(self) -> str:
        return ""


@dataclass(frozen=True, eq=False)
class Proof:
    """A theorem and its proof. Markdown, mathematics between dollars; source : where the statement comes from."""

    title: str
    statement: str
    steps: tuple[Step, ...]
    assumptions: tuple[str, ...] = ()
    remark: str = ""
    source: str = ""

    def check(self) -> None:
        """Check every step. Raises CertificateError that names the proof, the step, and what speaks against it."""
        for number, step in enumerate(self.steps, start=1):
            objection = step.objection()
            if objection:
                where = f"proof {self.title!r}, step {number} ({step.checked_by})"
                raise CertificateError(f"{where}: {objection}; in {_in_one_line(step.formula)}")

    @property
    def tally(self) -> Counter[str]:
        """How many steps were checked by what."""
        return Counter(step.checked_by for step in self.steps)


def at_least(left: sp.Expr, right: sp.Expr) -> sp.Basic:
    """left >= right, kept as it is written even where sympy sees at once that it is true."""
    return sp.Ge(left, right, evaluate=False)


def at_most(left: sp.Expr, right: sp.Expr) -> sp.Basic:
    """left <= right, kept as it is written."""
    return sp.Le(left, right, evaluate=False)


def above(left: sp.Expr, right: sp.Expr) -> sp.Basic:
    """left > right, kept as it is written."""
    return sp.Gt(left, right, evaluate=False)


def below(left: sp.Expr, right: sp.Expr) -> sp.Basic:
    """left < right, kept as it is written."""
    return sp.Lt(left, right, evaluate=False)


def equal(left: sp.Expr, right: sp.Expr) -> sp.Basic:
    """left = right as a relation, kept as it is written."""
    return sp.Eq(left, right, evaluate=False)


def _in_one_line(formula: str) -> str:
    return formula.replace(PART, " ").replace(BREAK, " ")


def _equation(left: sp.Expr, right: sp.Expr) -> str:
    return f"{latex(left)} = {latex(right)}"


def _rewritten(expression: sp.Expr, rules: Rules) -> sp.Expr:
    while True:
        previous = expression
        for pattern, value in rules:
            expression = sp.expand(expression.subs(pattern, value))
        if expression == previous:
            return expression
