"""The block that a module belongs to, by their names."""

from __future__ import annotations

from collections.abc import Iterable


def owner_of(name: str, blocks: Iterable[str]) -> str | None:
    """The first of these blocks that is the named module or holds it; None if there is none."""
    return next((block for block in blocks if f"{name}.".startswith(f"{block}.")), None)
