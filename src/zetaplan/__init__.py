"""How much for each layer? Capacity and sparsity plans for language models, with a proof.

    inst = zp.pruning(gains, sizes, sparsity=0.5, upper=0.8)
    sol = zp.solve(inst)
    assert zp.certify(inst, sol).valid

Names load when first used, so that `import zetaplan` does not import torch, sympy or cvxpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zetaplan.errors import (
    CertificateError,
    InfeasibleError,
    ScoringError,
    SolverError,
    SpecError,
    ZetaplanError,
)

if TYPE_CHECKING:
    from zetaplan.solvers import solve
    from zetaplan.spec.allocation import allocation
    from zetaplan.spec.instance import Instance
    from zetaplan.spec.pruning import pruning
    from zetaplan.spec.solution import Solution, Status
    from zetaplan.verification.certificate import Certificate, certify

__version__ = "0.1.0"

_HOME = {
    "allocation": "zetaplan.spec.allocation",
    "pruning": "zetaplan.spec.pruning",
    "Instance": "zetaplan.spec.instance",
    "Solution": "zetaplan.spec.solution",
    "Status": "zetaplan.spec.solution",
    "solve": "zetaplan.solvers",
    "Certificate": "zetaplan.verification.certificate",
    "certify": "zetaplan.verification.certificate",
}

__all__ = [
    "Certificate",
    "CertificateError",
    "InfeasibleError",
    "Instance",
    "ScoringError",
    "Solution",
    "SolverError",
    "SpecError",
    "Status",
    "ZetaplanError",
    "allocation",
    "certify",
    "pruning",
    "solve",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"zetaplan has no public name {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
