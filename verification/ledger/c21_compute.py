"""What does it cost on top of LayerIF?"""

from __future__ import annotations

from zetaplan.verification.ledger.claim import Claim, Fact, Verdict

SAMPLES = 32

CLAIM = Claim(
    claim="The framework needs no additional compute beyond the influence scores that it shares with LayerIF.",
    verdict=Verdict.CORRECTED,
    finding=r"""
True of the programs, which take $K$ numbers and cost next to nothing, and of the paper's experiments, in which
LayerIF's scores stand in for $\zeta^2$. Not true of $\zeta^2$ itself: influence scores do not contain
$g^{\top} \tilde H^{-1} g$. With the empirical Fisher matrix of a block it takes the Gram matrix of the per-sample
gradients on top of them; with a Hessian, matrix-vector products of about two gradients each. The counts below are
arithmetic; how long they take on a given machine is not claimed here.
""",
    proofs=("gram", "quadrature"),
    facts=(
        Fact(
            "32 samples: inner products of per-sample gradients, per block,",
            528,
            lambda: SAMPLES * (SAMPLES + 1) // 2,
        ),
    ),
)
