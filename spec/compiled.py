"""Derived expressions as machine code, for compiled loops over the layers of one row.

sympy prints the expression as a function of numbers, and numba compiles a copy of a loop in which that function takes
the place of `_derived`. The machine code is cached on disk with that of the loop, under a digest of the printed
function, so a declaration is compiled once per machine and loaded in a few milliseconds afterwards.
"""

from __future__ import annotations

import hashlib
import inspect
from functools import cache
from types import FunctionType
from typing import Any

import sympy as sp
from numba import cfunc, float64, njit, types, void

from zetaplan.spec.accurate import accurate
from zetaplan.spec.derivation import Derivation
from zetaplan.spec.program import MULTIPLIER

READ, OUT = types.Array(float64, 1, "C", readonly=True), float64[::1]
ARGUMENTS = (READ, float64, READ, READ, READ)  # x, multiplier, weight, unit cost: (K,); knobs
ONE, TWO = void(*ARGUMENTS, OUT), void(*ARGUMENTS, OUT, OUT)
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
KNOBS, LAMBDA = sp.IndexedBase("knobs"), sp.Symbol("multiplier")


def _derived(x: float, multiplier: float, weight: float, unit_cost: float, knobs: Any) -> Any:
    """The place of a derived expression in the loops."""
    raise NotImplementedError


def _one(x: Any, multiplier: float, weight: Any, unit_cost: Any, knobs: Any, out: Any) -> None:
    for k in range(x.size):
        out[k] = _derived(x[k], multiplier, weight[k], unit_cost[k], knobs)


def _two(x: Any, multiplier: float, weight: Any, unit_cost: Any, knobs: Any, out: Any, other: Any) -> None:
    for k in range(x.size):
        out[k], other[k] = _derived(x[k], multiplier, weight[k], unit_cost[k], knobs)


@cache
def compiled(derivation: Derivation, *expressions: sp.Expr) -> Any:
    """One or two expressions as a function that fills as many arrays (K,); its signature is ONE or TWO.

    As in `Derivation`, 0 f = 0 for a layer without weight, even if f is infinite.
    """
    full = _printed(derivation, expressions)
    weightless = _printed(derivation, tuple(e.subs(derivation.term.weight, 0) for e in expressions))
    digest = hashlib.sha256((inspect.getsource(full) + inspect.getsource(weightless)).encode()).hexdigest()
    loop, signature = ((_one, ONE), (_two, TWO))[len(expressions) - 1]
    name = f"{derivation.program.name}_{digest[:16]}"  # numba keeps machine code by file and name
    code = loop.__code__.replace(co_name=name, co_qualname=name)
    names = globals() | {"_derived": _weighted(*(njit(**OPTIONS)(part) for part in (full, weightless)))}
    return cfunc(signature, cache=True, error_model="numpy")(FunctionType(code, names, name))


def _printed(derivation: Derivation, expressions: tuple[sp.Expr, ...]) -> FunctionType:
    """The expressions as a Python function of the arguments of `_derived`."""
    term, scalars = derivation.term, [scalar.symbol for scalar in derivation.program.scalars]
    knobs = [(symbol, KNOBS[place]) for place, symbol in enumerate(scalars)]

    def shared(parts: Any) -> Any:
        """The knobs by name, then common subexpressions."""
        found, rest = sp.cse(parts, list=False)
        return [*knobs, *found], rest

    parts = [accurate(part).xreplace({MULTIPLIER: LAMBDA}) for part in expressions]
    symbols = [term.decision, LAMBDA, term.weight, term.unit_cost, KNOBS]
    printed: FunctionType = sp.lambdify(
        symbols, parts[0] if len(parts) == 1 else tuple(parts), modules="math", cse=shared
    )
    return printed


def _weighted(full: Any, weightless: Any) -> Any:
    @njit(**OPTIONS)  # type: ignore[untyped-decorator]
    def value(x: float, multiplier: float, weight: float, unit_cost: float, knobs: Any) -> Any:
        if weight > 0.0:
            return full(x, multiplier, weight, unit_cost, knobs)
        return weightless(x, multiplier, weight, unit_cost, knobs)

    return value
