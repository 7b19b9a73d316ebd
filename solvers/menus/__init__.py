"""How a choice is optimised. A method is a file with a function `solve_<name>`.

exact    hulls, reduced costs, dynamic programming or branch and bound; proved    cvxpy    the reference
greedy   steps of the hulls as long as they fit, with a proved gap               milp     HiGHS, one binary per option
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, cast

from zetaplan.errors import SpecError
from zetaplan.spec.menus.answer import ChoiceSolution
from zetaplan.spec.menus.choice import Choice

METHODS = {"exact": "exact", "greedy": "greedy", "milp": "milp", "cvxpy": "reference"}


def solve_choice(instance: Choice, method: str = "exact", **options: Any) -> ChoiceSolution:
    """The choice that a method finds. Raises SpecError for an unknown method."""
    if method not in METHODS:
        raise SpecError(f"method = {method!r}: expected one of {', '.join(METHODS)} for a choice")
    module = importlib.import_module(f"{__name__}.{METHODS[method]}")
    return cast(Callable[..., ChoiceSolution], getattr(module, f"solve_{method}"))(instance, **options)
