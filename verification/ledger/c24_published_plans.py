"""C24: the plans published with the paper's code."""

from __future__ import annotations

from fractions import Fraction

import sympy as sp

from zetaplan.spec.derivation import derive
from zetaplan.spec.program import MULTIPLIER
from zetaplan.spec.programs.pruning import PRUNING, bits, eta, n, pruning, rho, w
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import multiplier, number, optimum

# Parameters of a decoder layer of Mistral-7B, and the constants that were published with the plans.
SIZE, LAYERS, ETA, BITS = 218_103_808, 32, 2, 16
stated = pruning([1.0] * LAYERS, float(SIZE), sparsity=0.5, bits=float(BITS), eta=float(ETA))
MISSED, EXCEEDED = "0.0199904", "0.0644909"  # parameters; the audit's test sums the published plans in fractions


def highest_total_price() -> Fraction:
    """b + lambda at which a layer of weight 1/32 has sparsity 0.51."""
    (derived,) = derive(PRUNING)
    slope = derived.stationarity.subs({n: SIZE, eta: ETA, w: sp.Rational(1, LAYERS), rho: sp.Rational(51, 100)})
    (multiplier,) = sp.solve(slope, MULTIPLIER)
    return number(multiplier + bits)


CLAIM = Claim(
    claim="The sparsities published with the paper's code are optimal plans of the stated program.",
    verdict=Verdict.REFUTED,
    finding=rf"""
For Mistral-7B at 50% the plan for CoLA misses its target by {MISSED} of 3489660928 parameters, summed in fractions, and
is not feasible. The plan for CommonsenseQA exceeds its target by {EXCEEDED} and was published with a positive
multiplier, so plan and multiplier violate complementary slackness.
(With multiplier 0 the plan is optimal for $w_k = 16 n_k / (4 \rho_k)$ and no other weights inside the box.) Both
deviations are of the size of a bisection's tolerance, and below 1e-9 of the target, which `zetaplan audit` accepts as
rounding. For targets changed by these deviations both plans are optimal for some unnormalised scores. For scores that
sum to 1 and $b = 16$ they are not, because the total price would be below $b$ and the multiplier negative.
""",
    proofs=("certificate", "pruning"),
    tests=("tests/verification/test_audit_published.py::test_the_plans_published_with_the_paper",),
    facts=(
        Fact(
            "The target in layers out of 32 is",
            16,
            lambda: Fraction(stated.limit) / SIZE,
        ),
        Fact(
            "With equal scores that sum to one the optimum of the stated program removes everything: the least "
            "sparsity and the multiplier are",
            (Fraction(1), Fraction(0)),
            lambda: (min(optimum(stated)), multiplier(stated)),
        ),
        Fact(
            r"Shares that sum to one leave some layer a weight of at most $\tfrac{1}{32}$. Such a layer has "
            r"$\rho_k \le 0.51$ only up to the total price $b + \lambda =$",
            Fraction(51, 25 * LAYERS * SIZE),
            highest_total_price,
        ),
        Fact(
            "which is less than $b = 16$:",
            True,
            lambda: highest_total_price() < BITS,
        ),
    ),
)
