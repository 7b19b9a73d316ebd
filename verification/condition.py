"""Conditions of optimality, the parts of every certificate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Condition:
    """One condition. residual : violation, relative and dimensionless. meaning : the condition in words."""

    name: str
    residual: float
    tolerance: float
    meaning: str

    @property
    def ok(self) -> bool:
        return self.residual <= self.tolerance  # false for NaN
