"""Worlds whose divergence is planted, so that the best plan is known by trying all of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.refined import Point
from zetaplan.models.operating_point import Changes, Reading
from zetaplan.refining.levels import Levels
from zetaplan.refining.refine import _refined
from zetaplan.refining.rounds import Search, Way
from zetaplan.refining.texts import Text

Divergence = Callable[[Point], float]
LEVELS = ("0", "1", "2")


class Ladder(Levels):
    """Blocks with the levels 0, 1, 2 that cost as much; uniform is level 1."""

    resource, unit = "cost", "units"

    def __init__(self, blocks: int = 3, budget: int | None = None) -> None:
        names = [f"layer {k}" for k in range(blocks)]
        self.costs = {name: {level: int(level) for level in LEVELS} for name in names}
        self.budget = blocks if budget is None else budget
        self.uniform = dict.fromkeys(names, "1")

    def values(self, block: str, option: str) -> Changes:
        raise AssertionError("nothing is measured by a model")

    def facts(self) -> dict[str, Any]:
        return {}


@dataclass
class World:
    """A meter without a model. noise : of single sequences, by text; the same plan has the same noise."""

    levels: Levels
    divergence: Divergence
    noise: float = 0.0
    sequences: int = 16
    asked: list[tuple[str, Point]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def evaluations(self) -> int:
        return len({(text, tuple(plan.items())) for text, plan in self.asked})

    def readings(self, text: Text, plans: Sequence[Point], near: Point | None = None) -> list[Reading]:
        return [self.reading(text, plan) for plan in plans]

    def reading(self, text: Text, plan: Point) -> Reading:
        self.asked.append((text.sha256, dict(plan)))
        seed = list(f"{text.sha256} {sorted(plan.items())}".encode())
        drawn = np.random.default_rng(seed).normal(size=self.sequences)
        found: NDArray[np.float64] = self.divergence(plan) + self.noise * drawn
        return Reading(found, found)


@dataclass
class Curved(World):
    """A world whose slopes are known: the divergence is their sum plus `curvature` times the squares of the levels."""

    curvature: float = 0.0
    slope: dict[str, float] = field(default_factory=dict)

    def slopes(self, text: Text, at: Point, moves: list[tuple[str, str]], order: int) -> list[tuple[float, ...]]:
        [base] = self.readings(text, [at])
        after = (base.divergence + self.slope[block] * (int(option) - int(at[block])) for block, option in moves)
        return [tuple(values.tolist()) for values in (base.divergence, *after)]


def curved(levels: Levels, slope: dict[str, float], curvature: float) -> Curved:
    """Levels count from 1, where the world is uniform."""

    def divergence(plan: Point) -> float:
        moved = {block: int(level) - 1 for block, level in plan.items()}
        return sum(slope[block] * t + curvature * t**2 for block, t in moved.items())

    return Curved(levels, divergence, curvature=curvature, slope=slope)


def text(name: str) -> Text:
    return Text(({"input_ids": torch.zeros(2, 2)},), name)


def additive(table: dict[str, tuple[float, ...]]) -> Divergence:
    """The sum over blocks of the entry of their level."""
    return lambda plan: sum(table[block][int(level)] for block, level in plan.items())


def best(levels: Levels, divergence: Divergence) -> float:
    """The least divergence of all plans within the budget."""
    names = list(levels.costs)
    plans = (dict(zip(names, choice, strict=True)) for choice in itertools.product(*levels.costs.values()))
    return min(divergence(plan) for plan in plans if spent(levels, plan) <= levels.budget)


def spent(levels: Levels, plan: Point) -> int:
    return sum(levels.costs[block][option] for block, option in plan.items())


@lru_cache(1)
def planted_plan() -> ChoicePlan:
    """A refined plan with several rounds, some accepted, and a comparison."""
    levels = Ladder(blocks=4)
    divergence = additive({name: (2.5, 2.0, k / 2) for k, name in enumerate(levels.costs)})
    world: Any = World(levels, divergence, noise=0.05)
    search = Search(world, [Way("measured", [text("first"), text("second")])], text("other"), 60)
    return _refined("planted", search, [dict(levels.uniform)], text("held out"))
