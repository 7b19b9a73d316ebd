"""The constants mu, L and L_q of a box of scores are attained at its ends."""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp

from zetaplan.spec.derivation import Derivation, derive
from zetaplan.spec.programs import programs
from zetaplan.verification.proofs.proof import Identity, Inequality, Proof, Step, Theorem, at_least, at_most
from zetaplan.verification.proofs.quotients import rate
from zetaplan.verification.proofs.signs import sign

source, target = sp.symbols("w_S w_T", positive=True)
q, e, power = sp.symbols("q e p", positive=True)
here, there = sp.symbols("x y", positive=True)
chain = e * q ** (e - 1)
rise, value, low_end, high_end = sp.symbols("r v v_l v_h", real=True)


def _in_the_weight(d: Derivation) -> Iterator[Step]:
    """Slope and second derivative are linear in the weight."""
    name, w, x = d.program.name, d.term.weight, d.term.decision
    yield Identity(
        f"`{name}`: the slope moves with the weight alone, by a factor that does not contain it.",
        d.stationarity.subs(w, target) - d.stationarity.subs(w, source),
        d.score_derivative.subs(w, 1) * (target - source),
    )
    yield Identity(
        f"`{name}`: the second derivative is proportional to the weight, and over the weight it is the rate of that "
        "factor.",
        rate(d.score_derivative, x),
        d.second_derivative / w,
    )


def _in_the_decision(d: Derivation) -> Iterator[Step]:
    """f''' keeps its sign over the box, so f'' is monotone."""
    x = d.term.decision
    third = sp.simplify(sp.diff(d.second_derivative, x))
    yield Identity(f"`{d.program.name}`: the rate of the second derivative", rate(d.second_derivative, x), third)
    if third == 0:
        return
    product = third.subs(x, here) * third.subs(x, there)
    yield sign("This rate has one sign at any two points of the box", at_least, product, d.program, for_any_knob=True)


PROOF = Proof(
    title="The constants at the ends",
    source="goes beyond the paper; the bounds of its Theorem 4 need these constants",
    statement=r"""
Let the score of a layer lie between two ends and its decision in its box. The least $f''$ and the largest $f''$ are
found at ends of the box and at the lower and the higher weight; the largest rate
$\left|\frac{\partial^2 f}{\partial x\, \partial q}\right|$ at an end of the box and at one of both scores. So the
largest and the smallest of finitely many values hold for every score and every decision between them, and with
$L_k$ the largest rate the slope differs between two scores by at most $L_k |q_T - q_S|$.
""",
    assumptions=(r"$w_k = q_k^e$ with an exponent $e > 0$; for $e = 0$ no score enters. All scores are positive.",),
    steps=(
        *(step for program in programs().values() for d in derive(program) for step in _in_the_weight(d)),
        Theorem(
            r"So $f'' = w\, \varphi'(x)$, where $\varphi(x)$ is the factor: $f''$ rises with the weight, and the "
            r"factor rises with the decision as $f'' > 0$ ([certificate theorem](certificate.md)). The absolute value "
            "of a function that rises is largest at an end.",
            names=("Rates.rising", "Rates.largest_at_an_end"),
        ),
        *(step for program in programs().values() for d in derive(program) for step in _in_the_decision(d)),
        Theorem(
            "A function whose rate has one sign is monotone: $f''$ is least and largest at ends of the box.",
            names=("Rates.ends_of_one_sign",),
        ),
        Identity("The derivative of the weight in the score", rate(q**e, q), chain),
        Identity("The derivative of that rate", rate(chain, q), e * (e - 1) * q ** (e - 2)),
        Inequality(
            r"This derivative is not negative for $e \ge 1$ ($p = q^{e - 2} > 0$).",
            at_least(e * (e - 1) * power, sp.Integer(0)),
            given=(at_least(e, sp.Integer(1)),),
        ),
        Inequality(
            r"It is not positive for $e \le 1$, so the rate is monotone: between two scores it is largest at one of "
            r"them.",
            at_most(e * (e - 1) * power, sp.Integer(0)),
            given=(at_most(e, sp.Integer(1)),),
        ),
        Theorem(
            r"By the mean value theorem $|w_T - w_S| \le |q_T - q_S|$ times the largest rate between both scores, so "
            r"the slope differs by at most $|\varphi(x)|$ times that.",
            names=("Rates.rate_bounds",),
        ),
        Inequality(
            "A monotone function lies between its values at the ends, so the larger one bounds it.",
            at_most(value, sp.Max(low_end, high_end)),
            given=(sp.Or(sp.And(value >= low_end, value <= high_end), sp.And(value <= low_end, value >= high_end)),),
        ),
    ),
)
