"""The claims ledger: every claim of the paper, what became of it, and numbers that anyone can check by hand.

A claim is one file in this folder, named by its number; there is nothing to register elsewhere.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zetaplan.verification.ledger.claim import Claim


@lru_cache(maxsize=1)
def claims() -> dict[str, Claim]:
    """Every claim in this folder by its number, C1 to C24: the file c05_uniqueness.py holds C5."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if re.match(r"c\d\d_", module.name))
    return {f"C{int(name[1:3])}": importlib.import_module(f"{__name__}.{name}").CLAIM for name in names}
