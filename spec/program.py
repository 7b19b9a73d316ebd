"""A program is declared once, as a frozen value; everything else is derived from it.

    minimise    sum_k  f(x_k; w_k, d_k)             one objective term per layer
    subject to  sum_k  r(x_k; d_k)  <=  R           one coupling constraint (or >=)
                l_k <= x_k <= u_k                   one box per layer

w_k = q_k^e is the layer's weight (its quality to a declared exponent), d_k its datum (cost or size).
A program with several decisions per layer (capacity and sparsity, say) has one `Term` for each;
they share the coupling constraint and so its one multiplier.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import sympy as sp

from zetaplan.errors import SpecError

MULTIPLIER = sp.Symbol("lambda", nonnegative=True)
QUALITY = sp.Symbol("q_k", positive=True)

Sense = Literal["<=", ">="]


def layer(name: str) -> sp.Symbol:
    """A quantity that every layer has one of: positive, printed with the index k."""
    return sp.Symbol(f"{name}_k", positive=True)


@dataclass(frozen=True, eq=False)
class Scalar:
    """A knob of the program: one number for all layers, with its default.

    The symbol carries the sign (positive or nonnegative); `above` and `below`, where given, are strict bounds of the
    mathematics. least, most : the range in which doubles resolve the program, where it is narrower.
    `argument` is its name in calls and files where that is not the symbol's.
    """

    symbol: sp.Symbol
    default: float
    argument: str = ""
    above: float = -math.inf
    below: float = math.inf
    least: float = -math.inf
    most: float = math.inf

    @cached_property
    def name(self) -> str:
        return self.argument or str(self.symbol)

    @cached_property
    def positive(self) -> bool:
        return bool(self.symbol.is_positive)


@dataclass(frozen=True, eq=False)
class Term:
    """One decision per layer: what it adds to the objective and what it uses of the resource.

    decision : the unknown x_k; convex in it is `objective`, linear in it is `resource`.
    weight, exponent : w_k = q_k ** exponent enters the objective linearly.
    data, argument : the symbol d_k > 0 and the name of the argument that holds it ("costs", "sizes").
    lower, upper : the default box.
    """

    decision: sp.Symbol
    weight: sp.Symbol
    exponent: sp.Symbol
    unit_cost: sp.Symbol
    argument: str
    objective: sp.Expr
    resource: sp.Expr
    lower: float = 0.0
    upper: float = math.inf

    @cached_property
    def usage(self) -> int:
        """+1 where a unit of the decision uses d_k of the resource, -1 where it frees as much."""
        usage = sp.cancel(self.resource / (self.unit_cost * self.decision))
        if usage not in (1, -1):
            raise SpecError(
                f"resource {self.resource}: expected +-{self.unit_cost * self.decision}, linear in the decision"
            )
        return int(usage)


@dataclass(frozen=True, eq=False)
class Program:
    """A separable convex program with one coupling constraint.

    sense : "<=" when `limit` is a budget that may not be exceeded, ">=" when it is a target to be met.
    limit, limit_argument : the right-hand side R and the name of the argument that holds it.
    unit : what one unit of the decision is, in words, for each term.
    """

    name: str
    summary: str
    terms: tuple[Term, ...]
    scalars: tuple[Scalar, ...]
    sense: Sense
    limit: sp.Symbol
    limit_argument: str

    @property
    def sign(self) -> int:
        """+1 where the resource is a budget, -1 where it is a target: the sign of the multiplier's term."""
        return 1 if self.sense == "<=" else -1

    def costs(self, term: Term) -> bool:
        """Does a larger decision make the coupling constraint harder to satisfy?"""
        return self.sign * term.usage > 0

    def __repr__(self) -> str:
        objective = " + ".join(_text(self._in_quality(term.objective, term)) for term in self.terms)
        resource = " + ".join(_text(term.resource) for term in self.terms).replace("+ -", "- ")
        boxes = ", ".join(f"l_k <= {term.decision} <= u_k" for term in self.terms)
        return (
            f"{self.name}: {self.summary}\n"
            f"    minimise    sum_k  {objective}\n"
            f"    subject to  sum_k  {resource} {self.sense} {self.limit}\n"
            f"                {boxes}"
        )

    def latex(self) -> str:
        """The displayed program, for documentation and reports."""
        objective = " + ".join(sp.latex(self._in_quality(term.objective, term)) for term in self.terms)
        resource = " + ".join(sp.latex(term.resource) for term in self.terms).replace("+ -", "-")
        relation = r"\le" if self.sense == "<=" else r"\ge"
        boxes = r",\quad ".join(rf"l_k \le {sp.latex(term.decision)} \le u_k" for term in self.terms)
        return (
            rf"\begin{{aligned}}\text{{minimise}}\quad & \sum_k \Bigl( {objective} \Bigr) \\"
            rf"\text{{subject to}}\quad & \sum_k \Bigl( {resource} \Bigr) {relation} {sp.latex(self.limit)} \\"
            rf"& {boxes}\end{{aligned}}"
        )

    @staticmethod
    def _in_quality(expression: sp.Expr, term: Term) -> sp.Expr:
        return expression.subs(term.weight, sp.Pow(QUALITY, term.exponent, evaluate=False))


def _text(expression: sp.Expr) -> str:
    """alpha c_k m_k - gamma q_k^beta log(1 + m_k): the way the method writes it."""
    return str(sp.sstr(expression, order="none")).replace("**", "^").replace("*", " ")
