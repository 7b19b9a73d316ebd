"""C20: the constants of Theorem 4."""

from __future__ import annotations

from fractions import Fraction

import sympy as sp

from zetaplan.spec.program import QUALITY
from zetaplan.spec.programs.pruning import PRUNING, eta, kappa, rho, w
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import number

objective = PRUNING.terms[0].objective.subs(w, QUALITY**kappa).subs({eta: 1, kappa: sp.Rational(1, 2)})
SHARES = (Fraction(1, 16), Fraction(1, 256), Fraction(1, 4096))


def at_shares(expression: sp.Expr) -> tuple[Fraction, ...]:
    values = (expression.subs({QUALITY: sp.Rational(share), rho: 1}) for share in SHARES)
    return tuple(map(number, values))


CLAIM = Claim(
    claim=r"The constants $\mu$, $L$ and $L_q$ are bounded on compact subsets, so Theorem 4 applies to both programs.",
    verdict=Verdict.CORRECTED,
    finding=r"""
The claim holds on $q_k \ge q_{\min} > 0$ and fails on the whole simplex: $\mu$ falls to 0 with the least weight, and
for an exponent below 1 $L_q$ is unbounded. The allocation also needs a bound on the capacity (a cap, or the budget),
as $f'' = \gamma w / (1 + m)^2$ falls to 0 as $m$ grows.
""",
    proofs=("pruning", "regret"),
    tests=(
        "tests/spec/test_derivation.py::test_constants_bound_the_second_derivatives_inside_the_box",
        "tests/verification/test_regret.py::test_c20_the_constants_need_scores_away_from_zero",
        "tests/verification/test_regret.py::test_the_constants_hold_from_the_source_to_the_box",
    ),
    facts=(
        Fact(
            r"Pruning, $\eta = 1$, $\kappa = \tfrac12$, $\rho = 1$: $\partial^2 f / \partial \rho \, \partial q$ at "
            r"$q = \tfrac{1}{16}, \tfrac{1}{256}, \tfrac{1}{4096}$ is",
            (Fraction(4), Fraction(16), Fraction(64)),
            lambda: at_shares(sp.diff(objective, rho, QUALITY)),
        ),
        Fact(
            r"and $f''$",
            (Fraction(1, 2), Fraction(1, 8), Fraction(1, 32)),
            lambda: at_shares(sp.diff(objective, rho, 2)),
        ),
    ),
)
