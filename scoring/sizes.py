"""Sizes of memory in words, such as 2GB."""

import re
from fractions import Fraction
from numbers import Integral
from typing import Any

from zetaplan.errors import ScoringError, shown

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}

SIZE = r"\s*((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[0-9]{1,2})?)\s*([kmgt]?i?)b?\s*"


def as_bytes(size: Any, argument: str = "memory") -> int | None:
    """The number of bytes of a size: 2_000_000_000 for "2GB" and "2e9"; powers of 1024 for KiB, MiB, GiB."""
    if size is None:
        return None
    if not isinstance(size, bool) and isinstance(size, Integral) and int(size) >= 0:
        return int(size)
    match = re.fullmatch(SIZE, str(size).lower(), re.ASCII)
    if not isinstance(size, str) or not match or match[2] not in UNITS:
        raise ScoringError(f"{argument}: expected a size such as 2GB, 500MB or 1GiB, got {shown(size)}")
    return int(Fraction(match[1]) * UNITS[match[2]])
