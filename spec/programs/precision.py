"""Precision in bits per parameter of every layer, under one memory budget.

The squared error of uniform quantisation falls by a factor of 4 per bit, so the loss of a layer of weight w_k at b_k
bits is w_k 4^-b_k. The optimum is reverse water-filling: w_k 4^-b_k / n_k is equal for all layers inside their box.
"""

from __future__ import annotations

import math

import sympy as sp

from zetaplan.spec.instance import Arrayish, Instance, declare
from zetaplan.spec.program import Program, Scalar, Term, layer

b, w, n = layer("b"), layer("w"), layer("n")
beta = sp.Symbol("beta", nonnegative=True)

PRECISION = Program(
    name="precision",
    summary="bits to the layers with the highest gain, under a memory budget",
    terms=(
        Term(
            decision=b,
            weight=w,
            exponent=beta,
            unit_cost=n,
            argument="sizes",
            objective=w * 4 ** (-b),
            resource=n * b,
        ),
    ),
    scalars=(Scalar(beta, 1.0),),
    sense="<=",
    limit=sp.Symbol("M", positive=True),
    limit_argument="memory",
)


def precision(
    quality: Arrayish,
    sizes: Arrayish,
    memory: float,
    *,
    beta: float = 1.0,
    lower: Arrayish = 0.0,
    upper: Arrayish = math.inf,
) -> Instance:
    """Declare the precision b_k, in bits per parameter, of K layers.

    quality : (K,) any non-negative gains, not all zero; normalised to sum to 1.
    sizes : (K,) or scalar, > 0, parameters per layer. memory : bits that all layers together may use.
    beta : >= 0, curvature emphasis. lower, upper : (K,) or scalar, box on the bits; upper may be infinite.

    Raises SpecError for data outside these ranges and InfeasibleError for a memory below that of the floors.

    Examples:
        >>> inst = zp.precision([1, 4], sizes=1000, memory=8000)
        >>> zp.solve(inst).x.round(6)  # a gain of 4 times the size adds one bit
        array([3.5, 4.5])
    """
    return declare(PRECISION, quality, (sizes,), memory, (lower,), (upper,), {"beta": beta})
