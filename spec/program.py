"""Programs: the declaration of an optimisation problem as a frozen value, from which everything else is derived.

    minimise    sum_k  f(x_k; w_k, d_k)             one objective term per layer
    subject to  sum_k  r(x_k; d_k)  <=  R           one coupling constraint (or >=)
                l_k <= x_k <= u_k                   one box per layer

w_k = q_k^e is the layer's weight, its quality to a declared exponent. d_k is its unit cost (cost or size).
A program with several decisions per layer (capacity and sparsity, say) has one `Term` for each. All terms share the
coupling constraint and its multiplier.
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
    """A positive symbol with one value per layer, printed with the index k."""
    return sp.Symbol(f"{name}_k", positive=True)


@dataclass(frozen=True, eq=False)
class Scalar:
    """A knob of the program: one number for all layers, with its default.

    symbol : positive or nonnegative; its assumption is the sign of the knob. above, below : strict bounds of the
    mathematics. least, most : the narrower range in which doubles resolve the program.
    argument : name of the knob in calls and files, if it differs from the symbol's.
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
    def floor(self) -> float:
        """The least value of the knob, or the largest number below all values."""
        return max(self.above, 0.0)

    @cached_property
    def strict(self) -> bool:
        """Whether the floor itself is no value."""
        return bool(self.symbol.is_positive) or self.above >= 0.0


@dataclass(frozen=True, eq=False)
class Term:
    """One decision per layer, with its objective and its resource.

    decision : the unknown x_k; `objective` is convex and `resource` is linear in it.
    weight, exponent : w_k = q_k ** exponent enters the objective linearly.
    unit_cost, argument : the symbol d_k > 0 and the name of the argument that holds it ("costs", "sizes").
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
        """+1 if a unit of the decision uses d_k of the resource, -1 if it frees d_k."""
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
        """sigma, the sign of the multiplier's term: +1 for a budget, -1 for a target."""
        return 1 if self.sense == "<=" else -1

    @cached_property
    def exponents(self) -> tuple[str, ...]:
        """The name of the knob that is the exponent of the weight, term by term."""
        names = {scalar.symbol: scalar.name for scalar in self.scalars}
        return tuple(names[term.exponent] for term in self.terms)

    def costs(self, term: Term) -> bool:
        """Whether a larger decision uses more of the limit."""
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
        """The program as displayed LaTeX, for documentation and reports."""
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
    """The expression as text: alpha c_k m_k - gamma q_k^beta log(1 + m_k)."""
    return str(sp.sstr(expression, order="none")).replace("**", "^").replace("*", " ")
