"""C9: beta = 0."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

from zetaplan.spec.programs.allocation import allocation
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import Plan, optimum


def plan(quality: tuple[int, int]) -> Plan:
    return optimum(allocation(quality, [1, 2], 6.0, beta=0.0))


CLAIM = Claim(
    claim=r"With $\beta = 0$ the curvature is discarded and the plan depends on the costs alone.",
    verdict=Verdict.PROVED,
    finding=r"The claim holds with $0^0 = 1$, so that a layer without gain has the same weight as the others.",
    proofs=("exponent",),
    facts=tuple(
        Fact(
            f"$q$ proportional to ${quality}$, $c = (1, 2)$, $B = 6$: the plan is",
            (Fraction(7, 2), Fraction(5, 4)),
            partial(plan, quality),
        )
        for quality in ((1, 3), (1, 15), (0, 1))
    ),
)
