"""Where the menus of the tests come from, and the truth about them by trying every choice in fractions."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from zetaplan.spec.menus.choice import Choice, Indices
from zetaplan.spec.menus.declare import choice

whole = st.integers(0, 6).map(float)
real = st.floats(0.0, 1.0)
tenths = st.integers(0, 30).map(lambda n: 0.1 * n)
wide = st.floats(-30.0, 30.0).map(lambda e: 10.0**e)
extreme = st.sampled_from([0.0, 5e-324, 1e-300, 1e-10, 1.0, 1e10, 1e290])
numbers = st.sampled_from([whole, real, tenths, wide, extreme])


@st.composite
def choices(draw: st.DrawFn, budgets: int = 1) -> Choice:
    """K = 1..5 blocks of 1..4 options; ties, tenths, 60 orders of magnitude, both signs of losses, binding budgets."""
    k = draw(st.integers(1, 5))
    sizes = draw(st.lists(st.integers(1, 4), min_size=k, max_size=k))
    value, price, sign = draw(numbers), draw(numbers), draw(st.sampled_from([1.0, -1.0]))
    losses = [[sign * draw(value) for _ in range(size)] for size in sizes]
    costs = [[[draw(price) for _ in range(budgets)] for _ in range(size)] for size in sizes]
    limits = []
    for m in range(budgets):
        low, high = (sum(f(option[m] for option in menu) for menu in costs) for f in (min, max))
        taken = sum(draw(st.sampled_from(menu))[m] for menu in costs)
        limits.append(max(low * (1 + 1e-12), draw(st.sampled_from([taken, low + 0.5 * (high - low)]))))
    flat = [[option[0] for option in menu] for menu in costs]
    return choice(losses, flat if budgets == 1 else costs, limits if budgets > 1 else limits[0])


def feasible(instance: Choice) -> list[tuple[Fraction, tuple[int, ...]]]:
    """(loss, choice) of every choice of the decisions that keeps the budgets, exactly; the best one first."""
    menus = [range(a, b) for a, b in itertools.pairwise(instance.first.tolist())]
    losses = [Fraction(w) for w in instance.losses.tolist()]
    costs = [[Fraction(c) for c in row] for row in instance.costs.tolist()]
    budgets = [Fraction(b) for b in instance.budgets.tolist()]
    found = []
    for rows in itertools.product(*menus):
        spent = [sum(costs[r][m] for r in rows) for m in range(len(budgets))]
        if all(s <= b for s, b in zip(spent, budgets, strict=True)):
            found.append((sum((losses[r] for r in rows), Fraction(0)), tuple(instance.option[list(rows)].tolist())))
    return sorted(found)


def loss_of(instance: Choice, taken: Indices) -> Fraction:
    """The loss of a choice, exactly."""
    return sum((Fraction(w) for w in instance.losses[instance.rows(taken)].tolist()), Fraction(0))


def cost_of(instance: Choice, taken: Indices) -> Fraction:
    """What a choice spends of the first budget, exactly."""
    return sum((Fraction(c) for c in instance.costs[instance.rows(taken), 0].tolist()), Fraction(0))


def tensors(seed: int, blocks: int = 36, bits_per_weight: float = 4.0) -> Choice:
    """Seven linears per block with six types each: bytes, and losses that fall like 4^-b, with noise."""
    rng = np.random.default_rng(seed)
    shapes = np.tile(np.array([4096, 1024, 1024, 4096, 9728, 9728, 9728]) * 2560.0, blocks)
    bits = np.array([2.0625, 3.0625, 4.25, 4.5, 5.5, 6.5625])
    gain = rng.lognormal(0.0, 1.0, shapes.size) * shapes / shapes.mean()
    losses = gain[:, np.newaxis] * 4.0**-bits * rng.lognormal(0.0, 0.2, (shapes.size, bits.size)) * [2, 1, 1, 1, 1, 1]
    return choice(losses, np.round(shapes[:, np.newaxis] * bits / 8.0), np.floor(shapes.sum() * bits_per_weight / 8.0))
