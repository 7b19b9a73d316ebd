"""Pruning with the penalty rho^p, p > 1. The paper has p = 2; a larger p penalises low sparsities less."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from zetaplan.spec.instance import Arrayish, Instance, declare
from zetaplan.spec.program import Scalar
from zetaplan.spec.programs.pruning import PRUNING, bits, eta, n, pruning_target, rho, w

p = sp.Symbol("p", positive=True)

POWER_PRUNING = replace(
    PRUNING,
    name="power_pruning",
    summary="sparsity with the penalty rho^p, up to a global target",
    terms=(replace(PRUNING.terms[0], objective=bits * n * (1 - rho) + eta * w * rho**p),),
    scalars=(*PRUNING.scalars, Scalar(p, 2.0, above=1.0, least=1.0001, most=100.0)),
)


def power_pruning(
    quality: Arrayish,
    sizes: Arrayish,
    *,
    sparsity: float | None = None,
    target: float | None = None,
    p: float = 2.0,
    bits: float = 0.0,
    eta: float = 1.0,
    kappa: float = 1.0,
    lower: Arrayish = 0.0,
    upper: Arrayish = 1.0,
) -> Instance:
    """Declare a pruning with the penalty rho^p; 1.0001 <= p <= 100, other arguments are as in `pruning`.

    Examples:
        >>> inst = zp.power_pruning([1, 8], sizes=1.0, target=0.6, p=4.0)
        >>> zp.solve(inst).x.round(6)  # inversely proportional to the cube roots of the gains
        array([0.4, 0.2])
    """
    limit = pruning_target(sparsity, target, quality, sizes, upper)
    knobs = {"bits": bits, "eta": eta, "kappa": kappa, "p": p}
    return declare(POWER_PRUNING, quality, (sizes,), limit, (lower,), (upper,), knobs)
