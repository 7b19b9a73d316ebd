"""Bounds in a few digits: upper bounds are rounded up, lower bounds are rounded down."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction


def at_most(value: float, digits: int = 2) -> str:
    """The value in `digits` significant digits, rounded up: 0.14 for 0.130155."""
    return _rounded(Decimal(value), digits, ROUND_CEILING)


def at_least(value: float, digits: int = 2) -> str:
    """The value in `digits` significant digits, rounded down."""
    return _rounded(Decimal(value), digits, ROUND_FLOOR)


def percent(share: float) -> str:
    """A share in percent, in three digits without trailing zeros: 50%, 0.812%; from 1000% on in whole percent."""
    return f"{100 * share:.3g}%" if abs(share) < 9.995 else f"{100 * share:,.0f}%"


def percent_at_most(share: float) -> str:
    """A share in percent, rounded up to three digits; from 1000% on it is rounded up to a whole percent."""
    if math.isfinite(share) and share >= 10.0:
        return f"{math.ceil(100 * Fraction(share)):,}%"
    return f"{_rounded(100 * Decimal(share), 3, ROUND_CEILING)}%"


def _rounded(value: Decimal, digits: int, rounding: str) -> str:
    return format(Context(prec=digits, rounding=rounding).plus(value), f".{digits}g").lower().replace("infinity", "inf")
