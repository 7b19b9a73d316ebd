"""Instances of every declared program over wide ranges, seeded: pins, ties, zero weights, limits at the edges."""

from __future__ import annotations

import math

import numpy as np

from zetaplan.errors import InfeasibleError
from zetaplan.spec.instance import Instance, declare
from zetaplan.spec.program import Program, Scalar, Term
from zetaplan.spec.programs import programs

SLACK = (0.0, 1e-15, 1e-13)  # a limit that rounding puts out of reach is moved by so much of itself


def wide_instance(seed: int, name: str | None = None) -> Instance:
    """One to six layers; gains over 12 decades, data over 18, boxes from pinned to open."""
    rng = np.random.default_rng(seed)
    names = sorted(programs())
    program = programs()[name or names[rng.integers(len(names))]]
    layers, wide = int(rng.integers(1, 7)), bool(rng.random() < 0.5)
    gains = 10.0 ** rng.uniform(-12.0 if wide else -3.0, 0.0, layers)
    if rng.random() < 0.2:
        gains[:] = 1.0
    if rng.random() < 0.2 and layers > 1:
        gains[0] = 0.0
    ends = (-6.0, 12.0) if wide else (-1.0, 1.0)
    data = [10.0 ** rng.uniform(*ends, layers) if rng.random() < 0.8 else np.ones(layers) for _ in program.terms]
    lower, upper = zip(*(_box(rng, term, layers) for term in program.terms), strict=True)
    knobs = {scalar.name: _knob(rng, scalar) for scalar in program.scalars}
    limit = _limit(rng, program, data, lower, upper)
    for slack in SLACK:
        try:
            return declare(program, gains, data, limit + program.sign * slack * abs(limit), lower, upper, knobs)
        except InfeasibleError:
            continue
    raise AssertionError(f"seed {seed}: no feasible limit")


def _box(rng: np.random.Generator, term: Term, layers: int) -> tuple[np.ndarray, np.ndarray]:
    if math.isinf(term.upper):
        low = rng.choice([0.0, 0.0, 0.5, 1e-6, 2.0], layers)
        return low, low + rng.choice([0.0, 0.25, 1e-7, 3.0, math.inf, math.inf], layers)
    low = rng.choice([0.0, 0.0, 0.125, 1e-6], layers)
    return low, np.minimum(low + rng.choice([0.0, 0.25, 1.0, 1.0, 1e-7], layers), term.upper)


def _knob(rng: np.random.Generator, scalar: Scalar) -> float:
    if scalar.name in ("alpha", "bits"):
        return float(rng.choice([0.0, 0.0, 10.0 ** rng.uniform(-9.0, 0.0)]))
    if scalar.name in ("beta", "kappa"):
        return float(rng.choice([1.0, 1.0, 0.0, 2.0]))
    if scalar.name == "p":
        return float(rng.uniform(0.1, 0.9) if scalar.below == 1.0 else rng.uniform(1.1, 6.0))
    return float(rng.choice([1.0, 0.3]))


def _limit(rng: np.random.Generator, program: Program, data: list, lower: tuple, upper: tuple) -> float:
    """Between the ends of the box, both included."""
    spared = taken = 0.0
    for term, d, low, high in zip(program.terms, data, lower, upper, strict=True):
        top = np.where(np.isinf(high), low + 10.0 ** rng.uniform(-9.0, 3.0), high)
        first, last = (low, top) if program.costs(term) else (top, low)
        spared += term.usage * math.fsum(d * first)
        taken += term.usage * math.fsum(d * last)
    share = rng.choice([0.0, rng.random(), rng.random(), 10.0 ** rng.uniform(-12.0, 0.0)])
    limit = float(spared + share * (taken - spared))
    return limit if not program.limit.is_nonnegative else max(limit, 0.0)
