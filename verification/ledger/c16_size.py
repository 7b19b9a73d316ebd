"""C16: order of the sparsities by gain and size."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.pruning import pruning
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import optimum

CLAIM = Claim(
    claim="The program prunes layers with a low gain and protects those with a high gain.",
    verdict=Verdict.CORRECTED,
    finding=r"""
The claim holds among layers of equal size. In general sparsity is ordered by $n_k / q_k^\kappa$: of two layers with
equal gain the larger one is pruned more, and a layer with more gain is pruned more if it is large enough.
""",
    proofs=("pruning", "knobs"),
    facts=(
        Fact(
            r"Equal gains, sizes $(1, 2)$, target $\tfrac54$:",
            (Fraction(1, 4), Fraction(1, 2)),
            lambda: optimum(pruning([1, 1], [1, 2], target=1.25)),
        ),
        Fact(
            r"$q = (\tfrac38, \tfrac58)$, sizes $(1, 5)$, target 4: the layer with more gain has three times the "
            r"sparsity:",
            (Fraction(1, 4), Fraction(3, 4)),
            lambda: optimum(pruning([3, 5], [1, 5], target=4.0)),
        ),
    ),
)
