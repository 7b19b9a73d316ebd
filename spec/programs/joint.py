"""Joint choice of capacity and sparsity under one memory budget.

The two decisions of a layer, m_k and rho_k, share one constraint and one multiplier. At the optimum the marginal
benefit per parameter added equals the marginal loss per parameter removed, for all layers inside their boxes.
"""

from __future__ import annotations

import math

import sympy as sp

from zetaplan.spec.instance import Arrayish, Instance, declare
from zetaplan.spec.program import Program, Scalar, Term, layer

m, rho, w, v, c, n = (layer(name) for name in ("m", "rho", "w", "v", "c", "n"))
beta, kappa = (sp.Symbol(name, nonnegative=True) for name in ("beta", "kappa"))
gamma, eta = (sp.Symbol(name, positive=True) for name in ("gamma", "eta"))

JOINT = Program(
    name="joint",
    summary="capacity to high gain and sparsity to low gain, under one memory budget",
    terms=(
        Term(
            decision=m,
            weight=w,
            exponent=beta,
            unit_cost=c,
            argument="costs",
            objective=-gamma * w * sp.log(1 + m),
            resource=c * m,
        ),
        Term(
            decision=rho,
            weight=v,
            exponent=kappa,
            unit_cost=n,
            argument="sizes",
            objective=eta * v * rho**2,
            resource=-n * rho,
            upper=1.0,
        ),
    ),
    scalars=(Scalar(beta, 1.0), Scalar(gamma, 1.0), Scalar(eta, 1.0), Scalar(kappa, 1.0)),
    sense="<=",
    limit=sp.Symbol("B", real=True),
    limit_argument="budget",
)


def joint(
    quality: Arrayish,
    costs: Arrayish,
    sizes: Arrayish,
    budget: float,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    eta: float = 1.0,
    kappa: float = 1.0,
    lower: tuple[Arrayish, Arrayish] = (0.0, 0.0),
    upper: tuple[Arrayish, Arrayish] = (math.inf, 1.0),
) -> Instance:
    """Declare capacity m_k and sparsity rho_k of K layers; a plan has shape (2, K).

    quality : (K,) any non-negative gains, not all zero; normalised to sum to 1.
    costs : parameters per unit of capacity; sizes : parameters per layer; (K,) or scalar, > 0.
    budget : parameters by which the model may grow; a negative budget is a required reduction.
    beta, kappa : >= 0, curvature emphasis of capacity and sparsity. gamma, eta : > 0, their strengths.
    lower, upper : pairs of (K,) or scalar, the boxes of capacity and of sparsity.

    Raises SpecError for data outside these ranges and InfeasibleError if the caps do not allow the budget.

    Examples:
        >>> inst = zp.joint([1, 3], costs=[1, 1], sizes=[8, 8], budget=0)
        >>> capacity, sparsity = zp.solve(inst).x
        >>> bool(abs(capacity.sum() - 8 * sparsity.sum()) < 1e-9)  # parameters added = parameters removed
        True
    """
    knobs = {"beta": beta, "gamma": gamma, "eta": eta, "kappa": kappa}
    return declare(JOINT, quality, (costs, sizes), budget, lower, upper, knobs)
