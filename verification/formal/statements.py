"""The statements of the theorems, as the files of the theory hold them; reading them takes no Coq."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

THEORY = Path(__file__).resolve().parent / "theory"
STATEMENT = re.compile(r"^(?:Theorem|Lemma) (\w+)\b.*?\n(?=Proof\.)", re.MULTILINE | re.DOTALL)


@cache
def statements() -> dict[str, str]:
    """Every theorem and lemma by file and name, `Separable.unique`, as it is written there, without its proof."""
    return {
        f"{path.stem}.{found[1]}": found[0].strip()
        for path in sorted(THEORY.glob("*.v"))
        for found in STATEMENT.finditer(path.read_text(encoding="utf-8"))
    }
