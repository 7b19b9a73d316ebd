"""Pruning with the penalty -log(1 - rho), under which no layer is removed completely."""

from __future__ import annotations

import math
from dataclasses import replace

import sympy as sp

from zetaplan.spec.instance import Arrayish, Instance, declare
from zetaplan.spec.programs.pruning import PRUNING, bits, eta, n, pruning_target, rho, w

BARRIER_PRUNING = replace(
    PRUNING,
    name="barrier_pruning",
    summary="sparsity with the penalty -log(1 - rho), up to a global target",
    terms=(
        replace(
            PRUNING.terms[0],
            objective=bits * n * (1 - rho) - eta * w * sp.log(1 - rho),
            upper=math.nextafter(1.0, 0.0),
        ),
    ),
)


def barrier_pruning(
    quality: Arrayish,
    sizes: Arrayish,
    *,
    sparsity: float | None = None,
    target: float | None = None,
    bits: float = 0.0,
    eta: float = 1.0,
    kappa: float = 1.0,
    lower: Arrayish = 0.0,
    upper: Arrayish = 0.99,
) -> Instance:
    """Declare a pruning with the penalty -log(1 - rho); caps are below 1. Other arguments are as in `pruning`.

    Examples:
        >>> inst = zp.barrier_pruning([1, 3], sizes=1.0, target=1.0)
        >>> zp.solve(inst).x.round(6)  # the kept fractions are proportional to the gains
        array([0.75, 0.25])
    """
    limit = pruning_target(sparsity, target, quality, sizes, upper)
    knobs = {"bits": bits, "eta": eta, "kappa": kappa}
    return declare(BARRIER_PRUNING, quality, (sizes,), limit, (lower,), (upper,), knobs)
