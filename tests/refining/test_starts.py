"""Plans that a refinement may begin with: estimated for every kind of decision, within the budget, then measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import zetaplan as zp
from tests.refining.test_refine import ACCEPT, CALIBRATION, CASES, PROPOSE, facts_of, refined
from tests.tiny_models import tiny_llama
from zetaplan.errors import SpecError
from zetaplan.models.inputs import Inputs
from zetaplan.refining.levels import Levels, _shares, find_levels
from zetaplan.scoring.text.sequences import checked_batches

INTEGERS = tuple(f"int{bits}-g8" for bits in (2, 4, 8))


def levels_of(method: str, model: Any, budget: str, **settings: Any) -> Levels:
    inputs = Inputs(model, checked_batches(CALIBRATION, model=model), None)
    return find_levels(method, inputs=inputs, budget=budget, **settings)


@pytest.mark.parametrize("moves", ["curvature", "slopes", "measured"])
@pytest.mark.parametrize("method", CASES)
def test_all_starts_are_whole_plans_within_the_budget(method: str, moves: str) -> None:
    case = {name: value for name, value in CASES[method].items() if name != "budget"}
    levels = levels_of(method, tiny_llama(layers=3, hidden=32), str(CASES[method]["budget"]), moves=moves, **case)
    starts = levels.starts(checked_batches(PROPOSE))
    assert len(starts) > 1
    assert starts[0] == levels.uniform
    for start in starts:
        assert list(start) == list(levels.costs)
        assert sum(levels.costs[block][option] for block, option in start.items()) <= levels.budget


@pytest.mark.parametrize("method", CASES)
def test_the_best_measured_start_is_the_first_operating_point(method: str) -> None:
    facts = facts_of(refined(method, moves="slopes"))
    means = [float(np.mean(start.divergence)) for start in facts.starts]
    assert len(means) > 1
    assert facts.rounds[0].at == facts.start == facts.starts[int(np.argmin(means))].plan


@pytest.mark.parametrize("blocks", ["layers", "fused", "modules"])
def test_formats_begin_with_the_choice_of_the_menu_by_fisher(blocks: str) -> None:
    model = tiny_llama(layers=3, hidden=32)
    levels = levels_of("rtn", model, "4.9", blocks=blocks, options=INTEGERS)
    menu = zp.measure(model, INTEGERS, PROPOSE, blocks=blocks, estimator="fisher", cache=False)
    rows = {
        name: dict(zip(options, losses, strict=True))
        for name, options, losses in zip(menu.names, menu.options, menu.losses, strict=True)
        if name in levels.costs
    }
    _, best = levels.chosen({name: {option: rows[name][option] for option in levels.costs[name]} for name in rows})
    start = levels.starts(checked_batches(PROPOSE))[1]
    assert sum(rows[name][option] for name, option in start.items()) == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("blocks", ["layers", "modules"])
def test_sparsity_begins_with_the_shares_of_the_pruning_program(blocks: str) -> None:
    """In layers of one size, sum zeta^(2 kappa) rho^2 is that of the optimum without levels, but for a level."""
    model = tiny_llama(layers=4, hidden=32)
    levels: Any = levels_of("magnitude", model, "0.5", blocks=blocks, step="0.01")
    scores = zp.score(model, PROPOSE)
    starts = levels.starts(checked_batches(PROPOSE))
    for kappa, start in zip(_shares.KAPPAS, starts[1:], strict=True):
        plan = zp.prune(scores, sparsity=0.5, upper=_shares.CAP, kappa=kappa)
        optimum = np.asarray(plan.solution.x)
        means, squares = [], []
        for layer in plan.names:
            own = [block for block in start if f"{block}.".startswith(f"{layer}.")]
            shares, sizes = [float(start[block]) for block in own], [levels.sizes[block] for block in own]
            means.append(np.average(shares, weights=sizes))
            squares.append(np.average(np.square(shares), weights=sizes))
        assert means == pytest.approx(optimum, abs=0.02)
        assert scores.gain**kappa @ squares == pytest.approx(
            scores.gain**kappa @ optimum**2, rel=5e-3
        )  # counts are rounded up


def test_equal_gains_give_the_uniform_plan() -> None:
    levels: Any = levels_of("magnitude", tiny_llama(layers=3, hidden=32), "0.5", blocks="modules")
    assert levels._by_gain({f"model.layers.{k}": 2.0 for k in range(3)}, 1.0) == levels.uniform


def test_a_budget_above_the_cap_leaves_the_uniform_plan_possible() -> None:
    levels = levels_of("magnitude", tiny_llama(layers=3, hidden=32), "0.9")
    assert len(levels.starts(checked_batches(PROPOSE))) == 1 + len(_shares.KAPPAS)


@pytest.mark.parametrize(
    ("method", "moves", "blocks"),
    [("magnitude", "slopes", "modules"), ("magnitude", "measured", "layers"), ("rtn", "slopes", "modules")],
)
def test_blocks_that_are_not_given(method: str, moves: str, blocks: str) -> None:
    model = tiny_llama(layers=3, hidden=32)
    budget, options = ("int4-g8", INTEGERS) if method == "rtn" else ("0.5", ())
    plan = zp.refine(model, method, budget, PROPOSE, ACCEPT, evaluations=9, moves=moves, options=options, cache=False)
    assert set(plan.taken) == set(levels_of(method, model, budget, blocks=blocks, options=options).costs)


def test_slopes_on_one_text_stop_at_the_first_round_without_a_choice() -> None:
    """The next round would be the same: the record has no round twice."""
    facts = facts_of(refined("magnitude", moves="slopes", evaluations=200))
    points = [(found.text, tuple(found.at.items()), len(found.moves), found.moves[0].option) for found in facts.rounds]
    assert len(set(points)) == len(points)
    assert facts.stopped == "no choice was significantly better in 1 round"


def test_the_estimates_change_no_weight() -> None:
    model = tiny_llama(layers=3, hidden=32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for method, budget in (("magnitude", "0.5"), ("rtn", "4.9")):
        levels_of(method, model, budget, options=INTEGERS).starts(checked_batches(PROPOSE))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("method", "options"), [("magnitude", ("0.6", "0.5", "0.4")), ("rtn", ("int4-g8",) * 3)])
def test_a_start_by_layers_is_one_of_all_blocks_inside(method: str, options: tuple[str, ...]) -> None:
    start = {f"model.layers.{k}": option for k, option in enumerate(options)}
    given: dict[str, Any] = {"budget": "int4-g8", "options": INTEGERS} if method == "rtn" else {}
    at = facts_of(refined(method, moves="slopes", start=start, **given)).rounds[0].at
    assert len(at) > len(start)
    assert all(option == start[".".join(block.split(".")[:3])] for block, option in at.items())


@pytest.mark.parametrize(
    "start", [{"model.layers.0": "0.5"}, {"model.layers.0": "0.5", "model.layers.1": "0.5", "x": "0"}]
)
def test_a_start_that_covers_not_all_blocks_is_refused(start: dict[str, str]) -> None:
    with pytest.raises(SpecError, match="is in only one of the start and the model"):
        refined("magnitude", moves="slopes", start=start)
