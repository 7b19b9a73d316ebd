"""Compiled expressions against the numpy functions of the same derivation."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from zetaplan.spec import cores
from zetaplan.spec.compiled import compiled
from zetaplan.spec.derivation import Derivation, derive
from zetaplan.spec.programs import programs

SINGLE = [name for name, program in programs().items() if len(program.terms) == 1]


@njit
def called(fill, x, multiplier, weight, unit_cost, knobs, out):
    fill(x, multiplier, weight, unit_cost, knobs, out)


@njit
def called_twice(fill, x, multiplier, weight, unit_cost, knobs, out, other):
    fill(x, multiplier, weight, unit_cost, knobs, out, other)


def data(derivation: Derivation) -> tuple:
    rng = np.random.default_rng(0)
    x, weight, unit_cost = 10.0 ** rng.uniform(-4.0, -0.1, (3, 9))
    x[3], weight[5] = 0.0, 0.0  # m^(p - 1) is infinite at 0; 0 f = 0
    return x, 0.3, weight, unit_cost, np.array([scalar.default or 0.1 for scalar in derivation.program.scalars])


@pytest.mark.parametrize("name", SINGLE)
def test_the_compiled_expressions_are_those_of_numpy(name: str) -> None:
    (derivation,) = derive(programs()[name])
    *columns, knobs = data(derivation)
    for expression, function in (
        (derivation.term.objective, derivation.objective),
        (derivation.stationarity, derivation.lagrangian_gradient),
    ):
        found = np.empty(9)
        called(compiled(derivation, expression), *columns, knobs, found)
        assert np.allclose(found, function(*columns, *knobs), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", SINGLE)
def test_two_expressions_fill_two_arrays(name: str) -> None:
    (derivation,) = derive(programs()[name])
    *columns, knobs = data(derivation)
    slope, size = np.empty((2, 9))
    fill = compiled(derivation, derivation.stationarity, derivation.absolute_stationarity)
    called_twice(fill, *columns, knobs, slope, size)
    assert np.allclose(slope, derivation.lagrangian_gradient(*columns, *knobs), rtol=1e-14, atol=1e-15)
    assert np.allclose(size, derivation.magnitude(*columns, *knobs), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(("allowed", "expected"), [("3", 3), ("1", 1)])
def test_threads_that_omp_allows(monkeypatch: pytest.MonkeyPatch, allowed: str, expected: int) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    assert cores.cores() == expected


@pytest.mark.parametrize("allowed", ["", "0", "many"])
def test_without_a_number_every_core_of_the_process(monkeypatch: pytest.MonkeyPatch, allowed: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    assert cores.cores() >= 1
