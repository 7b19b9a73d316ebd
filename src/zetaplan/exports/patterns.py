"""Rules of matching that several tools share: expressions at the start of a name or anywhere in it, and defaults."""

from __future__ import annotations

import re
from collections.abc import Sequence

from zetaplan.exports.targets import Entry, Value


def from_start(expression: str) -> str:
    """The pattern of a tool that matches an expression at the start of a name, and leaves its end open."""
    return whole(expression) or f"(?:{expression}).*"


def anywhere(expression: str) -> str:
    """The pattern of a tool that searches an expression in a name."""
    return whole(expression) or f"(?s:.*)(?:{expression})(?s:.*)"


def whole(expression: str) -> str:
    """The name between ^ and $, as a pattern; "" if there is something else."""
    inner = re.sub(r"\\(\W)", r"\1", expression.removeprefix("^").removesuffix("$"))
    return re.escape(inner) if expression == f"^{re.escape(inner)}$" else ""


def rest(key: str, value: Value, entries: Sequence[Entry], names: Sequence[str]) -> tuple[Entry, ...]:
    """The entry of a default that applies to the names without an entry; none if every name has one."""
    set_already = effective(entries, names)
    left = [name for name in names if name not in set_already]
    return (Entry(key, value, "|".join(map(re.escape, left))),) if left else ()


def effective(entries: Sequence[Entry], names: Sequence[str]) -> dict[str, Value]:
    """The value of every name that an entry matches; the first match applies."""
    known, found = dict.fromkeys(names), dict[str, Value]()
    for entry in entries:
        for name in entry.among(known):
            found.setdefault(name, entry.value)
    return found
