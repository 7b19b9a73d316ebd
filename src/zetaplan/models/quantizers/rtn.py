"""Integers, rounded to nearest: int4-g64 is symmetric with groups of 64 columns, int4-g64-asym has zero points.

Without a group, as in int8, every row has one scale.
"""

from __future__ import annotations

from zetaplan.models.quantizers._integers import Integer, parsed

FORMS = "intB, intB-gN, intB-gN-asym (B bits from 2 to 8, groups of N columns)"


def parse(label: str) -> Integer | None:
    found = parsed(label, "int")
    return Integer(label, *found) if found else None
