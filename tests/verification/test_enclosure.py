"""Balls against integer roots: the enclosure holds the optimum of the real program, and little else."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings

from tests import oracle
from tests.strategies import instances
from zetaplan.errors import SpecError
from zetaplan.solvers import solve
from zetaplan.spec.instance import Instance
from zetaplan.spec.programs.allocation import allocation
from zetaplan.spec.programs.joint import joint
from zetaplan.spec.programs.precision import precision
from zetaplan.spec.programs.pruning import pruning
from zetaplan.spec.solution import Solution
from zetaplan.verification.enclosure import Enclosure, enclose

SHIFT = 2000  # bits of the integer square roots


def sqrt(value: Fraction) -> Fraction:
    """The square root to 2000 bits, by integers alone."""
    return Fraction(math.isqrt((value.numerator << (2 * SHIFT)) // value.denominator), 1 << SHIFT)


def real_optimum(instance: Instance) -> tuple[list[Fraction], Fraction]:
    """The optimum for weights q^(3/2) = sqrt(q^3), by the oracle that knows neither floats nor balls."""
    weight = np.array([sqrt(Fraction(q) ** 3) for q in instance.quality.tolist()], dtype=object)
    fields = {
        name: getattr(instance, name) for name in ("program", "parameters", "limit", "resource", "lower", "upper")
    }
    return oracle.optimum(SimpleNamespace(weight=weight, **fields))  # type: ignore[arg-type]


def holds(interval: tuple[float, float], value: Fraction) -> bool:
    low, high = interval
    return (low == -math.inf or Fraction(low) <= value) and (high == math.inf or value <= Fraction(high))


def solved(instance: Instance) -> Enclosure:
    return enclose(instance, solve(instance, "bisection" if len(instance.program.terms) > 1 else "exact"))


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("kind", ["allocation", "pruning"])
def test_holds_the_optimum_for_irrational_weights(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 12))
    gains, data = 10.0 ** rng.uniform(-4, 0, k), rng.uniform(0.5, 2.0, k)
    if kind == "allocation":
        upper = rng.choice([0.5, 3.0, math.inf], k)
        instance = allocation(
            gains, data, float(10.0 ** rng.uniform(-2, 2)), beta=1.5, upper=upper, alpha=seed % 3 / 100
        )
    else:
        instance = pruning(gains, data, sparsity=float(rng.uniform(0, 0.8)), kappa=1.5, upper=0.8, bits=seed % 3 / 100)
    enclosure = solved(instance)
    x, multiplier = real_optimum(instance)
    assert holds(enclosure.multiplier, multiplier)
    assert all(holds(pair, value) for *pair, value in zip(*enclosure.x, x, strict=True))  # type: ignore[arg-type]
    width = (enclosure.x[1] - enclosure.x[0]) / np.maximum(1.0, enclosure.x[1])
    assert width.max() <= 1e-14


@settings(max_examples=100, deadline=None)
@given(instances())
def test_holds_the_exact_optimum_where_the_weights_are_the_doubles(instance: Instance) -> None:
    exponent = instance.parameters.get("beta", instance.parameters.get("kappa"))
    enclosure = solved(instance)
    if exponent == 2.0:  # the double is q * q rounded once; the real weight is the fraction itself
        weight = np.array([Fraction(q) ** 2 for q in instance.quality.tolist()], dtype=object)
        x, multiplier = oracle.optimum(replace(instance, weight=weight))
    else:
        x, multiplier = oracle.optimum(instance)
    assert holds(enclosure.multiplier, multiplier)
    assert all(holds(pair, value) for *pair, value in zip(*enclosure.x, x, strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "instance",
    [
        allocation([0.5, 0.3, 0.2], [1.0, 2.0, 0.5], 4.0, beta=1.5),
        pruning([0.5, 0.3, 0.2], [1.0, 2.0, 0.5], sparsity=0.4, kappa=0.5),
        precision([0.6, 0.3, 0.1], [1.0, 2.0, 3.0], 12.0),
        joint([0.6, 0.3, 0.1], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0], 1.0),
    ],
    ids=lambda instance: instance.program.name,
)
def test_plan_and_objective_of_every_kind_of_program_are_held_closely(instance: Instance) -> None:
    solution = solve(instance, "bisection")
    enclosure = enclose(instance, solution)
    low, high = enclosure.x
    assert (high - low <= 1e-13).all()
    assert (solution.x >= low - 1e-12).all()
    assert (solution.x <= high + 1e-12).all()
    assert enclosure.objective[1] - enclosure.objective[0] <= 1e-13
    assert enclosure.objective[0] - 1e-13 <= solution.objective <= enclosure.objective[1] + 1e-13
    assert enclosure.multiplier[0] <= enclosure.multiplier[1]


def test_planted_irrational_optimum() -> None:
    """q = (4/5, 1/5), beta = 1/2, unit costs: w = (2, 1) / sqrt 5, so lambda = sum w / (B + 2) = 3 / sqrt 125."""
    instance = allocation([0.8, 0.2], 1.0, 3.0, beta=0.5)
    enclosure = solved(instance)
    exact = 3 / sqrt(Fraction(125))
    low, high = enclosure.multiplier
    assert high - low <= 4 * math.ulp(low)
    assert abs(Fraction(low) - exact) <= Fraction(4 * math.ulp(low))


def test_the_hint_does_not_matter() -> None:
    instance = allocation([0.5, 0.3, 0.2], [1.0, 2.0, 0.5], 4.0, beta=1.5)
    best = solved(instance)
    for hint in (0.0, 1e-290, 1e-9, 1.0, 1e200, math.inf, math.nan, -1.0):
        other = enclose(instance, Solution(instance, np.zeros(3), hint))
        assert other.multiplier == pytest.approx(best.multiplier, rel=1e-15)


def test_more_bits_never_widen() -> None:
    instance = pruning([0.5, 0.3, 0.2], [1.0, 2.0, 0.5], sparsity=0.4, kappa=1.5)
    solution = solve(instance)
    coarse, fine = enclose(instance, solution, precision=64), enclose(instance, solution, precision=256)
    assert coarse.multiplier[0] <= fine.multiplier[0] <= fine.multiplier[1] <= coarse.multiplier[1]


def test_every_price_supports_an_empty_plan() -> None:
    enclosure = solved(allocation([0.5, 0.5], 1.0, 0.0, beta=1.5))
    assert enclosure.multiplier[1] == math.inf
    assert (enclosure.x[0] == 0.0).all()
    assert (enclosure.x[1] <= 1e-15).all()


def test_layers_that_are_not_unique_get_their_whole_box() -> None:
    enclosure = solved(pruning([1.0, 0.0], 1.0, target=0.5))
    assert (enclosure.x[0][1], enclosure.x[1][1]) == (0.0, 1.0)
    assert enclosure.objective[0] <= 0.0 <= enclosure.objective[1]
    assert enclosure.objective[1] - enclosure.objective[0] <= 1e-300


def test_too_little_precision_is_refused() -> None:
    instance = allocation([0.5, 0.5], 1.0, 1.0)
    with pytest.raises(SpecError, match="precision = 32: expected at least 64 bits"):
        enclose(instance, solve(instance), precision=32)
