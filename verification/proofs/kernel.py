"""One kernel under every declared program: a clipped line per layer, and a search that ends."""

from __future__ import annotations

import sympy as sp

from zetaplan.spec.derivation import PRICE, derive
from zetaplan.spec.program import MULTIPLIER, Program
from zetaplan.spec.programs import programs
from zetaplan.verification.proofs.proof import (
    Argument,
    Identity,
    Inequality,
    Proof,
    above,
    at_least,
    at_most,
    below,
    equal,
)

u, v, r, low, high, used, limit = sp.symbols("u u' r l h S R", real=True)
p, growth = sp.symbols("p G", positive=True)
inverse = sp.Symbol("e", real=True, nonzero=True)


def clip(x: sp.Expr) -> sp.Expr:
    return sp.Min(sp.Max(x, low), high)


def _is_a_line(name: str) -> list[Identity]:
    """The stationary point of every term of a program is slope times price plus offset."""
    return [
        Identity(
            f"`{name}`: with $\\pi = {sp.latex(d.total_price)} > 0$ the Lagrangian is stationary in "
            f"${sp.latex(d.term.decision)}$ at this line in the price $u = {sp.latex(d.price)}$.",
            sp.Subs(
                d.stationarity.subs(MULTIPLIER, PRICE - d.total_price + MULTIPLIER),
                d.term.decision,
                d.slope * d.price + d.offset,
            ),
            sp.Integer(0),
            given=_ranges(programs()[name]),
        )
        for d in derive(programs()[name])
    ]


def _ranges(program: Program) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
    """1 / (p - 1) as one real number e for every knob p that is bounded by 1: then powers of powers multiply."""
    knobs = [scalar.symbol for scalar in program.scalars if 1.0 in (scalar.above, scalar.below)]
    return tuple(rule for p in knobs for rule in ((1 / (p - 1), inverse), (p, 1 + 1 / inverse)))


PROOF = Proof(
    title="One kernel, and an algorithm that ends",
    source="goes beyond the paper; the knapsack is that of Helgason, Kennington and Lall (1980) and Brucker (1984)",
    statement=r"""
In every declared program the optimal decision depends on the multiplier through one scalar only, the price $u$, and
is a clipped line in it: $x_k = \operatorname{clip}(p_k u + r_k, l_k, h_k)$ with $p_k > 0$. So the optimum is a root
of

$$\sum_k a_k \operatorname{clip}(p_k u + r_k, l_k, h_k) = R,$$

continuous, piecewise linear and non-decreasing in $u$, with at most $2K$ bends. A search that keeps a bracket and
solves one linear piece at a time finds the root after at most $2K + 1$ pieces, exactly: no tolerance is needed. Where
slope and offset are rational functions of the data, so is the root.
""",
    assumptions=(r"$a_k > 0$, $l_k \le h_k$, and a root exists.",),
    steps=(
        *(step for name in programs() for step in _is_a_line(name)),
        Inequality(
            "A clipped line does not fall as the price rises.",
            at_most(clip(p * u + r), clip(p * v + r)),
            given=(at_most(u, v),),
        ),
        Inequality(
            "It bends only where the line meets the floor or the cap: below the first bend it is the floor,",
            equal(clip(p * u + r), low),
            given=(at_most(low, high), at_most(u, (low - r) / p)),
        ),
        Inequality(
            "above the second it is the cap,",
            equal(clip(p * u + r), high),
            given=(at_least(u, (high - r) / p),),
        ),
        Inequality(
            "and in between it is the line itself.",
            equal(clip(p * u + r), p * u + r),
            given=(at_least(u, (low - r) / p), at_most(u, (high - r) / p)),
        ),
        Argument(
            "So between two neighbouring bends, of which there are at most two per layer, every layer stays on its "
            "side and the sum is a line "
            r"$S + G u$ with $G \ge 0$ the sum of $a_k p_k$ over the layers inside their box."
        ),
        Inequality(
            "Solve the line of the piece on which $u$ lies. Where the sum at $u$ is below $R$, its solution $u'$ is "
            "to the right of $u$, as is every root, since the sum does not fall.",
            above(v, u),
            given=(equal(used + growth * v, limit), below(used + growth * u, limit)),
        ),
        Inequality(
            "Where it is above $R$, both are to the left; where the solution lies on the same piece, it is the root.",
            below(v, u),
            given=(equal(used + growth * v, limit), above(used + growth * u, limit)),
        ),
        Argument(
            r"Each step therefore either ends or moves one end of the bracket past the piece it has just solved. (A "
            r"piece with $G = 0$ is left "
            "through the middle bend of the bracket.) No piece is solved twice, so at most $2K + 1$ are. With the "
            "bends sorted, halving among them "
            r"needs $\lceil \log_2 (2K + 1) \rceil$ evaluations of the sum, independent of any tolerance."
        ),
    ),
    remark=r"""
The paper's bisection halves an interval of multipliers: $\log_2 (\lambda_{\max} / \varepsilon)$ evaluations of the
same sum for a tolerance $\varepsilon$, as claimed. What it returns is near the multiplier; what this search returns is
the multiplier.
""",
)
