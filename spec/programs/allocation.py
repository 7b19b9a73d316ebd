"""Allocation of capacity under a budget (Eq. 11 and Theorem 2 of the paper, with a box on every layer).

The utility log(1 + m) has diminishing returns. The solution is water-filling: inside its box a layer has
1 + m_k = gamma w_k / (pi c_k). With alpha = 0, the default, the budget binds and gamma cancels, so the plan depends
only on quality, costs, budget and beta.
"""

from __future__ import annotations

import math

import sympy as sp

from zetaplan.spec.instance import Arrayish, Instance, declare
from zetaplan.spec.program import Program, Scalar, Term, layer

m, w, c = layer("m"), layer("w"), layer("c")
alpha = sp.Symbol("alpha", nonnegative=True)
beta = sp.Symbol("beta", nonnegative=True)
gamma = sp.Symbol("gamma", positive=True)

ALLOCATION = Program(
    name="allocation",
    summary="capacity to the layers with the highest gain, under a budget",
    terms=(
        Term(
            decision=m,
            weight=w,
            exponent=beta,
            unit_cost=c,
            argument="costs",
            objective=alpha * c * m - gamma * w * sp.log(1 + m),
            resource=c * m,
        ),
    ),
    scalars=(Scalar(alpha, 0.0), Scalar(beta, 1.0), Scalar(gamma, 1.0)),
    sense="<=",
    limit=sp.Symbol("B", positive=True),
    limit_argument="budget",
)


def allocation(
    quality: Arrayish,
    costs: Arrayish,
    budget: float,
    *,
    alpha: float = 0.0,
    beta: float = 1.0,
    gamma: float = 1.0,
    lower: Arrayish = 0.0,
    upper: Arrayish = math.inf,
) -> Instance:
    """Declare the program that allocates capacity m_k (LoRA rank, experts, bits) to K layers, for `zetaplan.solve`.

    `allocation` is the program of given numbers; `zetaplan.allocate` makes a plan of it from measured scores.

    quality : (K,) any non-negative gains, not all zero; normalised to sum to 1.
    costs : (K,) or scalar, > 0, resource per unit of capacity (parameters, FLOPs, bytes).
    budget : resource that all layers together may use, at least the cost of the floors.
    alpha : >= 0, declared price: loss per unit of resource in the objective.
    beta : >= 0, curvature emphasis. gamma : > 0, strength of the benefit (loss).
    lower, upper : (K,) or scalar, box on the capacity; upper may be infinite.

    Raises SpecError for data outside these ranges and InfeasibleError for a budget below the floors.

    Examples:
        >>> inst = zp.allocation([1, 3], costs=1.0, budget=6.0)
        >>> zp.solve(inst).x
        array([1., 5.])
    """
    return declare(
        ALLOCATION,
        quality,
        (costs,),
        budget,
        (lower,),
        (upper,),
        {"alpha": alpha, "beta": beta, "gamma": gamma},
    )
