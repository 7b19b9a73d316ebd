"""A claim as a value: what was claimed, the verdict, what holds instead, and facts that are computed again."""

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
    """Numbers stated in full, and the computation that has to give exactly these (fractions, no tolerance)."""

    words: str
    expected: Value
    compute: Callable[[], object]

    def check(self) -> None:
        """Raises CertificateError where the computation gives anything else."""
        found = self.compute()
        if found != self.expected:
            raise CertificateError(f"{self.words}: the ledger says {self.expected}, the computation {found}")


@dataclass(frozen=True, eq=False)
class Claim:
    """One claim of the paper. Markdown, mathematics between dollars.

    finding : what is known. proofs : names of files in `verification.proofs`. facts : examples and counter-examples.
    tests : pytest node ids that hold the claim elsewhere in the suite; the ledger's own test runs every claim.
    """

    claim: str
    verdict: Verdict
    finding: str
    facts: tuple[Fact, ...]
    proofs: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()

    def check(self) -> None:
        """Compute every fact again. Raises CertificateError that says which one differs."""
        for fact in self.facts:
            fact.check()
