"""Plans from measurements of the model itself, for every kind of decision."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.tables.search import search
from benchmarks.tables.setting import LENGTH, PORTION, UNIT, Planned, Setting
from zetaplan.menus.refined import Known, Refined, refined_facts
from zetaplan.refining.meter import passes_of
from zetaplan.refining.refine import refine
from zetaplan.refining.rounds import ORDERS


def uniform(setting: Setting) -> Planned:
    return Planned(dict(setting.levels().uniform))


def from_dense(setting: Setting) -> Planned:
    """Every option of every layer alone, all others unchanged; the choice program adds the losses up."""
    levels, text = setting.levels(), setting.portions[0]
    with setting.measuring() as measuring:
        losses = {
            block: {option: measuring.divergence(text, {block: option}, near={}) for option in _options(setting, block)}
            for block in levels.costs
        }
        point, promised = levels.chosen(losses)
        return measuring.planned(point, promised=promised)


def _options(setting: Setting, block: str) -> list[str]:
    """All options; of sparsity four levels around the budget, the budget among them."""
    costs = setting.levels().costs[block]
    if setting.levels().resource != "weights kept":
        return list(costs)
    ladder, at = list(costs), list(costs).index(setting.levels().uniform[block])
    return ladder[at - 4 : at + 5 : 2]


def refined(
    setting: Setting, start: Planned | None = None, moves: Known = "curvature", blocks: str | None = None
) -> Planned:
    """The seconds are those of the evaluations and of the estimates of the starts."""
    began = time.monotonic()
    kind = setting.levels(blocks).kind
    plan = refine(
        setting.loaded,
        setting.task.method,
        setting.task.budget,
        setting.rows["propose"],
        setting.rows["accept"],
        calibration=setting.rows["calibrate"],
        start=start.point if start else None,
        evaluations=setting.task.evaluations,
        moves=moves,
        blocks=kind,
        sequences=PORTION,
        options=setting.task.options,
        cache=str(setting.folder) if setting.folder else True,
        progress=True,
    )
    facts = refined_facts(plan.menu.provenance)
    assert facts is not None
    accepting, proposing = (len(setting.rows[name]) * LENGTH for name in ("accept", "propose"))
    started = proposing if setting.levels(blocks).smooth and moves != "measured" else PORTION * LENGTH
    moved = (
        (1 + len(found.moves)) * PORTION * LENGTH
        if found.known == "measured"
        else passes_of(ORDERS[found.known]) * proposing
        for found in facts.rounds
    )
    tested = (len(found.trials) + (not number) for number, found in enumerate(facts.rounds))
    tokens = sum(moved) + accepting * sum(tested) + len(facts.starts) * started
    accepted = sum(found.accepted is not None for found in facts.rounds)
    return Planned(
        plan.taken,
        kind,
        facts.evaluations,
        tokens,
        max(facts.seconds, time.monotonic() - began),
        {"accepted": accepted, "stopped": facts.stopped, "start": _start(facts)},
    )


def _start(facts: Refined) -> int:
    """The number of the plan that it began with, of those that were measured; 0 is uniform."""
    return [start.plan for start in facts.starts].index(facts.start) if facts.starts else 0


def searched(setting: Setting, times: int = 1) -> Planned:
    """Evolutionary search with so many times the tokens of the refinement at full length: a unit per evaluation."""
    return search(setting, times * setting.task.evaluations * UNIT)


ROWS = {
    "uniform": uniform,
    "measured from the dense model": from_dense,
    "refine": refined,
    "refine, first derivatives": partial(refined, moves="slopes"),
    "refine, measured moves of layers": partial(refined, moves="measured", blocks="layers"),
    "search, as many evaluations": searched,
    "search, ten times as many": partial(searched, times=10),
}
