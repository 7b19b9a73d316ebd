"""Markdown tables, and the committed results of benchmarks that they show."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

NONE = "–"  # a cell without a value
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table. Raises ValueError for a cell that Markdown would take for two, or a row of another length."""
    lines = [heads, ["---"] * len(heads), *rows]
    for line in lines:
        if len(line) != len(heads) or any("|" in cell for cell in line):
            raise ValueError(f"{line}: expected {len(heads)} cells without '|'; write \\vert in mathematics")
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def signed(value: float, digits: int) -> str:
    """A difference with its sign."""
    return f"{value:+.{digits}f}"


def from_to(low: float, high: float, digits: int) -> str:
    """An interval of a difference, which no line break divides."""
    return f"{signed(low, digits)}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{signed(high, digits)}"


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return loaded
