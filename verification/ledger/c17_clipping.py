"""Clipping at a cap after the solve."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.pruning import pruning
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import optimum

CAP = Fraction(33, 64)
TIGHT, SHARE, LAYERS = Fraction(51, 100), Fraction(1, 2), 32
uncapped, capped = pruning([1, 3], 1.0, target=1.0), pruning([1, 3], 1.0, target=1.0, upper=float(CAP))

CLAIM = Claim(
    claim="Capping the sparsity per layer at 0.51 (or 0.55) keeps the target.",
    verdict=Verdict.CORRECTED,
    finding=r"""
Only if the cap is inside the program. Clipping afterwards loses what it cuts off and misses the target. Inside the
program, a cap that is close to the target leaves little to choose: with 32 layers of equal size, target 50 % and cap
0.51, every layer keeps at most 81 % of itself, and the mean distance from uniform pruning is at most 0.0194.
""",
    proofs=("caps",),
    facts=(
        Fact(
            r"$q = (\tfrac14, \tfrac34)$, unit sizes, target 1: without a cap",
            (Fraction(3, 4), Fraction(1, 4)),
            lambda: optimum(uncapped),
        ),
        Fact(
            r"Clipped at $\tfrac{33}{64}$ afterwards it removes, of the target 1,",
            Fraction(49, 64),
            lambda: sum(min(x, CAP) for x in optimum(uncapped)),
        ),
        Fact(
            "With the cap inside the program the plan is",
            (Fraction(33, 64), Fraction(31, 64)),
            lambda: optimum(capped),
        ),
        Fact(
            "32 layers, target 50 %, cap 0.51: the least sparsity a layer can have, and the most that the mean of "
            r"$|\rho_k - \tfrac12|$ can be, are",
            (Fraction(19, 100), Fraction(31, 1600)),
            lambda: (LAYERS * SHARE - (LAYERS - 1) * TIGHT, 2 * (TIGHT - SHARE) * (LAYERS - 1) / LAYERS),
        ),
        Fact(
            "With cap 0.55 the mean can be at most",
            Fraction(31, 320),
            lambda: 2 * (Fraction(55, 100) - SHARE) * (LAYERS - 1) / LAYERS,
        ),
    ),
)
