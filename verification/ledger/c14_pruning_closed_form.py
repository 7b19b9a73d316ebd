"""C14: the closed form of pruning."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.pruning import pruning
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import multiplier, optimum, plan_at

small = pruning([1, 3], 1.0, target=1.25)

CLAIM = Claim(
    claim=(
        r"The optimal sparsity is $\rho_k = \operatorname{clip}((b + \lambda) n_k / (2 \eta q_k^\kappa), 0, 1)$ (Eq. "
        r"15)."
    ),
    verdict=Verdict.PROVED,
    finding=(
        r"The claim holds for $\psi(\rho) = \rho^2$ and $q_k > 0$. With a box per layer the same value is clipped to "
        r"the box inside the program."
    ),
    proofs=("pruning", "certificate"),
    tests=("tests/spec/test_derivation.py::test_closed_forms_of_the_paper",),
    facts=(
        Fact(
            r"$q = (\tfrac14, \tfrac34)$, unit sizes, target $\tfrac54$: the optimum is",
            (Fraction(15, 16), Fraction(5, 16)),
            lambda: optimum(small),
        ),
        Fact("with the multiplier", Fraction(15, 32), lambda: multiplier(small)),
        Fact(
            "at which the closed form is",
            (Fraction(15, 16), Fraction(5, 16)),
            lambda: plan_at(small, Fraction(15, 32)),
        ),
    ),
)
