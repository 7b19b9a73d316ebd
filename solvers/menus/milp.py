"""A choice as a mixed-integer linear program, by HiGHS (Huangfu & Hall 2018): one binary for every option."""

from __future__ import annotations

import math

import numpy as np

from zetaplan.errors import InfeasibleError, SolverError
from zetaplan.spec.menus.answer import ChoiceSolution
from zetaplan.spec.menus.choice import Choice


def solve_milp(instance: Choice, *, mip_rel_gap: float = 0.0, time_limit: float = math.inf) -> ChoiceSolution:
    """The choice that HiGHS calls optimal; it works to tolerances of 1e-6 and proves nothing, `zetaplan.certify` does.

    mip_rel_gap : HiGHS stops at this relative gap; its own default is 1e-4.

    Raises SolverError where HiGHS finds no choice or oversteps a budget, InfeasibleError where it says there is none.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    n = instance.losses.size
    one = csr_array((np.ones(n), (instance.owner, np.arange(n))), shape=(instance.decisions, n))
    size = float(np.abs(instance.losses).max()) or 1.0
    scale = np.maximum(instance.costs.max(axis=0), np.finfo(float).tiny)
    options = {"mip_rel_gap": mip_rel_gap} | ({"time_limit": time_limit} if time_limit < math.inf else {})
    answer = milp(
        instance.losses / size,
        integrality=np.ones(n),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(one, 1.0, 1.0),
            LinearConstraint((instance.costs / scale).T, ub=instance.budgets / scale),
        ],
        options=options,
    )
    if answer.x is None:
        error = InfeasibleError if answer.status == 2 else SolverError
        raise error(f"HiGHS: {answer.message}; try method='exact'")
    rows = np.array(
        [a + int(np.argmax(answer.x[a:b])) for a, b in zip(instance.first, instance.first[1:], strict=False)]
    )
    for used, budget in zip(instance.costs[rows].T.tolist(), instance.budgets.tolist(), strict=True):
        if math.fsum([*used, -budget]) > 0.0:
            raise SolverError("HiGHS: its choice exceeds a budget by its tolerance; use method='exact'")
    none = np.full(instance.budgets.size, math.nan)
    multiplier = math.nan if instance.budgets.size == 1 else none
    return ChoiceSolution(instance, instance.options_of(rows), multiplier, method="milp")
