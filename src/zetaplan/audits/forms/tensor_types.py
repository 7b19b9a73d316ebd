"""`tensor-types`: what llama-quantize reads by --tensor-type-file, and recipes of the same form.

Items REGEX=TYPE, separated by white space. A pattern is divided at its first "=", changed to lower case, and searched
anywhere in the name of a tensor; the first one that is found applies. Recipes of Thireus' suite have comments too.
"""

from __future__ import annotations

import re

from zetaplan.audits.foreign import ForeignPlan, Setting, Source, setting
from zetaplan.audits.sizes import TYPES
from zetaplan.errors import SpecError, shown

ITEM = re.compile(r"[^\s=]+=[A-Za-z0-9_]+", re.ASCII)
LIMIT = 100_000  # items


def recognises(source: Source) -> bool:
    """Is the first item REGEX=TYPE?"""
    first = next(iter(_items(source.text)), "")
    return ITEM.fullmatch(first) is not None


def read(source: Source) -> ForeignPlan:
    """The items of the file. Types that llama.cpp does not have are kept; their size is unknown."""
    items = _items(source.text)
    if broken := next((item for item in items if not ITEM.fullmatch(item)), None):
        raise SpecError(f"{source.path}: {shown(broken)}: expected REGEX=TYPE; remove it")
    if len(items) > LIMIT:
        raise SpecError(f"{source.path}: {len(items)} items, at most {LIMIT} are read")
    return ForeignPlan(
        "tensor-types", "llama.cpp", tuple(map(_setting, items)), "gguf", remarks=_remarks(source, items)
    )


def _items(text: str) -> list[str]:
    return [item for line in text.splitlines() if not line.lstrip().startswith("#") for item in line.split()]


def _setting(item: str) -> Setting:
    pattern, _, label = item.partition("=")
    return setting(item, label.lower(), "search", pattern.lower())


def _remarks(source: Source, items: list[str]) -> tuple[str, ...]:
    found = []
    if re.search(r"(?m)^\s*#", source.text):
        found.append("lines that begin with # are comments here; llama-quantize has none and refuses the file")
    if lowered := [item for item in items if (pattern := item.partition("=")[0]) != pattern.lower()]:
        found.append(f"{shown(lowered[0])} is read in lower case, which changes \\D, \\S, \\W and capital letters")
    if unknown := sorted({label for item in items if (label := item.partition("=")[2].lower()) not in TYPES}):
        found.append(f"llama.cpp has no type {', '.join(unknown)}")
    return tuple(found)
