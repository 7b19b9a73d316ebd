"""Why it is right: every theorem as a value whose steps are checked when the documentation is built.

A proof is one file in this folder; there is nothing to register elsewhere.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zetaplan.verification.proofs.proof import Proof


@lru_cache(maxsize=1)
def proofs() -> dict[str, Proof]:
    """Every proof in this folder, by the name of its file."""
    from zetaplan.verification.proofs.proof import Proof

    modules = {m.name: importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)}
    found = {name: getattr(module, "PROOF", None) for name, module in sorted(modules.items())}
    return {name: proof for name, proof in found.items() if isinstance(proof, Proof)}
