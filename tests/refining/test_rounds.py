"""Rounds in planted worlds: the optimum is reached, noise is not accepted, and the limits hold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.refining.planted import LEVELS, Ladder, World, additive, best, spent, text
from zetaplan.menus.refined import Point, best_start, significant
from zetaplan.refining.rounds import LEAST, PATIENCE, TRIALS, Search, Step, Way

PORTIONS = [text("first"), text("second")]
OTHER = text("other")


def searched(world: World, evaluations: int = 200, start: Point | None = None) -> tuple[list[Step], Search]:
    search = Search(world, [Way("measured", PORTIONS)], OTHER, evaluations)  # type: ignore[arg-type]
    return list(search.steps(dict(start or world.levels.uniform))), search


#: Per block the falls of the divergence from level 0 to 1 and from 1 to 2: convex, so moves of one level lead on.
falls = st.tuples(st.integers(1, 50), st.integers(1, 50)).map(lambda pair: sorted(pair, reverse=True))


@settings(max_examples=25)
@given(st.lists(falls, min_size=3, max_size=3), st.integers(2, 5))
def test_the_best_of_all_plans_is_reached_where_losses_add(table: list[list[int]], budget: int) -> None:
    levels = Ladder(budget=budget)
    start = dict(zip(levels.costs, ["2"] * (budget // 2) + [str(budget % 2)] + ["0"] * 3, strict=False))
    divergence = additive(
        {name: (0.0, -float(a), -float(a + b)) for name, (a, b) in zip(levels.costs, table, strict=True)}
    )
    steps, search = searched(World(levels, divergence), start=start)
    end = steps[-1].round.after
    assert divergence(end) == pytest.approx(best(levels, divergence))
    assert all(spent(levels, step.round.after) <= budget for step in steps)
    assert "no choice was significantly better" in search.stopped


@settings(max_examples=25)
@given(st.lists(st.tuples(*[st.integers(-50, 50)] * 3), min_size=3, max_size=3))
def test_a_round_takes_the_best_of_all_its_moves(table: list[tuple[int, ...]]) -> None:
    """By trying all 27 plans of three layers and three levels, since every level is one move away from uniform."""
    levels = Ladder()
    divergence = additive({name: tuple(map(float, row)) for name, row in zip(levels.costs, table, strict=True)})
    steps, _ = searched(World(levels, divergence))
    assert divergence(steps[0].round.after) == pytest.approx(best(levels, divergence))


@pytest.mark.parametrize("seed", range(6))
def test_noise_is_not_accepted(seed: int) -> None:
    """All plans are equal; menus of noise promise gains. At most one of 40 tests is passed by chance."""
    world = World(Ladder(blocks=6), lambda _: float(seed), noise=1.0)
    steps, search = searched(world, 400)
    trials = [trial for step in steps for trial in step.round.trials]
    assert trials
    assert not any(trial.accepted for trial in trials)
    assert search.stopped == f"no choice was significantly better in {PATIENCE} rounds"


def test_a_rejected_choice_is_halved() -> None:
    """Only the swap of two blocks helps; the others look good on the proposing text and are bad."""
    levels = Ladder(blocks=8)
    names = list(levels.costs)

    class Misled(World):
        def reading(self, text, plan):  # type: ignore[no-untyped-def]
            found = super().reading(text, plan)
            moved = [name for name in names if plan[name] != "1"]
            true = sum((-4.0 if name in names[:2] else 5.0) for name in moved)
            seen = sum((-4.0 if name in names[:2] else -1.0) for name in moved)
            mean = true if text is OTHER else seen
            return type(found)(found.divergence + mean, found.loss)

    steps, _ = searched(Misled(levels, lambda _: 0.0, noise=1e-3))
    sizes = [len(trial.changed) for trial in steps[0].round.trials]
    assert sizes == [8, 4, 2]
    assert [trial.accepted for trial in steps[0].round.trials] == [False, False, True]
    assert {name for name, level in steps[0].round.after.items() if level != "1"} == set(names[:2])


def test_after_a_swap_that_failed_the_next_best_one_is_tried() -> None:
    """Blocks a and b promise most and are bad together; the swap of c and d keeps its promise."""
    levels = Ladder(blocks=4)
    a, b, c, d = levels.costs

    class Misled(World):
        def reading(self, text, plan):  # type: ignore[no-untyped-def]
            found = super().reading(text, plan)
            false = (plan[a], plan[b]) == ("2", "0")
            return type(found)(found.divergence + (9.0 if false and text is OTHER else 0.0), found.loss)

    table = {a: (9.0, 0.0, -8.0), b: (1.0, 0.0, 9.0), c: (9.0, 0.0, -4.0), d: (2.0, 0.0, 9.0)}
    steps, _ = searched(Misled(levels, additive(table), noise=1e-3))
    found = steps[0].round
    assert [trial.accepted for trial in found.trials][:3] == [False, False, True]
    assert found.accepted
    assert found.accepted.changed == {c: "2", d: "0"}
    barred = [set(trial.barred) for trial in found.trials]
    assert all(one <= other for one, other in pairwise(barred))
    assert {(a, "2"), (b, "0")} <= barred[-1]


@pytest.mark.parametrize("evaluations", range(LEAST, 40))
def test_no_more_is_evaluated_than_allowed(evaluations: int) -> None:
    world = World(Ladder(blocks=5), additive({f"layer {k}": (9.0 - k, 4.0, float(k)) for k in range(5)}), noise=0.1)
    steps, search = searched(world, evaluations)
    assert world.evaluations <= evaluations
    assert sum(step.round.evaluations for step in steps) == world.evaluations
    assert search.stopped


def test_every_round_proposes_on_its_own_text_and_accepts_on_another() -> None:
    levels = Ladder(blocks=4)
    world = World(levels, additive({name: (2.5, 2.0, k / 2) for k, name in enumerate(levels.costs)}))
    steps, _ = searched(world)
    assert [step.round.text for step in steps] == [PORTIONS[k % 2].sha256 for k in range(len(steps))]
    assert {name for name, _ in world.asked} == {"first", "second", "other"}
    assert all(len(step.round.trials) <= TRIALS for step in steps)


def test_moves_are_one_level_up_and_down() -> None:
    steps, _ = searched(World(Ladder(), lambda _: 0.0), start={"layer 0": "0", "layer 1": "1", "layer 2": "2"})
    moves = [(move.block, move.option) for move in steps[0].round.moves]
    assert moves == [("layer 0", "1"), ("layer 1", "0"), ("layer 1", "2"), ("layer 2", "1")]
    assert set(LEVELS) == {"0", "1", "2"}


def test_significance_is_that_of_a_paired_t_test() -> None:
    from scipy.stats import ttest_rel

    draw = np.random.default_rng(4)
    for shift in np.linspace(-1, 1, 21):
        before = draw.normal(size=12)
        after = before + shift + 0.5 * draw.normal(size=12)
        expected = ttest_rel(after, before, alternative="less").pvalue < 0.025
        assert significant(tuple(before), tuple(after)) == expected


def test_the_best_of_several_starts_is_the_first_operating_point() -> None:
    """A long way from uniform: the plans between are worse than both."""
    levels = Ladder(blocks=4)
    good = dict(zip(levels.costs, ("2", "0", "2", "0"), strict=True))
    world = World(levels, lambda plan: 0.0 if plan == good else 1.0 + sum(plan[b] != o for b, o in good.items()))
    search = Search(world, [Way("measured", PORTIONS)], OTHER, 60)  # type: ignore[arg-type]
    starts = search.starts([dict(levels.uniform), good])
    assert best_start(starts) == good
    assert search.starts([dict(levels.uniform)]) == ()


def test_the_step_is_halved_where_nothing_improves() -> None:
    """A move of two levels is as bad as none is; one level is better."""
    levels = Ladder(blocks=2)
    levels.costs = {name: {str(level): level for level in range(5)} for name in levels.costs}
    levels.budget, levels.uniform, levels.stride = 4, dict.fromkeys(levels.costs, "2"), 2
    up, down = levels.costs
    world = World(levels, lambda plan: (int(plan[up]) - 3.0) ** 2 + (int(plan[down]) - 1.0) ** 2)
    steps, _ = searched(world)
    assert [len(step.round.trials) for step in steps[:2]] == [0, 1]
    assert {move.option for move in steps[0].round.moves} == {"0", "4"}
    assert steps[-1].round.after == {up: "3", down: "1"}
