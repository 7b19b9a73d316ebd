"""The tables of the architectures that work, for the page "Which models work"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from result_tables import load, table

#: Columns of the table of architectures: a head, and the checks that it stands for.
CHECKS = {
    "scores": ("score, layers", "score, modules"),
    "products with H": ("product with ggn",),
    "pruning": ("magnitude", "wanda", "sparsegpt"),
    "rounding": ("rounding",),
    "low rank": ("low rank",),
    "PEFT, axolotl": ("peft", "axolotl"),
    "llm-compressor": ("llm-compressor",),
    "AlphaPruning": ("alphapruning",),
    "torch-prune": ("torch-prune",),
}


def models() -> str:
    """Every architecture by what works, one table for each kind."""
    found = load("models")
    notes = _reasons(found["table"])
    tables = []
    for kind, names in found["kinds"].items():
        rows = [(f"`{n}`", *(_cell(found["table"][n], checks, notes) for checks in CHECKS.values())) for n in names]
        tables.append(f"## {kind.capitalize()}\n\n{table(('architecture', *CHECKS), rows)}")
    listed = "\n".join(f"{number}. {reason}" for reason, number in notes.items())
    return "\n\n".join((*tables, f"## Reasons\n\n{listed}"))


def architectures() -> str:
    """How many architectures the tables have."""
    return str(len(load("models")["table"]))


def _cell(row: dict[str, str], checks: Sequence[str], notes: dict[str, int]) -> str:
    refused = dict.fromkeys(notes[_reason(row[check])] for check in checks if row[check] != "yes")
    return ", ".join(f"({number})" for number in refused) or "yes"


def _reasons(table: dict[str, dict[str, str]]) -> dict[str, int]:
    """The reasons of all refusals, numbered in the order in which they first appear."""
    messages = (message for row in table.values() for message in row.values() if message != "yes")
    return {reason: number for number, reason in enumerate(dict.fromkeys(map(_reason, messages)), 1)}


def _reason(message: str) -> str:
    """The message without the names of the model's modules, and without the text of other errors."""
    named = re.sub(r"'?\b(?:\w+\.)+\d+\.[\w.]+'?", "a module", re.sub(r"^(axolotl|peft): ", "", message))
    return re.sub(r"model_type='\w+'", "this model_type", named).split(" Incompatible")[0].replace("|", "/")
