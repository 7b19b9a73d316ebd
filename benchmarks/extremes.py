"""A large draw of the property of `tests/solvers/test_extremes.py`: every program, over all that validation admits.

    python -m benchmarks.extremes 2000

prints, for each program and method, how many instances were refused, and how many plans were certified.
"""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np

import zetaplan as zp
from tests.solvers.extremes import extreme
from tests.solvers.test_extremes import check
from zetaplan.spec.programs import named, programs


def outcome(name: str, seed: int, method: str) -> str:
    """What becomes of one draw; anything else than these outcomes is an exception."""
    try:
        instance = extreme(named(name), seed)
    except zp.SpecError:
        return "out of range"
    try:
        solution = zp.solve(instance, method)
    except zp.SolverError:
        return "refused by the solver"
    check(instance, solution)
    return "certified"


def main(count: int) -> None:
    for name in sorted(programs()):
        for method in ("exact", "bisection"):
            with np.errstate(all="ignore"):
                found = Counter(outcome(name, seed, method) for seed in range(count))
            print(f"{name:24}{method:10}", dict(found), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
