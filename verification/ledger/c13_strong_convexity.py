"""Strong convexity of the pruning program."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.constants import constants
from zetaplan.spec.pruning import pruning
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import objective

flat = pruning([1, 0, 0], 1.0, target=0.5)

CLAIM = Claim(
    claim="The pruning objective is strongly convex and its minimiser is unique.",
    verdict=Verdict.CORRECTED,
    finding=r"""
Strongly convex with constant exactly $2 \eta \min_k q_k^\kappa$, which has no lower bound on the simplex. It is 0 as
soon as one layer has no gain (and $\kappa > 0$); with $b = 0$ and two such layers the minimiser is not unique.
""",
    proofs=("pruning",),
    tests=("tests/spec/test_derivation.py::test_constants_of_pruning_are_those_of_the_ledger",),
    facts=(
        Fact(
            r"$\eta = \kappa = 1$, $q = (\tfrac{1}{1024}, \tfrac{1023}{1024})$: the constant is",
            Fraction(1, 512),
            lambda: Fraction(constants(pruning([1, 1023], 1.0)).mu),
        ),
        Fact(
            r"$q = (1, 0, 0)$, unit sizes, target $\tfrac12$, $b = 0$: the plans $(0, \tfrac12, 0)$ and "
            r"$(0, 0, \tfrac12)$ meet it and have the objectives",
            (0, 0),
            lambda: (objective(flat, [0, 0.5, 0]), objective(flat, [0, 0, 0.5])),
        ),
    ),
)
