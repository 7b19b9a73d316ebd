"""Solvers: `exact` (finite), `bisection` (the paper's algorithms) and `cvxpy` (a general-purpose reference).

METHODS maps the name of a method to its file, which defines a function `solve_<name>`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, cast

from zetaplan.errors import SpecError
from zetaplan.spec.instance import Instance
from zetaplan.spec.solution import Solution, Status

METHODS = {"exact": "exact", "bisection": "bisection", "cvxpy": "reference"}

__all__ = ["METHODS", "Solution", "Status", "solve"]


def solve(instance: Instance, method: str = "exact", **options: Any) -> Solution:
    """The optimal plan of an instance.

    method : "exact" (the default: finite, right to rounding), "bisection" (option `tolerance`), or
    "cvxpy" (option `solver`, the name of any installed cvxpy solver, and the solver's own options).

    Raises SpecError for an unknown method. Raises SolverError if a reference solver fails, or if a method that bisects
    on the multiplier needs one below 1e-290.

    Examples:
        >>> inst = zp.allocation([1, 3], costs=1.0, budget=6.0)
        >>> zp.solve(inst).x
        array([1., 5.])
        >>> zp.solve(inst, method="cvxpy", solver="CLARABEL").x.round(3)
        array([1., 5.])
    """
    if method not in METHODS:
        raise SpecError(f"method = {method!r}: expected one of {', '.join(METHODS)}")
    return _solver(method)(instance, **options)


@cache
def _solver(method: str) -> Callable[..., Solution]:
    module = importlib.import_module(f"zetaplan.solvers.{METHODS[method]}")
    return cast(Callable[..., Solution], getattr(module, f"solve_{method}"))
