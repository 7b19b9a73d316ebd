"""Claims ledger: every claim of the paper with a verdict and facts that can be checked by hand.

A claim is one file in this folder, named by its number. It is found by import; none is registered.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from zetaplan import _found

if TYPE_CHECKING:
    from zetaplan.verification.ledger.claim import Claim


NUMBERED = re.compile(r"c\d\d-")


@lru_cache(maxsize=1)
def claims() -> dict[str, Claim]:
    """Every claim in this folder by its number, C1 to C24: the file c05_uniqueness.py holds C5."""
    return {f"C{int(name[1:3])}": module.CLAIM for name, module in _modules().items()}


def titles() -> dict[str, str]:
    """The title of every claim by its number: the file c05_uniqueness.py gives C5 the title "uniqueness"."""
    return {f"C{int(name[1:3])}": name[4:].replace("-", " ") for name in _modules()}


def _modules() -> dict[str, Any]:
    found = _found.modules(sys.modules[__name__])
    return {name: module for name, module in found.items() if NUMBERED.match(name)}
