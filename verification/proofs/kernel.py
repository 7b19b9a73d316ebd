"""The knapsack equation of the declared programs: a clipped line per decision, and a finite search."""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp

from zetaplan.spec.derivation import TOTAL_PRICE, Derivation, derive
from zetaplan.spec.program import MULTIPLIER, Program
from zetaplan.spec.programs import programs
from zetaplan.spec.programs.joint import JOINT
from zetaplan.verification.proofs.proof import (
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
from zetaplan.verification.proofs.quotients import rate
from zetaplan.verification.proofs.signs import sign

u, v, r, low, high, used, limit = sp.symbols("u u' r l h S R", real=True)
p, growth = sp.symbols("p G", positive=True)
inverse = sp.Symbol("e", real=True, nonzero=True)
multiplier, other = sp.symbols(r"lambda \lambda'", positive=True)
rising, falling = sp.symbols("G_1 G_2", positive=True)


def clip(x: sp.Expr) -> sp.Expr:
    return sp.Min(sp.Max(x, low), high)


def levels(program: Program) -> tuple[sp.Expr, ...]:
    """The scalars through which the decisions of a program depend on lambda, each once."""
    return tuple(dict.fromkeys(d.level.subs(TOTAL_PRICE, d.total_price) for d in derive(program)))


def has_rational_root(program: Program) -> bool:
    """Whether the program has one level, and slope, offset, level and multiplier are rational functions of its data."""
    parts = (part for d in derive(program) for part in (d.slope, d.offset, d.level, d.inverse_level))
    return len(levels(program)) == 1 and all(part.is_rational_function(*part.free_symbols) for part in parts)


def _named(found: Iterator[Program]) -> str:
    return ", ".join(f"`{program.name}`" for program in found)


ONE = _named(program for program in programs().values() if len(levels(program)) == 1)
SEVERAL = _named(program for program in programs().values() if len(levels(program)) > 1)
RATIONAL = _named(filter(has_rational_root, programs().values()))


def _line(d: Derivation) -> Iterator[Step]:
    """The stationary point is slope times level plus offset, and the level is monotone in lambda."""
    level, name = latex(d.level), d.program.name
    yield Identity(
        f"`{name}`: with $\\pi = {sp.latex(d.total_price)} > 0$ the Lagrangian is stationary in "
        f"${sp.latex(d.term.decision)}$ at this line in the level $u = {level}$.",
        sp.Subs(
            d.stationarity.subs(MULTIPLIER, TOTAL_PRICE - d.total_price + MULTIPLIER),
            d.term.decision,
            d.slope * d.level + d.offset,
        ),
        sp.Integer(0),
        given=_ranges(d.program),
    )
    combined, plain = (sp.expand_log(sp.log(f)) if d.has_powers else f for f in (d.combined_form, d.closed_form))
    if latex(combined) != latex(plain):
        yield Identity(
            "The decision with its powers combined, which does not overflow where a factor alone would, is the same"
            + (", by its logarithm:" if d.has_powers else ":"),
            combined,
            plain,
        )
    moves = sp.diff(d.level, TOTAL_PRICE)
    yield Identity(f"The derivative of the level ${level}$ in $\\pi$", rate(d.level, TOTAL_PRICE), moves)
    way = "negative: the decision, which uses the resource, falls" if d.uses else "positive: the decision rises"
    yield sign(f"The derivative is {way} as $\\lambda$ rises", below if d.uses else above, moves, d.program)


def _ranges(program: Program) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
    """1 / (1 - p) as one real number e for every knob p that is bounded by 1: then powers of powers multiply."""
    knobs = [scalar.symbol for scalar in program.scalars if 1.0 in (scalar.above, scalar.below)]
    return tuple(rule for p in knobs for rule in ((1 / (1 - p), inverse), (p, 1 - 1 / inverse)))


capacity, sparsity = (
    (d.slope * d.level + d.offset).subs({TOTAL_PRICE: multiplier, d.term.weight: 1, d.term.unit_cost: 1, **defaults})
    for d in derive(JOINT)
    for defaults in [{scalar.symbol: sp.nsimplify(scalar.default) for scalar in JOINT.scalars}]
)
IRRATIONAL = sp.sqrt(3) - 1

PROOF = Proof(
    title="One equation, and a finite algorithm",
    source="goes beyond the paper; the knapsack is that of Helgason, Kennington and Lall (1980) and Brucker (1984)",
    statement=rf"""
In every declared program each optimal decision depends on the multiplier through one scalar, its level $u$, and is a
clipped line in it: $x_k = \operatorname{{clip}}(p_k u + r_k, l_k, h_k)$ with $p_k > 0$. Every level is monotone in
$\lambda$, and the excess over the limit falls as $\lambda$ rises.

**One level** ({ONE}). The optimum is a root of

$$\sum_k a_k \operatorname{{clip}}(p_k u + r_k, l_k, h_k) = R,$$

continuous, piecewise linear and non-decreasing in $u$, with at most $2K$ bends. A search that keeps a bracket and
solves one linear piece at a time finds the root after at most $2K + 1$ pieces without a tolerance. In
{RATIONAL} slope, offset, level and multiplier are rational functions of the data, so root and multiplier are fractions.
In the other programs they need a power or a logarithm.

**Two levels** ({SEVERAL}). Capacity is a line in $1 / \lambda$ and sparsity a line in $\lambda$, so the sum is not
piecewise linear in either. It is monotone in $\lambda$ with at most $4K$ bends, and between two neighbouring ones
$\lambda$ is the one positive root of an equation of degree two at most. That root need not be a fraction.
""",
    assumptions=(r"$a_k > 0$, $l_k \le h_k$, and a root exists.",),
    steps=(
        *(step for program in programs().values() for d in derive(program) for step in _line(d)),
        Inequality(
            "A clipped line does not fall as the level rises.",
            at_most(clip(p * u + r), clip(p * v + r)),
            given=(at_most(u, v),),
        ),
        Inequality(
            "It bends only where the line meets the floor or the cap: below the first bend it is the floor.",
            equal(clip(p * u + r), low),
            given=(at_most(low, high), at_most(u, (low - r) / p)),
        ),
        Inequality(
            "above the second it is the cap,",
            equal(clip(p * u + r), high),
            given=(at_least(u, (high - r) / p),),
        ),
        Inequality(
            "Between both bends it is the line itself.",
            equal(clip(p * u + r), p * u + r),
            given=(at_least(u, (low - r) / p), at_most(u, (high - r) / p)),
        ),
        Theorem(
            "So between two neighbouring bends, of which there are at most two per layer, every layer stays on its "
            "side and the sum is a line "
            r"$S + G u$ with $G \ge 0$ the sum of $a_k p_k$ over the layers inside their box.",
            names=("Bracket.one_side", "Sums.sum_line", "Bracket.use_rises"),
        ),
        Inequality(
            "Solve the line of the piece of $u$. If the sum at $u$ is below $R$, its solution $u'$ is "
            "to the right of $u$, as is every root, since the sum does not fall.",
            above(v, u),
            given=(equal(used + growth * v, limit), below(used + growth * u, limit)),
        ),
        Inequality(
            "If the sum at $u$ is above $R$, both are to the left of $u$. A solution on the same piece is the root.",
            below(v, u),
            given=(equal(used + growth * v, limit), above(used + growth * u, limit)),
        ),
        Theorem(
            r"Each step therefore either ends or moves one end of the bracket past the piece it has just solved. (A "
            r"piece with $G = 0$ is left "
            "through the middle bend of the bracket.) No piece is solved twice, so at most $2K + 1$ are, and the "
            "search ends.",
            names=("Search.no_piece_twice", "Search.search_ends"),
        ),
        Argument(
            "With the bends sorted, halving among them "
            r"needs $\lceil \log_2 (2K + 1) \rceil$ evaluations of the sum, independent of any tolerance.",
            why="it counts operations, and the theory has no model of computation",
        ),
        Argument(
            r"Two levels. Between two neighbouring bends, now in $\lambda$, the layers inside their boxes use "
            r"$G_1 / \lambda$ by their capacities and $- G_2 \lambda$ by their sparsities, and the rest is constant.",
            why="it describes the pieces of the two programs with two levels",
        ),
        Inequality(
            "This use falls with the multiplier, also if only one of the two kinds is inside its box. So it has at "
            "most one root.",
            above(rising / multiplier - falling * multiplier, rising / other - falling * other),
            given=(below(multiplier, other),),
        ),
        Identity(
            r"With $r = R - S$, the limit minus the constant use, the root is that of a quadratic equation.",
            sp.Subs(rising / u - falling * u - r, u, (sp.sqrt(r**2 + 4 * rising * falling) - r) / (2 * falling)),
            sp.Integer(0),
        ),
        Identity(
            r"An example whose root is not a fraction: one layer of `joint`, everything 1, and $B = 0$. What its "
            r"capacity uses, "
            r"from the declaration, is what its sparsity frees at $\lambda = \sqrt3 - 1$:",
            sp.Subs(capacity, multiplier, IRRATIONAL),
            sp.Subs(sparsity, multiplier, IRRATIONAL),
        ),
        Numeric(
            "Both are inside their boxes: they are above 0.",
            above(capacity.subs(multiplier, IRRATIONAL), sp.Integer(0)),
        ),
        Numeric("Both are below 1.", below(sparsity.subs(multiplier, IRRATIONAL), sp.Integer(1))),
        Theorem(r"$\sqrt3 - 1$ is not a fraction, because $\sqrt3$ is not.", names=("Irrational.root_of_three",)),
    ),
    remark=r"""
The paper's bisection halves an interval of multipliers: $\log_2 (\lambda_{\max} / \varepsilon)$ evaluations of the
same sum for a tolerance $\varepsilon$, as claimed. Bisection returns a number near the multiplier; this search returns
the multiplier.
""",
)
