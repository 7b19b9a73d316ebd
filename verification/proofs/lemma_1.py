"""Lemma 1: the minimiser of a damped quadratic model and its decrease."""

from __future__ import annotations

import sympy as sp

from zetaplan.verification.proofs.proof import Identity, Inequality, Proof, Theorem, above, at_least

g, gt = sp.symbols(r"g g^{\top}", commutative=False)
d, dt = sp.symbols(r"d d^{\top}", commutative=False)
H, M = sp.symbols(r"\tilde{H} M", commutative=False)

SCALAR = (dt * g, gt * d)  # a number is its own transpose
INVERSE = ((H * M, sp.Integer(1)), (M * H, sp.Integer(1)))

model = gt * d + dt * H * d / 2
gain = gt * M * g

a, b, c, x, y = sp.symbols("a b c x y", real=True)

PROOF = Proof(
    title="Lemma 1: the gain is twice the decrease",
    source="Lemma 1 and Eqs. 6-8 of the paper",
    statement=r"""
The model $Q(d) = g^{\top} d + \tfrac12 d^{\top} \tilde{H} d$ of a block has exactly one minimiser,
$d^{*} = -\tilde{H}^{-1} g$, and $-Q(d^{*}) = \tfrac12 \zeta^2$ with $\zeta^2 = g^{\top} \tilde{H}^{-1} g$.
""",
    assumptions=(r"$\tilde{H} = H + \tau I$ is symmetric and positive definite; $M$ is its inverse.",),
    steps=(
        Identity(
            r"Complete the square. $\tilde{H}$ and $M$ are symmetric, so $(d + Mg)^{\top} = d^{\top} + g^{\top} M$.",
            model,
            (dt + gt * M) * H * (d + M * g) / 2 - gain / 2,
            given=(*INVERSE, SCALAR),
        ),
        Identity(
            r"At $d = -Mg$ the square is 0, and the decrease is half the gain.",
            -(gt * (-M * g) + (-gt * M) * H * (-M * g) / 2),
            gain / 2,
            given=INVERSE[:1],
        ),
        Theorem(
            r"As $\tilde{H}$ is positive definite, the square in step 1 is positive unless $d = -Mg$: $d = -Mg$ is the "
            r"only minimiser.",
            names=("Gain.one_minimiser",),
        ),
        Inequality(
            r"Positive definiteness for two parameters: positive leading minors make the square positive.",
            above(a * x**2 + 2 * b * x * y + c * y**2, sp.Integer(0)),
            given=(above(a, sp.Integer(0)), above(a * c - b**2, sp.Integer(0)), above(x**2 + y**2, sp.Integer(0))),
        ),
        Inequality(
            r"The gain is never negative (two parameters; $M$ up to the positive factor $1 / (ac - b^2)$).",
            at_least(c * x**2 - 2 * b * x * y + a * y**2, sp.Integer(0)),
            given=(above(a, sp.Integer(0)), above(a * c - b**2, sp.Integer(0))),
        ),
        Theorem(
            "For a matrix of any size: the decrease at the minimiser is half the gain, and the gain is never negative.",
            names=("Gain.half_the_gain", "Gain.gain_nonnegative"),
        ),
    ),
    remark=r"""
The paper's abstract calls $\zeta^2$ "twice the decrease", its introduction the decrease itself. The abstract is right.
""",
)
