"""Proofs: every theorem as a value whose steps are checked when the documentation is built.

A proof is one file in this folder. It is found by import; none is registered.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from zetaplan import _found

if TYPE_CHECKING:
    from zetaplan.verification.proofs.proof import Proof


@lru_cache(maxsize=1)
def proofs() -> dict[str, Proof]:
    """Every proof in this folder, by the name of its file."""
    from zetaplan.verification.proofs.proof import Proof

    modules = _found.modules(sys.modules[__name__])
    found = {name.replace("-", "_"): getattr(module, "PROOF", None) for name, module in modules.items()}
    return {name: proof for name, proof in found.items() if isinstance(proof, Proof)}
