"""The evolutionary level-switch search of EvoPress (Sieberling et al. 2024, arXiv 2410.14649), from its paper.

One parent. A child makes one to three switches: one block goes a level up, another goes down by a step of nearly the
same cost, so that the budget is kept and used. All children are measured on a little text; the best of them and the
parent are measured on more text, and the best of these is the next parent. Every generation uses other text.
"""

from __future__ import annotations

from itertools import count
from random import Random

from benchmarks.tables.setting import Measuring, Planned, Point, Setting
from zetaplan.refining.levels import Levels
from zetaplan.refining.texts import Text, text_of

#: The largest difference of the costs of the two steps of a switch, relative to a step.
CLOSE = 0.01

#: Children of a generation, those that reach the second selection, and the sequences of the first.
CHILDREN, FINALISTS, FEW = 8, 2, 2


def search(setting: Setting, tokens: int, seed: int = 0) -> Planned:
    """The parent after evaluations of so many tokens, from the uniform plan."""
    random, levels = Random(seed), setting.levels()  # noqa: S311  a seeded draw
    small = [_head(setting, text) for text in setting.portions]
    with setting.measuring() as measuring:
        parent = dict(levels.uniform)
        for generation in count():
            place = generation % len(small)
            children = [_child(parent, levels, random) for _ in range(CHILDREN)]
            best = _best(measuring, small[place], setting.portions[place], parent, children)
            if measuring.tokens > tokens:
                return measuring.planned(parent, generations=generation, seed=seed)
            parent = best
    raise AssertionError


def _best(measuring: Measuring, small: Text, large: Text, parent: Point, children: list[Point]) -> Point:
    ranked = sorted(children, key=lambda child: measuring.divergence(small, child))
    return min([parent, *ranked[:FINALISTS]], key=lambda plan: measuring.divergence(large, plan, near=parent))


def _child(parent: Point, levels: Levels, random: Random) -> Point:
    child = dict(parent)
    for _ in range(min(random.randint(1, 3), random.randint(1, 3))):
        child |= _switch(child, levels, random)
    return child


def _switch(plan: Point, levels: Levels, random: Random) -> Point:
    """A block one level up and another one down at nearly the same cost. Raises ValueError if there is no such pair."""
    up = [(block, option, _rise(levels, block, plan[block], option)) for block, option in _steps(plan, levels, 1)]
    down = [(block, option, _rise(levels, block, plan[block], option)) for block, option in _steps(plan, levels, -1)]
    free = levels.budget - sum(levels.costs[block][option] for block, option in plan.items())
    random.shuffle(up)
    for block, option, rise in up:
        pairs = [
            (other, lower)
            for other, lower, fall in down
            if other != block and rise + fall <= free and abs(rise + fall) <= CLOSE * rise
        ]
        if pairs:
            other, lower = random.choice(pairs)
            return {block: option, other: lower}
    raise ValueError("no switch keeps the budget")


def _steps(plan: Point, levels: Levels, way: int) -> list[tuple[str, str]]:
    found = []
    for block, option in plan.items():
        ladder = list(levels.costs[block])
        place = ladder.index(option) + way
        if 0 <= place < len(ladder):
            found.append((block, ladder[place]))
    return found


def _rise(levels: Levels, block: str, old: str, new: str) -> int:
    return levels.costs[block][new] - levels.costs[block][old]


def _head(setting: Setting, text: Text) -> Text:
    return text_of({name: value[:FEW] for name, value in text.batches[0].items()}, setting.loaded.model)
