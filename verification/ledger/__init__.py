"""The claims ledger: every claim of the paper, what became of it, and numbers that anyone can check by hand.

A claim is one file in this folder, named by its number; there is nothing to register elsewhere.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from zetaplan import _found

if TYPE_CHECKING:
    from zetaplan.verification.ledger.claim import Claim


NUMBERED = re.compile(r"c\d\d-")


@lru_cache(maxsize=1)
def claims() -> dict[str, Claim]:
    """Every claim in this folder by its number, C1 to C24: the file c05_uniqueness.py holds C5."""
    modules = {name: module for name, module in _found.modules(sys.modules[__name__]).items() if NUMBERED.match(name)}
    return {f"C{int(name[1:3])}": module.CLAIM for name, module in modules.items()}
