"""Numbers with a noun in the singular or plural: 1 layer, 2 layers."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the singular for 1: `counted(1, "layer")` is "1 layer"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
