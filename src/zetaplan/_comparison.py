"""The interval of a difference of losses in words. Command lines import this module, so it needs no numpy."""

from __future__ import annotations


def compared(low: float, high: float, unclear: str = "not measurably better than") -> str:
    """What the interval of a difference of losses says of a plan beside another. unclear : if it holds zero."""
    return "better than" if high < 0 else "worse than" if low > 0 else unclear
