"""The plans published with the paper's code."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.verification.ledger.claim import Claim, Fact, Verdict

SIZE, LAYERS, ETA, BITS = (
    218_103_808,
    32,
    2,
    16,
)  # per decoder layer of Mistral-7B; the constants published with the plans
MISSED, EXCEEDED = "0.0199904", "0.0644909"  # parameters; the audit's test sums the published plans in fractions


CLAIM = Claim(
    claim="The sparsities published with the paper's code are optimal plans of the stated program.",
    verdict=Verdict.REFUTED,
    finding=rf"""
For Mistral-7B at 50 %: the plan for CoLA misses its target by {MISSED} of 3489660928 parameters, summed in fractions,
and so is not feasible. The plan for CommonsenseQA exceeds its own by {EXCEEDED} and was published with a positive
multiplier, but a target that is exceeded has no price: plan and multiplier together break complementary slackness.
(With multiplier 0 the plan is optimal for $w_k = 16 n_k / (4 \rho_k)$ and no other weights inside the box.) Both
deviations are of the size of a bisection's tolerance; as optima of a target moved by as much both plans are
consistent with some unnormalised scores. With scores that sum to one and $b = 16$ they are not: the price would be
below $b$, the multiplier negative.
""",
    proofs=("certificate", "pruning"),
    tests=("tests/verification/test_audit_published.py::test_the_plans_published_with_the_paper",),
    facts=(
        Fact("The target is that many layers out of 32:", 16, lambda: Fraction(3_489_660_928, SIZE)),
        Fact(
            r"If all 32 layers had $\rho_k \le 0.51$ and shares that sum to one, "
            r"$\sum_k \frac{(b + \lambda) n_k}{2 \eta \rho_k} \le 1$ would bound the total price $b + \lambda$ by",
            Fraction(51, 25 * LAYERS * SIZE),
            lambda: 2 * ETA * Fraction(51, 100) / (LAYERS * SIZE),
        ),
        Fact("which is less than $b = 16$:", True, lambda: 2 * ETA * Fraction(51, 100) / (LAYERS * SIZE) < BITS),
    ),
)
