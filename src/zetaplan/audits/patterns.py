"""Regular expressions from files of strangers: what they may contain, so that no file stops the program.

A backtracking matcher can take exponential time. The package regex stops after a given time; beforehand the length of a
pattern and its counts are bounded, because a compiled pattern needs memory for every count.
"""

from __future__ import annotations

import math
import re
from typing import Any

import regex

from zetaplan.errors import SpecError, shown

LENGTH, COUNTS = 4096, 1000
COUNT = re.compile(r"\{(\d*)(?:,(\d*))?\}")
#: Groups that other grammars lack or read otherwise: recursion, conditions, flags, code points of another engine.
FOREIGN = re.compile(r"\(\?(?![:=!])|\(\*")


def compiled(pattern: str, key: str) -> Any:
    """The compiled pattern. key : the entry as written. Raises SpecError if it is invalid or beyond the bounds."""
    if problem := _problem(pattern):
        raise SpecError(f"entry {shown(key)}: {problem}; correct the pattern")
    try:
        return regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError, ValueError) as error:
        words = "too deeply nested" if isinstance(error, RecursionError) else " ".join(str(error).split())[:80]
        raise SpecError(f"entry {shown(key)}: no regular expression: {words}; correct the pattern") from error


def _problem(pattern: str) -> str:
    if len(pattern) > LENGTH:
        return f"the pattern has {len(pattern)} characters, at most {LENGTH} are allowed"
    if FOREIGN.search(pattern):
        return "groups other than (...), (?:...), (?=...) and (?!...) are read differently by every tool"
    counts = [int(number[:9]) for found in COUNT.finditer(pattern) if (number := found[2] or found[1])]
    if math.prod(max(count, 1) for count in counts) > COUNTS:
        return f"its counts in braces multiply to more than {COUNTS}"
    if re.search(r"(?<!\\)\{(?!\d+(,\d*)?\})", pattern):
        return "a brace that is no count"
    return ""
