"""Menus of the classical hard families (Pisinger 1995; Sinha & Zoltners 1979), and of others that are hard in doubles.

Ties, huge ranges, curves as measured with tied blocks, two budgets, and planted optima. Instance i of a seed depends on
(seed, i) alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from zetaplan.spec.menus.choice import Array, Choice
from zetaplan.spec.menus.declare import choice


@dataclass(frozen=True, eq=False)
class PlantedChoice:
    """An instance, the family that it is from, and its optimal objective where it was planted."""

    family: str
    instance: Choice
    objective: Fraction | None = None


def plant_choice(seed: int, index: int) -> PlantedChoice:
    """Instance `index` of a seed; it depends on nothing else."""
    rng = np.random.default_rng([seed, index])
    names = list(FAMILIES)
    family = names[index % len(names)]
    most = 25 if rng.random() < 0.05 else 8
    sizes = rng.integers(1, 9, int(np.exp(rng.uniform(0.0, np.log(most))) + 0.5))
    sizes[rng.integers(sizes.size)] = max(2, sizes.max())
    return FAMILIES[family](family, rng, sizes)


def _correlated(relation: Callable[[np.random.Generator, Array, int], Array]) -> Callable[..., PlantedChoice]:
    """Whole costs up to R = 10 ... 10,000, profits (losses with the sign turned) that depend on them."""

    def make(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
        scale = int(10 ** rng.integers(1, 5))
        costs = [rng.integers(1, scale + 1, size).astype(np.float64) for size in sizes]
        losses = [-relation(rng, cost, scale) for cost in costs]
        return PlantedChoice(family, choice(losses, costs, _budget(rng, costs)))

    return make


def _budget(rng: np.random.Generator, costs: list[Array]) -> float:
    """Half way between the cheapest and the dearest choice, or anywhere between."""
    low, high = sum(float(c.min()) for c in costs), sum(float(c.max()) for c in costs)
    share = rng.choice([0.5, rng.random()])
    return max(float(np.floor(low + share * (high - low))), low)


def _sinha_zoltners(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
    """Within a block, costs and profits rise together: nothing is dominated."""
    costs = [np.sort(rng.integers(1, 1001, size)).astype(np.float64) for size in sizes]
    losses = [-np.sort(rng.integers(1, 1001, size)).astype(np.float64) for size in sizes]
    return PlantedChoice(family, choice(losses, costs, _budget(rng, costs)))


def _zigzag(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
    """Sinha-Zoltners with every other option pushed above the hull."""
    costs = [np.sort(rng.integers(1, 1001, size)).astype(np.float64) for size in sizes]
    losses = [-np.sort(rng.integers(1, 1001, size)).astype(np.float64) + 50.0 * (np.arange(size) % 2) for size in sizes]
    return PlantedChoice(family, choice(losses, costs, _budget(rng, costs)))


def _even(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
    """Subset sum with even costs and an odd budget: the bound cannot be reached."""
    costs = [2.0 * rng.integers(1, 101, size) for size in sizes]
    budget = _budget(rng, costs)
    return PlantedChoice(family, choice([-c for c in costs], costs, budget + 1.0 - budget % 2.0))


def _ties(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
    """Few values, so that losses, costs and rates tie everywhere."""
    costs = [rng.integers(0, 4, size).astype(np.float64) for size in sizes]
    losses = [rng.integers(0, 4, size).astype(np.float64) * rng.choice([1.0, 0.1]) for size in sizes]
    return PlantedChoice(family, choice(losses, costs, _budget(rng, costs)))


def _huge(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
    """Losses and costs over 200 orders of magnitude."""
    costs = [10.0 ** rng.uniform(-100.0, 100.0, size) for size in sizes]
    losses = [10.0 ** rng.uniform(-100.0, 100.0, size) * rng.choice([-1.0, 1.0]) for size in sizes]
    low, high = sum(float(c.min()) for c in costs), max(float(c.max()) for c in costs)
    return PlantedChoice(family, choice(losses, costs, 2.0 * low + rng.random() * high))


def _measured(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
    """Bits of tensors: bytes of few shapes, losses near 4^-b with noise; some blocks tied or without an option."""
    bits = np.array([2.0625, 3.0625, 4.25, 4.5, 5.5, 6.5625, 8.5])
    shapes = rng.choice([2.0**18, 2.0**19, 1.5 * 2.0**19, 2.0**20], sizes.size)
    costs = [np.ceil(shape * bits / 8.0) for shape in shapes]
    losses = [rng.lognormal() * shape * 4.0**-bits * rng.lognormal(0.0, 0.2, bits.size) for shape in shapes]
    groups = [(0, 1)] if sizes.size > 2 else []
    forbid = {sizes.size - 1: (0,)} if rng.random() < 0.5 else {}
    budget = max(float(np.floor(shapes.sum() * rng.uniform(2.5, 7.0) / 8.0)), sum(float(c[1]) for c in costs))
    return PlantedChoice(family, choice(losses, costs, budget, groups=groups, forbid=forbid))


def _planted(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
    """A multiplier with few bits is chosen first; the options that are best at it use the budget up."""
    multiplier = float(rng.integers(1, 64)) / 16.0
    costs = [rng.integers(0, 64, size).astype(np.float64) for size in sizes]
    losses = [rng.integers(0, 4096, size) / 16.0 for size in sizes]
    best = [int(np.argmin(w + multiplier * c)) for w, c in zip(losses, costs, strict=True)]
    budget = sum(float(c[j]) for c, j in zip(costs, best, strict=True))
    objective = sum((Fraction(float(w[j])) for w, j in zip(losses, best, strict=True)), Fraction(0))
    return PlantedChoice(family, choice(losses, costs, budget), objective)


def _several(family: str, rng: np.random.Generator, sizes: Any) -> PlantedChoice:
    """Two budgets, up to six blocks of up to four options."""
    costs = [rng.integers(0, 20, (min(size, 4), 2)).astype(np.float64) for size in sizes[:6]]
    losses = [rng.integers(0, 100, min(size, 4)).astype(np.float64) for size in sizes[:6]]
    low, high = (np.sum([f(c, axis=0) for c in costs], axis=0) for f in (np.min, np.max))
    return PlantedChoice(family, choice(losses, costs, np.floor(low + rng.uniform(0.3, 1.0, 2) * (high - low))))


FAMILIES: dict[str, Callable[[str, np.random.Generator, Any], PlantedChoice]] = {
    "uncorrelated": _correlated(lambda rng, cost, scale: rng.integers(1, scale + 1, cost.size).astype(np.float64)),
    "weakly correlated": _correlated(
        lambda rng, cost, scale: cost + rng.integers(-(scale // 10), scale // 10 + 1, cost.size)
    ),
    "strongly correlated": _correlated(lambda rng, cost, scale: cost + float(scale // 10)),
    "subset sum": _correlated(lambda rng, cost, scale: cost),
    "even costs, odd budget": _even,
    "Sinha-Zoltners": _sinha_zoltners,
    "zig-zag": _zigzag,
    "ties": _ties,
    "huge ranges": _huge,
    "measured": _measured,
    "planted": _planted,
    "two budgets": _several,
}
