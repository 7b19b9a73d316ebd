"""C17: clipping at a cap after the solve."""

from __future__ import annotations

from fractions import Fraction

import sympy as sp

from zetaplan.spec.programs.pruning import pruning
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import number, optimum
from zetaplan.verification.proofs import caps

CAP = Fraction(33, 64)
HALF = Fraction(1, 2)
uncapped, capped = pruning([1, 3], 1.0, target=1.0), pruning([1, 3], 1.0, target=1.0, upper=float(CAP))
outlier = pruning([1000.0] + [1.0] * 31, 1.0, sparsity=0.5, upper=float(CAP))

CLAIM = Claim(
    claim="Capping the sparsity per layer at 0.51 (or 0.55) keeps the target.",
    verdict=Verdict.CORRECTED,
    finding=r"""
The claim holds only if the cap is inside the program. Clipping after the solve removes fewer parameters than the
target. A cap inside the program that is close to the target leaves little freedom: with 32 layers of equal size,
target 50% and cap 0.51, every layer keeps at most 81% of its parameters, and the mean distance from uniform pruning is
at most 0.0194.
""",
    proofs=("caps",),
    facts=(
        Fact(
            r"$q = (\tfrac14, \tfrac34)$, unit sizes, target 1: without a cap",
            (Fraction(3, 4), Fraction(1, 4)),
            lambda: optimum(uncapped),
        ),
        Fact(
            r"After clipping at $\tfrac{33}{64}$ the plan removes, of the target 1,",
            Fraction(49, 64),
            lambda: sum(min(x, CAP) for x in optimum(uncapped)),
        ),
        Fact(
            "With the cap inside the program the plan is",
            (Fraction(33, 64), Fraction(31, 64)),
            lambda: optimum(capped),
        ),
        Fact(
            "32 layers, target 50%, cap 0.51: the least possible sparsity of a layer and the largest possible mean of "
            r"$|\rho_k - \tfrac12|$ are",
            (Fraction(19, 100), Fraction(31, 1600)),
            lambda: (number(caps.least.subs(caps.NUMBERS)), number(caps.spread.subs(caps.NUMBERS))),
        ),
        Fact(
            "With cap 0.55 the mean can be at most",
            Fraction(31, 320),
            lambda: number(caps.spread.subs(dict(caps.NUMBERS) | {caps.cap: sp.Rational(55, 100)})),
        ),
        Fact(
            r"Both are attained, here with cap $\tfrac{33}{64}$: one layer out of 32 has a thousand times the gain of "
            "each other, and its sparsity and the mean distance are",
            (Fraction(1, 64), Fraction(31, 1024)),
            lambda: (min(optimum(outlier)), sum(abs(x - HALF) for x in optimum(outlier)) / 32),
        ),
    ),
)
