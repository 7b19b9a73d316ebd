"""Instances: a program with its data, validated once at construction.

Results in fractions refer to the doubles of the instance: the weights w_k = q_k^e, the unit costs, the limit and the
box. Quality is normalised to the simplex in this file only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple, NoReturn

import numpy as np

from zetaplan._display import Columns, Display
from zetaplan._plural import counted
from zetaplan.errors import InfeasibleError, SpecError
from zetaplan.spec import checks, given
from zetaplan.spec.checks import Array as Array
from zetaplan.spec.checks import Arrayish as Arrayish
from zetaplan.spec.named import names_of
from zetaplan.spec.program import Program, Term
from zetaplan.spec.summation import dot, exact_dot, rational_dot
from zetaplan.spec.values import FrozenMap, Value

EPSILON = float(np.finfo(np.float64).eps)


class Channel(NamedTuple):
    """The arrays of one term, all of shape (K,)."""

    term: Term
    weight: Array
    unit_cost: Array
    lower: Array
    upper: Array


@dataclass(frozen=True, eq=False, repr=False)
class Instance(Value, Display):
    """A program and its data: float64 arrays of shape (K,), or (T, K) for a program of T > 1 terms.

    quality : (K,) on the simplex. weight : quality ** exponent. resource : the unit costs (costs or sizes), > 0.
    limit : budget or target. lower, upper : the box. parameters : the scalar knobs by name.
    names : of the K layers, if quality was given by name.

    Examples:
        >>> inst = zp.allocation([1, 3], costs=1.0, budget=6.0)
        >>> inst.quality, inst.limit
        (array([0.25, 0.75]), 6.0)
    """

    program: Program
    quality: Array
    weight: Array
    resource: Array
    limit: float
    lower: Array
    upper: Array
    parameters: Mapping[str, float]
    names: tuple[str, ...] | None = None

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The K names of the layers; "0", "1", ... if they have none."""
        return self.names or tuple(map(str, range(self.quality.size)))

    @cached_property
    def channels(self) -> tuple[Channel, ...]:
        """The arrays of the instance, one Channel per term."""
        terms = self.program.terms
        if len(terms) == 1:
            return (Channel(terms[0], self.weight, self.resource, self.lower, self.upper),)
        return tuple(map(Channel, terms, self.weight, self.resource, self.lower, self.upper))

    @cached_property
    def scalars(self) -> tuple[float, ...]:
        """The knobs in the order of the declaration."""
        return tuple([self.parameters[scalar.name] for scalar in self.program.scalars])

    def rows(self, x: Array) -> tuple[Array, ...]:
        """The rows of a plan, one array (K,) per term."""
        return (x,) if len(self.program.terms) == 1 else tuple(x)

    def by_term(self, heading: str, values: Array) -> dict[str, list[float]]:
        """An array of the plan's shape as columns of a table, one per term."""
        rows = self.rows(values)
        if len(rows) == 1:
            return {heading: rows[0].tolist()}
        return {f"{heading} {c.term.decision}": row.tolist() for c, row in zip(self.channels, rows, strict=True)}

    def _headline(self) -> str:
        limit = f"{self.program.limit_argument} = {self.limit:g}"
        return f"{self.program.summary}; {counted(self.quality.size, 'layer')}, {limit}"

    def _columns(self) -> Columns:
        columns = {"layer": self.layer_names, "quality": self.quality.tolist(), **self.by_term("weight", self.weight)}
        costs = [(c.term.argument, c.unit_cost.tolist()) for c in self.channels]
        bounds = {**self.by_term("lower", self.lower), **self.by_term("upper", self.upper)}
        return {**columns, **dict(costs), **bounds}

    def __repr__(self) -> str:
        knobs = ", ".join(f"{name} = {value:g}" for name, value in self.parameters.items())
        limit = f"{self.program.limit_argument} {self.program.limit} = {self.limit:g}"
        return f"{self.program!r}\n    with K = {self.quality.size} layers, {limit}, {knobs}"


def declare(
    program: Program,
    quality: Arrayish,
    unit_costs: Sequence[Arrayish],
    limit: float,
    lower: Sequence[Arrayish] | None = None,
    upper: Sequence[Arrayish] | None = None,
    parameters: Mapping[str, float] | None = None,
) -> Instance:
    """Validate the data of a program and return a frozen instance.

    quality : (K,) gains, >= 0, not all zero, or gains by name. unit_costs, lower, upper : one entry per term, each one
    number, (K,) or by name; default, the declared box. limit : budget or target. parameters : the knobs that differ
    from their defaults.

    Raises SpecError for invalid data and InfeasibleError if no plan satisfies the limit.
    """
    terms = program.terms
    values = given.knobs(program, parameters or {})
    names = names_of("quality", quality)
    q = normalise(quality, names)
    layers = q.size
    boxes_low = lower if lower is not None else [term.lower for term in terms]
    boxes_high = upper if upper is not None else [term.upper for term in terms]
    d = [given.unit_cost(term, values, layers, names) for term, values in zip(terms, unit_costs, strict=True)]
    low = [given.lower(term, values, layers, names) for term, values in zip(terms, boxes_low, strict=True)]
    high = [
        given.upper(term, values, floors, layers, names)
        for term, values, floors in zip(terms, boxes_high, low, strict=True)
    ]
    instance = Instance(
        program=program,
        quality=q,
        weight=_weights(program, q, values),
        resource=_stack(d),
        limit=given.limit(program, limit),
        lower=_stack(low),
        upper=_stack(high),
        parameters=FrozenMap(values),
        names=names,
    )
    check_feasible(instance)
    return instance


