"""Where test instances come from: hypothesis strategies, and seeded draws for the large sweeps."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from zetaplan.spec.instance import Instance
from zetaplan.spec.programs.allocation import allocation
from zetaplan.spec.programs.pruning import pruning

positive = st.floats(1e-6, 1e6)
gains = st.one_of(st.just(0.0), positive, st.sampled_from([0.25, 1.0, 3.0]))  # the last makes ties likely


def limits(most: float) -> st.SearchStrategy[float]:
    """0, or a number that no factor of the data brings below the least limit that is admitted."""
    return st.just(0.0) | st.floats(1e-90, most)


@st.composite
def qualities(draw: st.DrawFn, layers: int) -> list[float]:
    values = draw(st.lists(gains, min_size=layers, max_size=layers))
    return values if max(values) > 0.0 else [*values[:-1], 1.0]


@st.composite
def allocations(draw: st.DrawFn) -> Instance:
    """K = 1..8; free, capped and floored layers; with and without a price; budgets from the floors up."""
    k = draw(st.integers(1, 8))
    costs = draw(st.lists(st.floats(1e-3, 1e3), min_size=k, max_size=k))
    lower = draw(st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0]), min_size=k, max_size=k))
    room = draw(st.lists(st.sampled_from([0.0, 0.25, 2.0, math.inf]), min_size=k, max_size=k))
    floors = math.fsum(c * l for c, l in zip(costs, lower, strict=True))
    return allocation(
        draw(qualities(k)),
        costs,
        floors * (1 + 1e-12) + draw(limits(1e3)),
        alpha=draw(st.sampled_from([0.0, 1e-4, 0.5])),
        beta=draw(st.sampled_from([0.0, 1.0, 2.0])),
        gamma=draw(st.sampled_from([1.0, 0.9])),
        lower=lower,
        upper=[l + r for l, r in zip(lower, room, strict=True)],
    )


@st.composite
def prunings(draw: st.DrawFn) -> Instance:
    """K = 1..8; boxes inside [0, 1]; with and without bits; any target that the caps allow."""
    k = draw(st.integers(1, 8))
    sizes = draw(st.lists(st.floats(1.0, 1e6), min_size=k, max_size=k))
    lower = draw(st.lists(st.sampled_from([0.0, 0.0, 0.125]), min_size=k, max_size=k))
    upper = draw(st.lists(st.sampled_from([0.125, 0.5, 0.8, 1.0]), min_size=k, max_size=k))
    reach = math.fsum(n * u for n, u in zip(sizes, upper, strict=True))
    return pruning(
        draw(qualities(k)),
        sizes,
        target=draw(limits(1.0)) * reach * (1 - 1e-12),
        bits=draw(st.sampled_from([0.0, 1e-9, 16.0])),
        eta=draw(st.sampled_from([1.0, 2.0])),
        kappa=draw(st.sampled_from([0.0, 1.0, 2.0])),
        lower=lower,
        upper=upper,
    )


def instances() -> st.SearchStrategy[Instance]:
    return st.one_of(allocations(), prunings())


def random_instance(seed: int) -> Instance:
    """K from 1 to 200, quality over ten decades, ties, zeros, tight and slack bounds, limits at the edges."""
    rng = np.random.default_rng(seed)
    k = int(np.exp(rng.uniform(0.0, np.log(200.0)) + 0.5))
    quality = 10.0 ** rng.uniform(-10.0, 0.0, k)
    quality[rng.random(k) < rng.choice([0.0, 0.3])] = rng.choice(quality)
    quality[rng.random(k) < rng.choice([0.0, 0.2])] = 0.0
    quality[rng.integers(k)] = 1.0
    data = rng.choice([1.0, 10.0 ** rng.uniform(-3.0, 3.0)]) * rng.choice([np.ones(k), rng.uniform(0.5, 2.0, k)])
    return _allocation(rng, quality, data) if rng.random() < 0.5 else _pruning(rng, quality, data)


def _allocation(rng: np.random.Generator, quality: np.ndarray, costs: np.ndarray) -> Instance:
    lower = rng.choice([np.zeros(quality.size), rng.integers(0, 3, quality.size)])
    upper = lower + rng.choice([np.full(quality.size, np.inf), rng.choice([0.0, 1.0, 5.0, np.inf], quality.size)])
    floors = math.fsum((costs * lower).tolist())
    budget = floors * (1 + 1e-12) + costs.sum() * rng.choice([0.0, 10.0 ** rng.uniform(-2.0, 3.0)])
    return allocation(
        quality, costs, budget, alpha=rng.choice([0.0, 10.0 ** rng.uniform(-6.0, 0.0)]), lower=lower, upper=upper
    )


def _pruning(rng: np.random.Generator, quality: np.ndarray, sizes: np.ndarray) -> Instance:
    lower = rng.choice([np.zeros(quality.size), rng.choice([0.0, 0.1], quality.size)])
    upper = rng.choice([np.ones(quality.size), rng.choice([0.1, 0.51, 0.8], quality.size)])
    sparsity = float(upper.min() * rng.choice([rng.random(), 1.0]))
    return pruning(
        quality,
        sizes,
        sparsity=sparsity,
        bits=rng.choice([0.0, 10.0 ** rng.uniform(-12.0, 2.0)]),
        lower=lower,
        upper=upper,
    )
