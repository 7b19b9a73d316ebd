"""Shrinking by delta debugging: remove layers, then digits, from an instance on which a solver fails.

A layer is removed together with its use of the limit, so that the optimum of the other layers does not change.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeGuard

import numpy as np

from zetaplan.errors import ZetaplanError
from zetaplan.solvers.rational import exact_optimum
from zetaplan.spec.instance import Array, Instance, declare
from zetaplan.verification.audit.contestants import Contestant
from zetaplan.verification.audit.planting import Planted
from zetaplan.verification.audit.trial import judge, truth

DIGITS = (1, 2, 3, 6, 9)
FIELDS = ("quality", "unit_cost", "lower", "upper", "limit")


@dataclass(frozen=True, eq=False)
class _Data:
    """The arguments of a declaration, which are simplified one by one."""

    quality: Array
    unit_cost: Array
    lower: Array
    upper: Array
    limit: float
    knobs: dict[str, float]

    @classmethod
    def of(cls, instance: Instance) -> _Data:
        quality, knobs = instance.quality, dict(instance.parameters)
        return cls(quality, instance.resource, instance.lower, instance.upper, instance.limit, knobs)

    def without(self, layers: range, used: Array) -> _Data:
        """The data without some layers and without their use of the limit."""
        rest = np.setdiff1d(np.arange(self.quality.size), layers)
        limit = max(self.limit - float((self.unit_cost * used)[layers.start : layers.stop].sum()), 0.0)
        return _Data(self.quality[rest], self.unit_cost[rest], self.lower[rest], self.upper[rest], limit, self.knobs)

    def with_knob(self, name: str, value: float) -> _Data:
        return replace(self, knobs=self.knobs | {name: value})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Data):
            return NotImplemented
        return self.knobs == other.knobs and all(np.array_equal(getattr(self, f), getattr(other, f)) for f in FIELDS)

    def rounded(self, field: str, digits: int) -> _Data:
        """The data with fewer digits in one field."""
        value = _round(np.asarray(getattr(self, field)), digits)
        changed: dict[str, Any] = {field: value if value.ndim else float(value)}
        return replace(self, **changed)


def failing(solver: Contestant, strict: bool | None = None) -> Callable[[Instance], bool]:
    """A test whether the solver gives no solution, or a wrong one that it reports as optimal."""

    def fails(instance: Instance) -> bool:
        if not solver.suits(instance):
            return False
        verdict = judge(truth(Planted(instance, 0.0, None, None)), solver.solve)
        return bool(verdict.failure) or verdict.wrong(solver.strict if strict is None else strict)

    return fails


def shrink(instance: Instance, fails: Callable[[Instance], bool], attempts: int = 300) -> Instance:
    """An instance with fewer layers and digits that still fails, or the instance itself.

    attempts : largest number of calls of `fails`.
    """
    asked = itertools.count()

    def still_fails(candidate: Instance | None) -> TypeGuard[Instance]:
        return candidate is not None and next(asked) < attempts and fails(candidate)

    instance = _fewer_layers(instance, still_fails)
    for simpler in _simplifications(instance):
        candidate = _declared(instance, simpler(_Data.of(instance)))
        if still_fails(candidate):
            instance = candidate
    return instance


def _fewer_layers(instance: Instance, still_fails: Callable[[Instance | None], TypeGuard[Instance]]) -> Instance:
    """Remove halves of the layers, then quarters, down to single layers, while the solver fails."""
    size = instance.quality.size // 2
    while size:
        start = 0
        while start < instance.quality.size:
            used = np.array([float(x) for x in exact_optimum(instance).x])
            layers = range(start, min(start + size, instance.quality.size))
            candidate = _declared(instance, _Data.of(instance).without(layers, used))
            if still_fails(candidate):
                instance = candidate
            else:
                start += size
        size //= 2
    return instance


def _simplifications(instance: Instance) -> Iterator[Callable[[_Data], _Data]]:
    """Simplifications, the largest first: knobs at their defaults, no floors, no caps, few digits."""
    for scalar in instance.program.scalars:
        yield partial(_Data.with_knob, name=scalar.name, value=scalar.default)
    yield lambda data: replace(data, lower=np.zeros_like(data.lower))
    yield lambda data: replace(data, upper=np.full_like(data.upper, instance.program.terms[0].upper))
    for field in FIELDS:
        for digits in reversed(DIGITS):
            yield partial(_Data.rounded, field=field, digits=digits)


def _declared(instance: Instance, data: _Data) -> Instance | None:
    """The simplified instance; None if it is unchanged or invalid."""
    if data == _Data.of(instance) or not data.quality.size:
        return None
    try:
        return declare(
            instance.program, data.quality, (data.unit_cost,), data.limit, (data.lower,), (data.upper,), data.knobs
        )
    except ZetaplanError:
        return None


def _round(values: Array, digits: int) -> Array:
    return np.array([float(f"{value:.{digits - 1}e}") for value in values.ravel().tolist()]).reshape(values.shape)


def reproducer(instance: Instance, solver: str) -> str:
    """A Python program of a few lines that reproduces the failure."""
    argument, limit = instance.program.terms[0].argument, instance.program.limit_argument
    values: dict[str, Any] = {
        argument: instance.resource.tolist(),
        limit: instance.limit,
        **instance.parameters,
        "lower": instance.lower.tolist(),
        "upper": instance.upper.tolist(),
    }
    arguments = "".join(f"    {name}={_literal(value)},\n" for name, value in values.items())
    return (
        "import zetaplan as zp\n"
        "from zetaplan.verification.audit.contestants import contestant\n\n"
        f"inst = zp.{instance.program.name}(\n    {_literal(instance.quality.tolist())},\n{arguments})\n"
        "best = zp.exact_optimum(inst)\n"
        'print("exact ", [float(x) for x in best.x], float(best.multiplier))\n'
        f"sol = contestant({solver!r}).solve(inst)\n"
        f"print({solver!r}, sol.x.tolist(), sol.multiplier, sol.status.name)\n"
    )


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return 'float("inf")' if value == math.inf else repr(value)
