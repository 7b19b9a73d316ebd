"""Refinement by slopes: the plan is proved and tested as with measured moves, and curvature is charged for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zetaplan as zp
from tests.menus.test_plan import failing
from tests.refining.planted import Ladder, best, curved, spent, text
from tests.refining.test_refine import ACCEPT, PROPOSE, content, facts_of, refined
from tests.tiny_models import tiny_llama
from zetaplan.documents.choices import choice_document
from zetaplan.errors import SpecError
from zetaplan.menus.refined import Known
from zetaplan.models.inputs import Inputs
from zetaplan.models.operating_point import OperatingPoint
from zetaplan.refining.levels import find_levels
from zetaplan.refining.meter import passes_of
from zetaplan.refining.rounds import ORDERS, Search, Way, least_of
from zetaplan.scoring.text.sequences import checked_batches

SMOOTH = ("magnitude", "wanda", "sparsegpt", "svd", "svd-llm")
FORMATS = ("rtn", "gptq", "gguf")
PREDICTED = ("slopes", "curvature")


@pytest.mark.parametrize("moves", PREDICTED)
@pytest.mark.parametrize("method", [*SMOOTH, *FORMATS])
def test_every_plan_is_within_its_budget_and_verifies(method: str, moves: str) -> None:
    plan = refined(method, moves=moves)
    facts = facts_of(plan)
    assert facts.moves == facts.rounds[0].known == moves
    assert sum(facts.costs[block][option] for block, option in plan.taken.items()) <= facts.budget
    assert failing(json.loads(choice_document(plan).text())) == set()


def test_moves_are_predicted_with_their_curvature_by_default() -> None:
    options: dict[str, Any] = {"evaluations": 9, "cache": False, "options": ("int2", "int4", "int8")}
    for method, budget in (("magnitude", 0.5), ("rtn", "int4")):
        plan = zp.refine(tiny_llama(layers=3, hidden=32), method, budget, PROPOSE, ACCEPT, **options)
        assert facts_of(plan).rounds[0].known == "curvature"


@pytest.mark.parametrize("moves", PREDICTED)
def test_layers_that_are_left_out_are_measured(moves: str) -> None:
    facts = facts_of(refined("drop", moves=moves))
    assert {facts.moves, *(found.known for found in facts.rounds)} == {"measured"}


@pytest.mark.parametrize("moves", PREDICTED)
@pytest.mark.parametrize("method", SMOOTH)
def test_moves_of_sparsity_and_ranks_are_all_predicted(method: str, moves: str) -> None:
    facts = facts_of(refined(method, moves=moves, evaluations=60))
    assert {found.known for found in facts.rounds} == {moves}


@pytest.mark.parametrize("moves", PREDICTED)
@pytest.mark.parametrize("method", FORMATS)
def test_measured_moves_of_formats_follow_when_predictions_are_of_no_more_use(method: str, moves: str) -> None:
    facts = facts_of(refined(method, moves=moves, evaluations=60))
    known = [found.known for found in facts.rounds]
    first = known.index("measured")
    assert set(known[:first]) == {moves}
    assert set(known[first:]) == {"measured"}
    assert facts.rounds[first - 1].accepted is None
    assert len({found.text for found in facts.rounds[:first]}) == 1
    assert facts.rounds[first].text != facts.rounds[0].text


def test_a_move_is_the_divergence_and_the_slope_along_it() -> None:
    """Against difference quotients of whole passes along the step from the values of one level to those of another."""
    model = tiny_llama(layers=3, hidden=32)
    facts = facts_of(refined("magnitude", model, moves="slopes"))
    first, point = facts.rounds[0], OperatingPoint(model, checked_batches(PROPOSE), resume=False)
    levels = find_levels("magnitude", inputs=Inputs(model, None, None), budget="0.5", blocks="modules")
    at = {name: value for block in first.at for name, value in levels.values(block, first.at[block]).items()}
    assert point.reading(at).divergence == pytest.approx(first.divergence, rel=1e-4)
    for move in first.moves[::3]:
        own = {name: levels.values(move.block, move.option)[name] - at[name] for name in at if move.block in name}
        ends = [
            point.reading({**at, **{name: at[name] + t * step for name, step in own.items()}}).divergence
            for t in (-0.02, 0.02)
        ]
        slope = np.array(move.divergence) - first.divergence
        assert slope == pytest.approx((ends[1] - ends[0]) / 0.04, rel=0.02, abs=2e-3)


def test_a_run_continues_from_its_journal(tmp_path: Path) -> None:
    whole = content(refined("wanda", moves="slopes", cache=tmp_path))
    [file] = tmp_path.rglob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    for kept in (0, 3, len(lines) - 1):
        file.write_bytes(b"".join(lines[:kept]))
        assert content(refined("wanda", moves="slopes", cache=tmp_path)) == whole


@settings(max_examples=25)
@given(st.lists(st.integers(-40, 40), min_size=4, max_size=4))
def test_where_slopes_mislead_measured_moves_reach_the_best_plan(falls: list[int]) -> None:
    """The slopes say the opposite of the divergence."""
    levels = Ladder(blocks=4)
    true = dict(zip(levels.costs, map(float, falls), strict=True))
    world = curved(levels, true, 0.0)
    world.slope = {block: -slope for block, slope in true.items()}
    ways = [Way("slopes", [text("first")]), Way("measured", [text("second"), text("third")])]
    search = Search(world, ways, text("other"), 400)  # type: ignore[arg-type]
    steps = list(search.steps(dict(levels.uniform)))
    assert not steps[0].round.accepted
    assert steps[1].round.at == steps[0].round.at
    assert {step.round.known for step in steps[1:]} == {"measured"}
    assert world.divergence(steps[-1].round.after) == pytest.approx(best(levels, world.divergence))


@settings(max_examples=25)
@given(st.lists(st.integers(-40, 40), min_size=4, max_size=4), st.integers(1, 12))
def test_the_curvature_is_charged_and_the_best_plan_is_reached(falls: list[int], curvature: int) -> None:
    levels = Ladder(blocks=4)
    world = curved(levels, dict(zip(levels.costs, map(float, falls), strict=True)), float(curvature))
    search = Search(world, [Way("slopes", [text("first")])], text("other"), 200)  # type: ignore[arg-type]
    steps = list(search.steps(dict(levels.uniform)))
    trials = [trial for step in steps for trial in step.round.trials]
    charged = [trial.charge for trial in trials[1:]]
    first = trials[0] if trials else None
    if first and first.accepted:
        assert charged == pytest.approx([curvature] * len(charged))
        assert world.divergence(steps[-1].round.after) == pytest.approx(best(levels, world.divergence))
    assert all(spent(levels, step.round.after) <= levels.budget for step in steps)


@pytest.mark.parametrize("moves", PREDICTED)
@pytest.mark.parametrize("method", ["magnitude", "rtn"])
@pytest.mark.parametrize("more", range(13))
def test_no_more_is_evaluated_than_allowed(more: int, method: str, moves: Known) -> None:
    least, evaluations = passes_of(ORDERS[moves]), least_of(moves) + more
    facts = facts_of(refined(method, moves=moves, evaluations=evaluations))
    assert facts.evaluations <= evaluations + 2  # and the comparison on held-out text
    assert sum(found.evaluations for found in facts.rounds) <= evaluations
    spent = sum(found.evaluations for found in facts.rounds if found.known == moves)
    assert spent >= least
    with pytest.raises(SpecError, match=f"expected a whole number of at least {least_of(moves)}"):
        refined(method, moves=moves, evaluations=least_of(moves) - 1)
