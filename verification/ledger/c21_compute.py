"""What does it cost on top of LayerIF?"""

from __future__ import annotations

from fractions import Fraction

import sympy as sp

from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import number
from zetaplan.verification.proofs.gram import direct_gain, gram_gain, gram_matrix

APART, TOGETHER = sp.Matrix([[1, 0], [0, 1]]), sp.Matrix([[1, 0], [1, 0]])  # one gradient per row


def diagonal(gradients: sp.Matrix) -> tuple[Fraction, ...]:
    """Of the Gram matrix: the squared length of every gradient over N."""
    return tuple(map(number, gram_matrix(gradients).diagonal()))


CLAIM = Claim(
    claim="The framework needs no additional compute beyond the influence scores that it shares with LayerIF.",
    verdict=Verdict.CORRECTED,
    finding=r"""
True of the programs, which take $K$ numbers and cost next to nothing, and of the paper's experiments, in which
LayerIF's scores stand in for $\zeta^2$. Not true of $\zeta^2$ itself: influence scores do not contain
$g^{\top} \tilde H^{-1} g$. With the empirical Fisher matrix of a block it takes the Gram matrix of the per-sample
gradients on top of them, $N (N + 1) / 2$ inner products for $N$ samples; with a Hessian, matrix-vector products of
about two gradients each. How long they take on a given machine is not claimed here.
""",
    proofs=("gram", "quadrature"),
    tests=("tests/verification/test_ledger.py::test_c21_the_library_needs_the_inner_products",),
    facts=(
        Fact(
            r"The lengths of the samples' gradients do not give $\zeta^2$. Two gradients of length 1 at a right angle, "
            r"and two in one direction, have Gram matrices with the diagonals",
            ((Fraction(1, 2), Fraction(1, 2)), (Fraction(1, 2), Fraction(1, 2))),
            lambda: (diagonal(APART), diagonal(TOGETHER)),
        ),
        Fact(
            r"and at $\tau = 1$ the gains",
            (Fraction(1, 3), Fraction(1, 2)),
            lambda: (number(gram_gain(APART, sp.Integer(1))), number(gram_gain(TOGETHER, sp.Integer(1)))),
        ),
        Fact(
            r"which are those of $g^{\top} (F + \tau I)^{-1} g$:",
            (Fraction(1, 3), Fraction(1, 2)),
            lambda: (number(direct_gain(APART, sp.Integer(1))), number(direct_gain(TOGETHER, sp.Integer(1)))),
        ),
    ),
)
