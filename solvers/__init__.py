"""Solvers: `exact` (finite), `bisection` (the paper's algorithms) and `cvxpy` (a general-purpose reference).

METHODS maps the name of a method to its file, which defines a function `solve_<name>`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, cast, overload

from zetaplan.errors import SpecError, require, shown
from zetaplan.spec.menus.answer import ChoiceSolution
from zetaplan.spec.menus.choice import Choice

if TYPE_CHECKING:
    from zetaplan.spec.instance import Instance
    from zetaplan.spec.solution import Solution

METHODS = {"exact": "exact", "bisection": "bisection", "cvxpy": "reference"}


@overload
def solve(instance: Instance, method: str = "exact", **options: Any) -> Solution: ...


@overload
def solve(instance: Choice, method: str = "exact", **options: Any) -> ChoiceSolution: ...


def solve(instance: Instance | Choice, method: str = "exact", **options: Any) -> Solution | ChoiceSolution:
    """The optimal plan of an instance, or the optimal choice from menus.

    method : "exact" (the default: finite, right to rounding), "bisection" (option `tolerance`), or
    "cvxpy" (option `solver`, the name of any installed cvxpy solver, and the solver's own options). Of a choice:
    "exact" (options `time_limit`, `states`, `gap`), "greedy", "milp" (HiGHS), or "cvxpy".

    Raises SpecError for an unknown method. Raises SolverError if a reference solver fails, or if a method that bisects
    on the multiplier needs a price of a layer below 1e-290.

    Examples:
        >>> inst = zp.allocation([1, 3], costs=1.0, budget=6.0)
        >>> zp.solve(inst).x
        array([1., 5.])
        >>> zp.solve(inst, method="cvxpy", solver="CLARABEL").x.round(3)
        array([1., 5.])
    """
    if isinstance(instance, Choice):
        from zetaplan.solvers.menus import solve_choice

        return solve_choice(instance, method, **options)
    from zetaplan.spec.instance import Instance  # imports sympy, which a choice does not need

    require(instance, Instance, "instance", "make one with zetaplan.allocation, or another program")
    if not isinstance(method, str) or method not in METHODS:
        raise SpecError(f"method = {shown(method)}: expected one of {', '.join(METHODS)}")
    return _solver(method)(instance, **options)


@cache
def _solver(method: str) -> Callable[..., Solution]:
    module = importlib.import_module(f"zetaplan.solvers.{METHODS[method]}")
    return cast("Callable[..., Solution]", getattr(module, f"solve_{method}"))
