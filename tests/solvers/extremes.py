"""Instances of every declared program over the whole range that validation admits, and beyond it."""

from __future__ import annotations

import numpy as np

from zetaplan.spec.instance import Instance, declare
from zetaplan.spec.program import Program, Scalar, Term

DECADES = (0.0, 1.0, 3.0, 12.0, 40.0, 90.0)  # the last is beyond the range that is admitted
CENTRES = (0.0, 0.0, 0.0, 0.0, -30.0, 30.0)
SHARES = (0.0, 1e-12, 1e-3, 1.0, 1.5, 1e3)
P = (1.0001, 1.001, 1.01, 1.03, 0.999, 0.99, 0.98, 0.001, 2.0, 40.0, 0.9999, 200.0)


def extreme(program: Program, seed: int) -> Instance:
    """One to six layers, ties, zeros, pinned layers, limits from the end of the box on.

    Raises SpecError where the draw is out of range.
    """
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 7))
    quality = _sizes(rng, count) * (rng.random(count) < rng.choice([1.0, 0.7]))
    data = [_sizes(rng, count) for _ in program.terms]
    low, high = zip(*(_box(rng, term, count) for term in program.terms), strict=True)
    knobs = {scalar.name: _knob(rng, scalar) for scalar in program.scalars}
    return declare(program, quality, data, _limit(rng, program, data, low, high), low, high, knobs)


def _sizes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Numbers > 0: equal, alike or decades apart, around any size."""
    exponents = rng.choice(CENTRES) + rng.choice(DECADES) * rng.uniform(-1.0, 1.0, count)
    exponents[rng.random(count) < 0.2] = exponents[0]
    return 10.0**exponents


def _box(rng: np.random.Generator, term: Term, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Floors that may be 0, caps that may be infinite or equal to the floor."""
    if term.upper <= 1.0:
        return rng.choice([0.0, 0.0, 1e-30, 0.125], count), rng.choice([0.125, 0.5, 0.99, 0.99], count)
    low = rng.choice([np.zeros(count), _sizes(rng, count)]) * (rng.random(count) < 0.7)
    room = np.where(rng.random(count) < rng.choice([0.0, 0.3, 1.0]), _sizes(rng, count), np.inf)
    return low, low + room * np.where(rng.random(count) < 0.1, 0.0, 1.0) if np.isfinite(room).all() else low + room


def _knob(rng: np.random.Generator, scalar: Scalar) -> float:
    if scalar.name == "p":
        return float(rng.choice([rng.choice(P), max(scalar.above, 0.0) + rng.random() * min(scalar.below, 20.0)]))
    if scalar.name in ("beta", "kappa"):
        return float(rng.choice([1.0, 1.0, 0.0, 0.5, 3.0]))
    return float(rng.choice([scalar.default] * 4 + [10.0 ** rng.uniform(-12, 12), rng.choice([1e-40, 1e40, 1e60])]))


def _limit(rng: np.random.Generator, program: Program, data: list, low: tuple, high: tuple) -> float:
    """From the end of the box that uses least to far beyond the other."""
    spare = [box if program.terms[k].usage > 0 else high[k] for k, box in enumerate(low)]
    full = [box if program.terms[k].usage > 0 else low[k] for k, box in enumerate(high)]
    least, most = (
        sum(term.usage * float(d @ x) for term, d, x in zip(program.terms, data, ends, strict=True))
        for ends in (spare, full)
    )
    room = most - least if np.isfinite(most) else float(sum(d.sum() for d in data)) * rng.choice([1.0, 1e-10, 1e10])
    share = rng.choice(
        [rng.random(), 10.0 ** rng.uniform(-15.0, 0.0), 10.0 ** rng.uniform(-300.0, 0.0), rng.choice(SHARES)]
    )
    return least + float(share) * room


def moderate(program: Program, seed: int) -> Instance:
    """Up to eight layers: ties, zeros, floors, caps, pinned layers, a price; round numbers beside random ones."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 9))
    quality = np.where(
        rng.random(count) < 0.5, rng.choice([0.0, 1.0, 1.0, 3.0], count), 10.0 ** rng.uniform(-6, 0, count)
    )
    quality[rng.integers(count)] = 1.0
    data = np.where(rng.random(count) < 0.5, rng.choice([0.5, 1.0, 2.0], count), rng.uniform(0.1, 10.0, count))
    high = rng.choice([0.5, 0.9, 0.75] if program.terms[0].upper <= 1.0 else [1.0, 4.0, 6.0, np.inf], count)
    low = np.minimum(rng.choice([0.0, 0.0, 0.1, 0.5], count), high)
    knobs = {scalar.name: float(rng.choice([0.0, 0.0, 0.05])) for scalar in program.scalars if scalar.default == 0.0}
    if "p" in {scalar.name for scalar in program.scalars}:
        knobs["p"] = float(rng.choice([0.3, 0.5, 0.9] if program.name == "power_allocation" else [1.5, 2.0, 3.0, 8.0]))
    least, most = float(data @ low), float(data @ np.minimum(high, 10.0))
    return declare(program, quality, [data], least + rng.random() * (most - least), [low], [high], knobs)
