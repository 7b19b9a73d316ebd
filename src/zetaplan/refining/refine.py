"""A plan refined by measurements, with its record: what `zetaplan refine` does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn
from tqdm.auto import tqdm

from zetaplan.errors import InfeasibleError, SpecError, shown
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.planner import choose
from zetaplan.menus.refined import HeldOut, Known, Point, Refined, best_start, comparison, menu_of
from zetaplan.models.inputs import Inputs
from zetaplan.refining.journal import journal
from zetaplan.refining.levels import Levels, by_block, find_levels, methods
from zetaplan.refining.meter import Meter
from zetaplan.refining.rounds import ORDERS, Search, Step, Way, least_of
from zetaplan.refining.texts import Text, portions, require_disjoint, text_of
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.arguments import require_switch
from zetaplan.scoring.distributed import joined
from zetaplan.scoring.measure import Batches
from zetaplan.scoring.model.gguf import cache_folder
from zetaplan.scoring.model.streamed import streamed
from zetaplan.scoring.text.sequences import checked_batches

#: Levels of sparsity in the first step.
STRIDE = 2


def refine(
    model: LoadedModel | nn.Module,
    method: str,
    budget: float | str,
    propose: Batches,
    accept: Batches,
    *,
    held_out: Batches | None = None,
    calibration: Batches | None = None,
    start: Mapping[str, str] | None = None,
    evaluations: int = 120,
    sequences: int = 8,
    moves: Known = "curvature",
    blocks: str | None = None,
    step: float | str = "0.05",
    options: Sequence[str] = (),
    cache: bool | str | os.PathLike[str] = True,
    distributed: bool = False,
    progress: bool = False,
) -> ChoicePlan:
    """Improve a plan by moves of single blocks to neighbouring levels. The model is not changed.

    In every round, one pass gives the derivatives of the divergence from the unchanged model along every move, or every
    move is measured. The choice program selects the best moves within the budget, with proof. They are made if
    they reduce the divergence significantly on the accepting text. The record of all rounds is in the plan's
    `menu.provenance`.

    Args:
        model: a decoder-only transformers model.
        method: "wanda", "sparsegpt" or "magnitude" (sparsity); "svd-llm" or "svd" (linears of low rank); "rtn", "gptq"
            or "gguf" (formats); "drop" (layers).
        budget: the share of weights to remove; stored bits per weight or a format; the number of layers to leave out.
        propose: the text of the menus. Slopes use all of it; for measured moves each round uses the next `sequences`
            sequences.
        accept: the text of the tests.
        held_out: the text of the comparison with uniform at the same budget.
        calibration: the text of the input statistics, if the method needs them.
        start: the first option of every block, or of the layer that it is in. By default the best of several plans,
            each measured: uniform, and plans by zeta^2 (sparsity, ranks), by the Fisher matrix (formats), or all
            contiguous runs (layers that are left out).
        evaluations: the largest number of evaluated pairs of plan and text; a backward pass counts as two.
        moves: "curvature" (predicted from one pass, by the first derivative and the diagonal of the second), "slopes"
            (by the first derivative) or "measured" (one by one). For formats, measured moves follow when no choice by
            derivatives is accepted. Layers that are left out are always measured.
        blocks: "layers", "modules" (single linears) or, of formats and ranks, "fused" (linears that vLLM stores
            together). By default "layers" for "drop" and with measured moves of sparsity and ranks, otherwise
            "modules".
        step: of the first moves between levels of sparsity or rank; it is halved where nothing improves.
        options: the formats to choose from.
        cache: whether, or in which folder, statistics, weights and the journal of evaluations are kept. A run that was
            killed continues from its journal.
        distributed: divide the evaluations of a round among the processes started by torchrun; no effect outside it.
        progress: show a progress bar.

    Raises:
        SpecError: an argument is invalid, or texts have a sequence in common.
        InfeasibleError: the start exceeds the budget.
        ScoringError: the model or a text cannot be used.

    Examples:
        >>> texts = torch.randint(0, 64, (20, 16), generator=torch.Generator().manual_seed(1))
        >>> plan = zp.refine(model, "magnitude", 0.5, texts[:4], texts[4:12], held_out=texts[12:], sequences=4)
        >>> plan.menu.budgets
        ('weights kept', 'blocks changed')
    """
    require_arguments(method, evaluations, moves)
    require_switch(distributed=distributed, progress=progress)
    network, name, sha256 = parts_of(model)
    folder = cache_folder() if cache is True else None if cache is False else Path(cache)
    data = None if calibration is None else checked_batches(calibration, model=network)
    inputs = Inputs(network, data, folder, name=name, sha256=sha256)
    levels = find_levels(
        method,
        inputs=inputs,
        budget=str(budget),
        blocks=blocks,
        step=step,
        options=options,
        start=start,
        stride=STRIDE,
        moves=moves,
    )
    ways = list(_ways(moves, levels, propose, network, sequences))
    accepting, compared = text_of(accept, network), None if held_out is None else text_of(held_out, network)
    proposing = [text for way in ways for text in way.texts]
    require_disjoint({"propose": proposing, "accept": [accepting], "held_out": [compared] if compared else []})
    batches = [batch for text in ways[0].texts for batch in text.batches]
    if streamed(network):
        for observed, observe in levels.observations().items():  # before any layer has other weights
            inputs.observe(observed, observe)
    found = levels.starts(batches, progress=progress) if start is None else [_start(levels, start)]
    starts = [dict(plan) for plan in found]
    facts = {**inputs.facts, "method": method, "costs": levels.costs}
    with (
        joined(distributed, next(network.parameters()).device) as ranks,
        journal(folder, facts, ranks) as book,
        tqdm(total=evaluations, desc="refine", unit="eval", disable=not progress) as bar,
    ):
        search = Search(Meter(levels, book, ranks, bar), ways, accepting, evaluations)
        return _refined(method, search, starts, compared)


def _ways(moves: Known, levels: Levels, propose: Batches, network: nn.Module, sequences: int) -> Iterator[Way]:
    """How moves are known: by derivatives, if they have some, and measured, if these do not predict all of them."""
    if predicted := ORDERS[moves] > 0 and levels.differentiable:
        yield Way(moves, [text_of(propose, network)])
    if not (predicted and levels.smooth):
        yield Way("measured", portions(propose, network, sequences))


def _refined(method: str, search: Search, plans: Sequence[Point], held_out: Text | None) -> ChoicePlan:
    meter, levels = search.meter, search.levels
    starts = search.starts(plans)
    start = best_start(starts) if starts else plans[0]
    steps = list(search.steps(start))
    plan = _last(levels, steps)
    compared = _compared(meter, held_out, plan.taken)
    record = Refined(
        method=method,
        moves=search.ways[0].known,
        resource=levels.resource,
        unit=levels.unit,
        budget=levels.budget,
        costs={block: {option: float(cost) for option, cost in row.items()} for block, row in levels.costs.items()},
        uniform=dict(levels.uniform),
        start=start,
        starts=starts,
        accepting=search.accepting.sha256,
        rounds=tuple(step.round for step in steps),
        held_out=compared,
        stopped=search.stopped,
        evaluations=meter.evaluations,
        seconds=meter.seconds,
    )
    provenance = {**levels.facts(), "refined": record.model_dump(mode="json")}
    return replace(plan, menu=replace(plan.menu, provenance=provenance))


def _last(levels: Levels, steps: Sequence[Step]) -> ChoicePlan:
    """The plan of the last accepted round; without one, the start: the choice of the first menu without changes."""
    if accepted := [step.plan for step in steps if step.plan]:
        return accepted[-1]
    first = steps[0].round
    menu = menu_of(first.at, first.divergence, first.moves, levels.costs, levels.resource, levels.unit)
    return choose(menu, (levels.budget, 0))


def _compared(meter: Meter, text: Text | None, plan: Point) -> HeldOut | None:
    if text is None:
        return None
    uniform, refined = meter.readings(text, [dict(meter.levels.uniform), plan])
    return comparison(text.sha256, tuple(uniform.loss.tolist()), tuple(refined.loss.tolist()))


def _start(levels: Levels, start: Mapping[str, str]) -> Point:
    """The first operating point. Raises SpecError unless it has one option for every block, within the budget."""
    point = {block: levels.spelled(option) for block, option in by_block(start, levels.costs).items()}
    if set(point) != set(levels.costs):
        wrong = sorted(set(point) ^ set(levels.costs))
        raise SpecError(f"start: {wrong[0]!r} is in only one of the start and the model; give all blocks of the model")
    for block, option in point.items():
        if option not in levels.costs[block]:
            raise SpecError(f"start[{block!r}] = {shown(option)}: expected one of {', '.join(levels.costs[block])}")
    spent = sum(levels.costs[block][option] for block, option in point.items())
    if spent > levels.budget:
        raise InfeasibleError(f"start: it takes {spent:,} {levels.unit}, the budget is {levels.budget:,}")
    return {block: point[block] for block in levels.costs}


def require_arguments(method: str, evaluations: int, moves: Known) -> None:
    """Raise SpecError for an unknown method or kind of moves, or for too few evaluations for a round."""
    if moves not in tuple(ORDERS):
        raise SpecError(f"moves = {shown(moves)}: expected one of {', '.join(ORDERS)}")
    if method not in methods():
        raise SpecError(f"method = {shown(method)}: expected one of {', '.join(methods())}")
    if isinstance(evaluations, bool) or not isinstance(evaluations, int) or evaluations < least_of(moves):
        raise SpecError(f"evaluations = {shown(evaluations)}: expected a whole number of at least {least_of(moves)}")


def parts_of(model: LoadedModel | nn.Module) -> tuple[nn.Module, str, str]:
    """The network, its name and the sha256 of its weights; "" where they are unknown."""
    return (model.model, model.name, model.sha256) if isinstance(model, LoadedModel) else (model, "", "")
