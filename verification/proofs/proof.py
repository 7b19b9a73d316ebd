"""Proofs as values: a statement, its assumptions, and steps, most of which are checked by a machine.

    Identity     left = right, symbolically              sympy
    Inequality   for all variables, given ... , claim    an SMT solver refutes the negation (z3, real arithmetic)
    Numeric      an inequality between constants         balls of Arb, which rounding cannot leave
    Theorem      a theorem about any number of layers    Coq accepts its proof (verification/formal)
    Argument     words                                   not checked by a machine

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
from zetaplan.verification.formal.statements import statements
from zetaplan.verification.proofs import smt

PART, BREAK = r" \goodbreak ", r" \allowbreak "  # preferred and possible line breaks of a formula
SIGNS = {"==": "=", ">=": r"\ge", "<=": r"\le", ">": ">", "<": "<"}
PRECISION = 128  # bits of a ball; constants in proofs differ from their bounds by more than 2^-100 relative

Rules = tuple[tuple[sp.Expr, sp.Expr], ...]


class _Printer(LatexPrinter):  # type: ignore[misc] # sympy has no type information
    """The printer of sympy with brackets around the expression of a substitution."""

    def _print_Subs(self, substitution: sp.Subs) -> str:
        expression, variables, values = substitution.args
        pairs = r",\;".join(_equation(a, b) for a, b in zip(variables, values, strict=True))
        return rf"\left[ {self._print(expression)} \right]_{{{pairs}}}"


def latex(expression: sp.Basic) -> str:
    """The expression in LaTeX."""
    return str(_Printer().doprint(expression))


def breakable(expression: sp.Basic) -> str:
    """The expression in LaTeX, with breaks at its relation, or between its terms or alternatives.

    The breaks of a limit are those of its expression.
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
    """One step. words : Markdown, mathematics between dollars."""

    words: str

    checked_by: ClassVar[str]

    @property
    @abstractmethod
    def formula(self) -> str:
        """The checked formula in LaTeX; empty for an argument in words."""

    @abstractmethod
    def objection(self) -> str:
        """The reason why the step does not hold; empty if it holds."""


@dataclass(frozen=True, eq=False)
class Identity(Step):
    """left = right for all values of the symbols; derivatives, limits and integrals in it are carried out.

    given : equations, applied as rewriting rules from left to right until nothing changes. Non-commutative symbols
    are matrices and vectors.
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
    """An inequality between constants, strict or not, which must hold for whole balls."""

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
class Theorem(Step):
    """Theorems whose proofs Coq accepts when the checker is built (`make checker`), named by file: `Separable.unique`.

    Printing the page takes no Coq, so what is checked here is only that the theory has them; the tests check that the
    theory is built without gaps, and what it assumes.
    """

    names: tuple[str, ...]

    checked_by: ClassVar[str] = "Coq"

    @property
    def formula(self) -> str:
        return ""

    def objection(self) -> str:
        missing = [name for name in self.names if name not in statements()]
        return f"verification/formal has no theorem {', '.join(missing)}" if missing or not self.names else ""


@dataclass(frozen=True, eq=False)
class Argument(Step):
    """An argument in words, without a machine check. why : the reason why no machine checks it."""

    why: str

    checked_by: ClassVar[str] = "words"

    @property
    def formula(self) -> str:
        return ""

    def objection(self) -> str:
        return ""


@dataclass(frozen=True, eq=False)
class Proof:
    """A theorem and its proof. Markdown, mathematics between dollars; source : origin of the statement."""

    title: str
    statement: str
    steps: tuple[Step, ...]
    assumptions: tuple[str, ...] = ()
    remark: str = ""
    source: str = ""

    def check(self) -> None:
        """Check every step. Raises CertificateError with the proof, the step, and the objection."""
        for number, step in enumerate(self.steps, start=1):
            objection = step.objection()
            if objection:
                where = f"proof {self.title!r}, step {number} ({step.checked_by})"
                raise CertificateError(f"{where}: {objection}; in {_in_one_line(step.formula)}")

    @property
    def tally(self) -> Counter[str]:
        """Number of steps by kind of check."""
        return Counter(step.checked_by for step in self.steps)


def at_least(left: sp.Expr, right: sp.Expr) -> sp.Basic:
    """left >= right without evaluation, even if sympy could simplify it to true."""
    return sp.Ge(left, right, evaluate=False)


def at_most(left: sp.Expr, right: sp.Expr) -> sp.Basic:
    """left <= right, without evaluation."""
    return sp.Le(left, right, evaluate=False)


def above(left: sp.Expr, right: sp.Expr) -> sp.Basic:
    """left > right, without evaluation."""
    return sp.Gt(left, right, evaluate=False)


def below(left: sp.Expr, right: sp.Expr) -> sp.Basic:
    """left < right, without evaluation."""
    return sp.Lt(left, right, evaluate=False)


def equal(left: sp.Expr, right: sp.Expr) -> sp.Basic:
    """left = right as a relation, without evaluation."""
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
