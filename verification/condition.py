"""Conditions of optimality, the parts of every certificate."""

from __future__ import annotations

from dataclasses import dataclass

from zetaplan._display import Columns, Display


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


class Conditions(Display):
    """Base of certificates: the conditions that were checked, and a gap to the optimum."""

    conditions: tuple[Condition, ...]
    gap: float

    @property
    def valid(self) -> bool:
        return all(condition.ok for condition in self.conditions)

    @property
    def failures(self) -> tuple[Condition, ...]:
        return tuple(condition for condition in self.conditions if not condition.ok)

    def _headline(self) -> str:
        if self.failures:
            failing = ", ".join(f"{one.name} (residual {one.residual:.3g})" for one in self.failures)
            return f"not valid: {failing}; expected at most {self.failures[0].tolerance:g}"
        largest = max((one.residual for one in self.conditions), default=0.0)
        return f"valid: all {len(self.conditions)} conditions hold, largest residual {largest:.2g}, gap {self.gap:.3g}"

    def _columns(self) -> Columns:
        names = ("residual", "tolerance", "ok", "meaning")
        columns = {name: [getattr(one, name) for one in self.conditions] for name in names}
        return {"condition": [one.name for one in self.conditions], **columns}
