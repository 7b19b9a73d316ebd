"""C19: Theorem 4."""

from __future__ import annotations

from fractions import Fraction

import sympy as sp

from zetaplan.spec.constants import constants
from zetaplan.spec.programs.pruning import pruning
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import number, objective, optimum, slopes

source = pruning([1, 1], 1.0, target=1.0, upper=0.75)
target = pruning([1, 7], 1.0, target=1.0, upper=0.75)


def regret() -> sp.Expr:
    """F_T(x_S) - F_T(x_T)."""
    return objective(target, optimum(source)) - objective(target, optimum(target))


def squared_distance() -> Fraction:
    return sum(((x - y) ** 2 for x, y in zip(optimum(source), optimum(target), strict=True)), Fraction(0))


def slope_change() -> Fraction:
    """|grad F_T(x_S) - grad F_S(x_S)|^2."""
    pairs = zip(slopes(target, optimum(source)), slopes(source, optimum(source)), strict=True)
    return sum(((t - s) ** 2 for t, s in pairs), Fraction(0))


mu, smoothness = Fraction(constants(target).mu), Fraction(constants(target).L)

CLAIM = Claim(
    claim=(
        r"Theorem 4: the regret of transferred scores is at most $\frac{L L_q^2}{2 \mu^2} \lVert q_S - q_T \rVert^2$."
    ),
    verdict=Verdict.CORRECTED,
    finding=r"""
The inequality holds. Its proof has a gap: step 2 bounds the regret by $\tfrac{L}{2} |x_S - x_T|^2$, which
drops a linear term that does not vanish when a bound is active. The variational inequality of the source's optimum
gives $R \le \frac{L_q^2}{2 \mu} |q_S - q_T|^2$, without smoothness and without a condition on the boundary; Theorem 4
follows from it. Duality gaps at the ends of a box of scores give a much smaller bound.
""",
    proofs=("regret", "drift"),
    tests=(
        "tests/verification/test_regret.py::test_c19_the_paper_s_proof_drops_a_term_that_is_not_zero",
        "tests/verification/test_regret.py::test_no_drift_costs_more_than_any_bound",
        "tests/verification/test_regret.py::test_no_shares_of_a_box_cost_more",
        "tests/verification/test_regret.py::test_dual_ends_come_near_the_worst_corner",
        "tests/verification/test_relative_regret.py::test_no_drift_costs_more",
        "tests/verification/test_relative_regret.py::test_no_drift_of_any_instance_costs_more",
    ),
    facts=(
        Fact(
            r"Unit sizes, target 1, caps $\tfrac34$; $q_S = (\tfrac12, \tfrac12)$, $q_T = (\tfrac18, \tfrac78)$: the "
            r"optima are",
            ((Fraction(1, 2), Fraction(1, 2)), (Fraction(3, 4), Fraction(1, 4))),
            lambda: (optimum(source), optimum(target)),
        ),
        Fact("the regret is", Fraction(1, 8), lambda: number(regret())),
        Fact(
            r"and step 2 would bound it by $\tfrac{L}{2} |x_S - x_T|^2 =$",
            Fraction(7, 64),
            lambda: smoothness / 2 * squared_distance(),
        ),
        Fact(
            r"The bound without condition number, $\frac{1}{2 \mu} |\nabla F_T(x_S) - \nabla F_S(x_S)|^2$, is",
            Fraction(9, 16),
            lambda: slope_change() / (2 * mu),
        ),
        Fact(
            r"and that of Theorem 4 is larger by $L / \mu$:",
            Fraction(63, 16),
            lambda: slope_change() / (2 * mu) * smoothness / mu,
        ),
    ),
)
