"""C13: strong convexity of the pruning program."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.constants import constants
from zetaplan.spec.programs.pruning import pruning
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import objective

flat = pruning([1, 0], 1.0, target=0.5)

CLAIM = Claim(
    claim="The pruning objective is strongly convex and its minimiser is unique.",
    verdict=Verdict.CORRECTED,
    finding=r"""
The objective is strongly convex with constant $2 \eta \min_k q_k^\kappa$, which has no positive lower bound on the
simplex. The constant is 0 if a layer has no gain (and $\kappa > 0$). The minimiser is then still unique if the total
price $b + \lambda$ is positive. It is not unique if and only if $b = 0$ and the layers without gain, not all with equal
bounds, can remove more than the target requires beyond the floors of the others.
""",
    proofs=("pruning",),
    tests=(
        "tests/spec/test_derivation.py::test_constants_of_pruning_are_those_of_the_ledger",
        "tests/solvers/test_rational.py::test_unique_unless_a_free_resource_is_left_to_layers_without_weight",
    ),
    facts=(
        Fact(
            r"$\eta = \kappa = 1$, $q = (\tfrac{1}{1024}, \tfrac{1023}{1024})$: the constant is",
            Fraction(1, 512),
            lambda: Fraction(constants(pruning([1, 1023], 1.0)).mu),
        ),
        Fact(
            r"$q = (1, 0)$, unit sizes, target $\tfrac12$, $b = 0$: the plans $(0, \tfrac12)$ and $(0, 1)$ meet it "
            "and have the objectives",
            (0, 0),
            lambda: (objective(flat, [0, 0.5]), objective(flat, [0, 1])),
        ),
    ),
)
