"""C23: the stated constants of pruning."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.pruning import pruning
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import multiplier, optimum

stated = pruning([1, 1, 1, 1], 1000.0, sparsity=0.5, bits=16.0, eta=2.0)

CLAIM = Claim(
    claim=(
        r"The stated constants, $b = 16$, $\eta = 2$, $\kappa = 1$, with normalised gains and sizes in parameters "
        r"prune to the target."
    ),
    verdict=Verdict.REFUTED,
    finding=r"""
At $\lambda = 0$ the closed form is $\frac{16 n_k}{4 q_k} \ge 4 n_k$, so every layer with at least one parameter is
removed completely. The target, a lower bound, is slack, and the optimum removes the whole model. The published code
avoids this with unnormalised scores and a multiplier of either sign, that is, with an equality constraint. With $b =
0$, the default here, the target binds and $\eta$ cancels.
""",
    proofs=("pruning", "knobs"),
    tests=("tests/solvers/test_laws.py::test_without_a_price_the_constraint_binds",),
    facts=(
        Fact("Four equal layers of 1000 parameters, target 50%:", (Fraction(1),) * 4, lambda: optimum(stated)),
        Fact("with the multiplier", Fraction(0), lambda: multiplier(stated)),
        Fact(
            "With $b = 0$:",
            (Fraction(1, 2),) * 4,
            lambda: optimum(pruning([1, 1, 1, 1], 1000.0, sparsity=0.5, eta=2.0)),
        ),
    ),
)
