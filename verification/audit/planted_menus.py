"""Menus whose optimal choice is known before a solver is asked, over twelve decades of losses and costs.

Duality plants them: with multipliers mu >= 0, every option of block k loses w = a_k - mu . c + n with n >= 0, and n is
0 for one of them. If these options use the budgets up, no choice loses less than sum_k a_k - mu . budgets. All costs of
a family may be multiples of a unit, and the budget larger by less than a unit: then the bound of the relaxation is not
reached, and a proof has to count in units.

Instance i of a seed depends on (seed, i) alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from zetaplan.spec.menus.choice import Array
from zetaplan.spec.menus.declare import choice
from zetaplan.verification.audit.menu_families import PlantedChoice

DECADES = 12.0
MOST_BLOCKS = 30


@dataclass(frozen=True)
class _Family:
    """noise : the most that an option may lose beyond the bound, in units of the multiplier; 0 ties all options.

    unit : of the costs. budgets : how many. spread : whether blocks are scaled over the decades.
    """

    noise: int
    unit: int = 1
    budgets: int = 1
    spread: bool = False


FAMILIES = {
    "budget used up": _Family(noise=256, spread=True),
    "few values": _Family(noise=2),
    "subset sum": _Family(noise=0),
    "coarse costs, finer budget": _Family(noise=4, unit=7),
    "subset sum, coarse costs, finer budget": _Family(noise=0, unit=2),
    "two budgets used up": _Family(noise=64, budgets=2),
}


def plant_menu(seed: int, index: int) -> PlantedChoice:
    """Instance `index` of a seed, with its optimal objective."""
    rng = np.random.default_rng([seed, index])
    name = list(FAMILIES)[index % len(FAMILIES)]
    family = FAMILIES[name]
    most = 12 if family.budgets > 1 else MOST_BLOCKS
    sizes = rng.integers(1, 9, int(np.exp(rng.uniform(0.0, np.log(most))) + 0.5)).tolist()
    multiplier = rng.integers(1, 16, family.budgets) / 8.0
    largest = int(10 ** rng.uniform(0.5, 2.4 if family.spread else 4.0))  # so that sums over the decades are doubles
    scales = 2.0 ** -np.floor(rng.uniform(0.0, DECADES * np.log2(10.0) * family.spread, len(sizes)))
    blocks = [_block(rng, family, size, multiplier, largest, scale) for size, scale in zip(sizes, scales, strict=True)]
    losses, costs = [loss for loss, _, _ in blocks], [cost for _, cost, _ in blocks]
    use = np.sum([cost[j] for _, cost, j in blocks], axis=0)
    budgets = use + rng.integers(0, family.unit) * 1.0
    objective = sum((Fraction(float(loss[j])) for loss, _, j in blocks), Fraction(0))
    return PlantedChoice(name, choice(losses, costs, budgets), objective)


def _block(
    rng: np.random.Generator, family: _Family, size: int, multiplier: Array, largest: int, scale: float
) -> tuple[Array, Array, int]:
    """(losses, costs, the planted option) of one block, all multiples of scale / 8."""
    costs: Array = scale * family.unit * rng.integers(0, largest + 1, (size, family.budgets)).astype(np.float64)
    best = int(rng.integers(size))
    noise = scale * rng.integers(0, family.noise + 1, size) / 8.0
    noise[best] = 0.0
    losses: Array = scale * float(rng.integers(-64, 65)) - costs @ multiplier + noise
    return losses, costs, best
