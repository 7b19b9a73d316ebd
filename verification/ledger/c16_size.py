"""Gain or size?"""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.pruning import pruning
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import optimum

CLAIM = Claim(
    claim="The program prunes layers with a low gain and protects those with a high gain.",
    verdict=Verdict.CORRECTED,
    finding=r"""
Among layers of equal size. In general sparsity is ordered by $n_k / q_k^\kappa$: of two layers with equal gain the
wider one is pruned more, and a layer with more gain can be pruned more if it is wide enough.
""",
    proofs=("pruning", "knobs"),
    facts=(
        Fact(
            r"Equal gains, sizes $(1, 2)$, target $\tfrac54$:",
            (Fraction(1, 4), Fraction(1, 2)),
            lambda: optimum(pruning([1, 1], [1, 2], target=1.25)),
        ),
        Fact(
            r"$q = (\tfrac38, \tfrac58)$, sizes $(1, 5)$, target 4: the layer with more gain loses three times as "
            r"much,",
            (Fraction(1, 4), Fraction(3, 4)),
            lambda: optimum(pruning([3, 5], [1, 5], target=4.0)),
        ),
    ),
)
