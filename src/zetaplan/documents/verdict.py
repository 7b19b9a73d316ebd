"""The verdict on a plan's document, with every check that was made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One check of a plan: whether it holds, and a description of the comparison."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Verdict:
    """All checks of a plan in order; the plan is valid if all of them hold."""

    checks: tuple[Check, ...]

    @property
    def valid(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.ok)
