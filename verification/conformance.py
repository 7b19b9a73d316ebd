"""Conformance suite for solvers, i.e. functions from an instance to a solution.

    from zetaplan.verification.conformance import conformance
    report = conformance(my_solve)          # my_solve(instance) -> Solution
    assert report.passed, report.failures

Every instance is planted: a multiplier is chosen, the closed form gives the plan, and the resource of that plan is the
limit. So the optimum is known without a solver. The suite covers every program in `zetaplan.spec`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Array, Instance, declare
from zetaplan.spec.program import Program
from zetaplan.spec.programs import programs
from zetaplan.spec.solution import Solution
from zetaplan.spec.stationary import plan_at
from zetaplan.verification.certificate import certify

Solver = Callable[[Instance], Solution]

LAYERS = (1, 2, 5, 32)
SEEDS = 4


@dataclass(frozen=True)
class Planted:
    """An instance with known optimum x. multiplier : the optimal one, None if it is not unique."""

    name: str
    instance: Instance
    x: Array
    multiplier: float | None


@dataclass(frozen=True)
class Case:
    """Errors of a solver on a planted instance, relative to max(1, |x|) and to the total price."""

    name: str
    plan_error: float
    multiplier_error: float
    failed: tuple[str, ...]
    tolerance: float

    @property
    def ok(self) -> bool:
        return not self.failed and self.plan_error <= self.tolerance and self.multiplier_error <= self.tolerance


@dataclass(frozen=True)
class Report:
    """All cases, in a fixed order."""

    cases: tuple[Case, ...]

    @property
    def failures(self) -> tuple[Case, ...]:
        return tuple(case for case in self.cases if not case.ok)

    @property
    def passed(self) -> bool:
        return not self.failures


def conformance(solve: Solver, *, tolerance: float = 1e-9, certified: bool = True) -> Report:
    """Run a solver through every planted instance of every declared program.

    tolerance : largest error allowed, in the plan relative to max(1, |x|), in the multiplier relative to pi.
    certified : also require that `zetaplan.certify` accepts the solution (at its own tolerance, 1e-9).
    An exception of the solver is recorded as a failed case; only KeyboardInterrupt and the like are raised.
    """
    return Report(tuple(_case(solve, planted, tolerance, certified) for planted in planted_instances()))


def planted_instances() -> Iterator[Planted]:
    """Planted instances of every program, 1 to 32 layers: binding, slack, at bounds, tied, weightless, exponent 0."""
    for program in programs().values():
        for layers in LAYERS:
            for seed in range(SEEDS):
                rng = np.random.default_rng([layers, seed])
                yield from _planted(program, layers, rng)


def _planted(program: Program, layers: int, rng: np.random.Generator) -> Iterator[Planted]:
    quality = 10.0 ** rng.uniform(-2.0, 0.0, layers)
    unit_costs = [rng.uniform(0.5, 2.0, layers) for _ in program.terms]
    yield _plant("binding", program, quality, unit_costs, rng)
    yield _plant("tied", program, np.ones(layers), [np.ones(layers) for _ in program.terms], rng)
    exponents = {str(term.exponent): 0.0 for term in program.terms}
    yield _plant("without quality", program, quality, unit_costs, rng, exponents)
    if layers > 1:
        quality[0] = 0.0
        yield _plant("weightless", program, quality, unit_costs, rng)
    yield from _with_declared_price(program, quality, unit_costs, rng)


def _with_declared_price(
    program: Program, quality: Array, unit_costs: list[Array], rng: np.random.Generator
) -> Iterator[Planted]:
    """Instances with a declared price: one with a binding and one with a slack constraint."""
    (*_, derivation) = derive(program)
    declared = derivation.total_price.free_symbols & {scalar.symbol for scalar in program.scalars}
    for scalar in program.scalars:
        if scalar.symbol in declared:
            yield _plant("priced", program, quality, unit_costs, rng, {scalar.name: 0.01})
            yield _slack(program, quality, unit_costs, rng, {scalar.name: 0.1})


def _plant(
    name: str,
    program: Program,
    quality: Array,
    unit_costs: list[Array],
    rng: np.random.Generator,
    knobs: dict[str, float] | None = None,
) -> Planted:
    """Choose a multiplier with interior layers; the limit is the resource of its plan."""
    roomy = _roomy(program, quality, unit_costs, knobs or {})
    multiplier = _typical_multiplier(roomy) * float(2.0 ** rng.uniform(-1.0, 1.0))
    x = plan_at(roomy, multiplier)
    interior = any(
        ((row > channel.lower) & (row < channel.upper) & (channel.weight > 0.0)).any()
        for row, channel in zip(roomy.rows(x), roomy.channels, strict=True)
    )
    instance = replace(roomy, limit=_use(roomy, x))
    return Planted(_name(name, instance), instance, x, multiplier if interior else None)


def _slack(
    program: Program, quality: Array, unit_costs: list[Array], rng: np.random.Generator, knobs: dict[str, float]
) -> Planted:
    roomy = _roomy(program, quality, unit_costs, knobs)
    x = plan_at(roomy, 0.0)
    spare = float(rng.uniform(0.1, 1.0)) * max(_use(roomy, x), 0.1)
    use = _use(roomy, x)
    limit = max(use + program.sign * spare, 0.0)
    return Planted(_name("slack", roomy), replace(roomy, limit=limit), x, 0.0 if limit != use else None)


def _roomy(program: Program, quality: Array, unit_costs: list[Array], knobs: dict[str, float]) -> Instance:
    """Boxes of every kind (free, floored, capped), with a feasible limit that the caller replaces."""
    layers = quality.size
    lower = [np.where(np.arange(layers) % 3 == 1, 0.05, 0.0) for _ in program.terms]
    upper = [
        np.minimum(np.where(np.arange(layers) % 4 == 2, 0.4, 8.0 if math.isinf(term.upper) else 0.95), term.upper)
        for term in program.terms
    ]
    ends = zip(program.terms, unit_costs, lower, upper, strict=True)
    roomiest = sum(term.usage * float(d @ (l if program.costs(term) else u)) for term, d, l, u in ends)
    limit = roomiest + program.sign * 1e-3 * abs(roomiest)
    return declare(program, quality, unit_costs, limit, lower, upper, knobs)


def _typical_multiplier(instance: Instance) -> float:
    """The multiplier at which the median layer is in the middle of its box."""
    multipliers = []
    for derivation, channel in zip(derive(instance.program), instance.channels, strict=True):
        weighted = channel.weight > 0.0
        middle = 0.5 * (channel.lower + channel.upper)
        gradient = derivation.gradient(middle, 0.0, channel.weight, channel.unit_cost, *instance.scalars)
        multiplier = -np.broadcast_to(gradient, middle.shape) / (
            instance.program.sign * channel.term.usage * channel.unit_cost
        )
        multipliers.append(multiplier[weighted])
    return max(float(np.median(np.concatenate(multipliers))), 1e-3)


def _use(instance: Instance, x: Array) -> float:
    pairs = zip(instance.channels, instance.rows(x), strict=True)
    return math.fsum(v for channel, row in pairs for v in (channel.term.usage * channel.unit_cost * row).tolist())


def _name(kind: str, instance: Instance) -> str:
    return f"{instance.program.name}, {kind}, K = {instance.quality.size}"


def _case(solve: Solver, planted: Planted, tolerance: float, certified: bool) -> Case:
    try:
        solution = solve(planted.instance)
    except Exception as failure:
        return Case(planted.name, math.inf, math.inf, (f"{type(failure).__name__}: {failure}",), tolerance)
    x = np.asarray(solution.x)
    plan_error = float(np.max(np.abs(x - planted.x) / np.maximum(1.0, np.abs(planted.x))))
    failed: tuple[str, ...] = ()
    if certified:
        failed = tuple(condition.name for condition in certify(planted.instance, solution).failures)
    return Case(planted.name, plan_error, _multiplier_error(planted, solution), failed, tolerance)


def _multiplier_error(planted: Planted, solution: Solution) -> float:
    if planted.multiplier is None:
        return 0.0
    declared = derive(planted.instance.program)[0].declared_price_of(*planted.instance.scalars)
    return abs(float(solution.multiplier) - planted.multiplier) / (planted.multiplier + declared or 1.0)
