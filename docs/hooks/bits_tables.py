"""Tables of plans of formats, for the page "Bits per layer"."""

from __future__ import annotations

from typing import Any

from result_tables import NONE, from_to, load, signed, table

HEADS = (
    "plan",
    "bytes of all tensors",
    "perplexity",
    "difference of the loss",
    "95% interval",
    "divergence",
    "predicted",
)


def bits() -> str:
    """Plans of formats and the rules that they are compared with, one table for the bytes of each rule."""
    found = load("bits")["rows"]
    tables = []
    for rule in dict.fromkeys(row["at the bytes of"] for row in found):
        rows = [_row(row) for row in found if row["at the bytes of"] == rule]
        tables.append(f"### At the bytes of {rule}\n\n{table(HEADS, rows)}")
    return "\n\n".join(tables)


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of a table; the plan is bold if its whole interval is below zero."""
    promised = NONE if row["promised"] is None else f"{row['promised']:.4f}"
    mean, low, high = row["difference"] or (None, None, None)
    return (
        f"**{row['plan']}**" if mean is not None and high < 0 else row["plan"],
        f"{row['bytes']:,}",
        f"{row['perplexity']:.2f}",
        NONE if mean is None else signed(mean, 4),
        NONE if mean is None else from_to(low, high, 4),
        f"{row['divergence'][0]:.4f}",
        promised,
    )
