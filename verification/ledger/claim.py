"""Claims as values: the claim, the verdict, the corrected statement, and facts that are recomputed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from zetaplan.errors import CertificateError

Value = Fraction | int | bool | tuple["Value", ...]


class Verdict(Enum):
    PROVED = "proved"
    CORRECTED = "proved as corrected"
    REFUTED = "refuted"
    OPEN = "open"


@dataclass(frozen=True, eq=False)
class Fact:
    """Stated numbers and a computation that must give the same numbers (fractions, no tolerance)."""

    words: str
    expected: Value
    compute: Callable[[], object]

    def check(self) -> None:
        """Raise CertificateError if the computation gives other numbers."""
        found = self.compute()
        if found != self.expected:
            raise CertificateError(f"{self.words}: expected {self.expected}, computed {found}")


@dataclass(frozen=True, eq=False)
class Claim:
    """One claim of the paper. Markdown, mathematics between dollars.

    finding : the corrected statement. proofs : names of files in `verification.proofs`. facts : examples and
    counter-examples. tests : pytest node ids of further tests of the claim; the ledger's own test checks every claim.
    """

    claim: str
    verdict: Verdict
    finding: str
    facts: tuple[Fact, ...]
    proofs: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()

    def check(self) -> None:
        """Recompute every fact. Raises CertificateError with the fact that differs."""
        for fact in self.facts:
            fact.check()
