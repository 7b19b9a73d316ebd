"""A condition of optimality: what certificates of every kind are made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Condition:
    """One condition: by how much it is missed (relative, no unit), what was tolerated, and what it means."""

    name: str
    residual: float
    tolerance: float
    meaning: str

    @property
    def ok(self) -> bool:
        return self.residual <= self.tolerance  # false for NaN