def rebuild(
    program: Program,
    quality: Arrayish,
    weight: Arrayish,
    resource: Arrayish,
    limit: float,
    lower: Arrayish,
    upper: Arrayish,
    parameters: Mapping[str, float],
    names: tuple[str, ...] | None = None,
) -> Instance:
    """The instance with exactly these doubles, as read from a file, without normalising them again.

    Arrays have the instance's shape. Raises SpecError for data that `declare` could not have produced. Besides the
    checks of `declare`, quality must sum to 1 and weight must equal quality ** exponent, both to 1e-12 relative.
    """
    unit_costs, low, high = (
        list(np.atleast_2d(checks.numbers(name, values)))
        for name, values in (("resource", resource), ("lower", lower), ("upper", upper))
    )
    checked = declare(program, quality, unit_costs, limit, low, high, parameters)
    q, w = checks.vector("quality", quality), checks.numbers("weight", weight)
    if not np.allclose(checked.quality, q, rtol=1e-12, atol=0.0):
        raise SpecError(f"quality: expected shares that sum to 1, got a sum of {q.sum():.17g}")
    if w.shape != checked.weight.shape or not np.allclose(checked.weight, w, rtol=1e-12, atol=0.0):
        raise SpecError("weight: expected quality ** exponent for every layer")
    return replace(checked, quality=given.frozen(q), weight=given.frozen(w), names=names)


def with_quality(instance: Instance, quality: Arrayish) -> Instance:
    """The same program, unit costs, limit and box with other gains, >= 0, (K,) or by name, not all zero; normalised.

    Raises SpecError for invalid gains, or for gains of another number of layers.
    """
    q = normalise(quality, instance.names)
    if q.shape != instance.quality.shape:
        raise SpecError(f"quality: expected {instance.quality.size} gains, one per layer, got {q.size}")
    return replace(instance, quality=q, weight=_weights(instance.program, q, instance.parameters))


def normalise(quality: Arrayish, names: Sequence[str] | None = None) -> Array:
    """Gains >= 0 of shape (K,) as shares that sum to 1. Scaling all gains by a power of 2 changes no bit of them.

    names : of the K layers, for gains by name.
    """
    q = checks.vector("quality", quality, names)
    if q.size == 0:
        raise SpecError("quality: expected one gain per layer, got none")
    low, top = checks.span(q)
    if low < 0.0:
        k = int(q.argmin())
        raise SpecError(
            f"quality[{k}] = {q[k]:g}: a gain is a squared norm and cannot be negative; remove noise with max(gain, 0)"
        )
    if top == 0.0:
        raise SpecError(f"quality: all {q.size} layers are zero, so all layers rank equally; check the scores")
    q = np.ldexp(q, -math.frexp(top)[1])
    return given.frozen(q / q.sum())


def check_feasible(instance: Instance) -> None:
    """Raise InfeasibleError if no plan inside the box keeps the limit, decided in fractions where rounding matters."""
    program = instance.program
    pairs = [(c, c.lower if program.costs(c.term) else c.upper) for c in instance.channels]
    volume = sum([dot(c.unit_cost, np.abs(x)) for c, x in pairs])
    rough = sum([c.term.usage * dot(c.unit_cost, x) for c, x in pairs])
    rounding = (instance.quality.size + 2) * EPSILON * (volume + abs(instance.limit))
    if program.sign * (rough - instance.limit) < -rounding:
        return
    reach = math.fsum(c.term.usage * exact_dot(c.unit_cost, x) for c, x in pairs)
    excess = program.sign * (reach - instance.limit)
    doubt = 1e-12 * max(abs(reach), abs(instance.limit))
    if excess < -doubt:
        return
    parts = (c.term.usage * rational_dot(c.unit_cost, x) for c, x in pairs)
    if excess <= doubt and program.sign * (sum(parts, Fraction(0)) - Fraction(instance.limit)) <= 0:
        return
    _raise_infeasible(instance, reach)


def _raise_infeasible(instance: Instance, reach: float) -> NoReturn:
    name, limit = instance.program.limit_argument, instance.limit
    if instance.program.sense == "<=":
        raise InfeasibleError(
            f"{name} = {limit}: the box requires at least {reach}; raise the {name} to that, or lower the floors"
        )
    raise InfeasibleError(
        f"{name} = {limit}: the caps allow {reach} at most; lower the {name} to that, or raise the caps"
    )


def weights(program: Program, quality: Array, values: Mapping[str, float]) -> Array:
    """w = q^e, (K,), or (T, K) for T > 1 terms. values : the knobs by name."""
    return _stack([_power(quality, values[name]) for name in program.exponents])


def _weights(program: Program, quality: Array, values: Mapping[str, float]) -> Array:
    """As `weights`, for gains given by the user. Raises SpecError for a nonzero weight below 1e-100."""
    found = weights(program, quality, values)
    for term, row in zip(program.terms, (found,) if found.ndim == 1 else found, strict=True):
        if checks.span(row)[0] >= checks.LIGHTEST:
            continue
        light = (row < checks.LIGHTEST) & (quality > 0.0)
        if light.any():
            least = f"whose power {term.exponent} is at least {checks.LIGHTEST:g}"
            checks.name_first("quality", quality, light, f"expected 0, or a share {least}; set the gain to 0")
    return found


def _power(quality: Array, exponent: float) -> Array:
    """w = q^e with 0^0 = 1, so that an exponent of 0 ignores quality."""
    return quality if exponent == 1.0 else given.frozen(quality**exponent)


def _stack(rows: list[Array]) -> Array:
    return rows[0] if len(rows) == 1 else given.frozen(np.stack(rows))
