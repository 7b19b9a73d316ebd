"""Menus of the levels of a method: what every level of every block costs, measured from the unchanged model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from torch import nn
from tqdm.auto import tqdm

from zetaplan.errors import SpecError, shown
from zetaplan.measuring.estimators.measured import standard_error
from zetaplan.menus.menu import Menu
from zetaplan.models.inputs import Inputs
from zetaplan.models.operating_point import Reading
from zetaplan.refining.journal import journal
from zetaplan.refining.levels import Levels, dropping, find_levels, pruning, replacement
from zetaplan.refining.meter import Meter
from zetaplan.refining.refine import parts_of
from zetaplan.refining.texts import Text, text_of
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.arguments import require_switch
from zetaplan.scoring.distributed import joined
from zetaplan.scoring.measure import Batches
from zetaplan.scoring.model.gguf import cache_folder
from zetaplan.scoring.text.sequences import checked_batches


def measure_levels(
    model: LoadedModel | nn.Module,
    method: str,
    text: Batches,
    *,
    blocks: str = "layers",
    step: float | str = "0.1",
    calibration: Batches | None = None,
    cache: bool | str | os.PathLike[str] = True,
    distributed: bool = False,
    progress: bool = False,
) -> Menu:
    """The menu of sparsity, of ranks, or of layers that are left out: kept weights or layers, and nats per token.

    Every option is measured with all other blocks unchanged. The model is not changed. `choose` solves the menu.

    Args:
        model: a decoder-only transformers model.
        method: "wanda", "sparsegpt" or "magnitude" (sparsity), "svd-llm" or "svd" (linears of low rank), or "drop" (a
            layer is kept or left out).
        text: the sequences that the losses are measured on.
        blocks: "layers" or "modules"; "layers" for "drop".
        step: difference of neighbouring shares of removed weights, from 0 up.
        calibration: the text of the input statistics, if the method needs them; by default `text`.
        cache: whether, or in which folder, statistics, weights and the journal of evaluations are kept. A run that was
            killed continues from its journal.
        distributed: divide the evaluations among the processes started by torchrun; no effect outside torchrun.
        progress: show a progress bar.

    Raises:
        SpecError: an argument is invalid.
        ScoringError: the model or a text cannot be used.

    Examples:
        >>> menu = zp.measure_levels(model, "magnitude", batch, step=0.25, cache=False)
        >>> menu.options[0], menu.budgets
        (('0.75', '0.5', '0.25', '0'), ('weights kept',))
        >>> zp.choose(menu, sum(cost for ((cost,), *_) in menu.costs)).taken["model.layers.0"]
        '0.75'
    """
    if method not in (known := (*pruning.methods(), *replacement.methods(), *dropping.methods())):
        raise SpecError(f"method = {shown(method)}: expected one of {', '.join(known)}")
    if blocks not in ("layers", "modules"):
        raise SpecError(f"blocks = {shown(blocks)}: expected 'layers' or 'modules'")
    require_switch(distributed=distributed, progress=progress)
    network, name, sha256 = parts_of(model)
    measured = text_of(text, network)
    folder = cache_folder() if cache is True else None if cache is False else Path(cache)
    data = checked_batches(text if calibration is None else calibration, model=network)
    inputs = Inputs(network, data, folder, name=name, sha256=sha256)
    budget = "1" if method in dropping.methods() else str(step)  # levels of sparsity are multiples of this share
    levels = find_levels(method, inputs=inputs, budget=budget, blocks=blocks, step=step)
    facts = {**inputs.facts, "method": method, "costs": levels.costs}
    total = sum(map(len, levels.costs.values())) - len(levels.costs)
    with (
        joined(distributed, next(network.parameters()).device) as ranks,
        journal(folder, facts, ranks) as book,
        tqdm(total=total, desc=method, unit="level", disable=not progress) as bar,
    ):
        return _menu(levels, measured, _readings(Meter(levels, book, ranks, bar), measured))


def _readings(meter: Meter, text: Text) -> dict[tuple[str, str], Reading]:
    """The readings of every level below the largest, which changes nothing; all other blocks have their largest."""
    whole = {block: max(costs, key=costs.__getitem__) for block, costs in meter.levels.costs.items()}
    cells = [
        (block, option) for block, costs in meter.levels.costs.items() for option in costs if option != whole[block]
    ]
    points = [{**whole, block: option} for block, option in cells]
    return dict(zip(cells, meter.readings(text, points, near=whole), strict=True))


def _menu(levels: Levels, text: Text, readings: dict[tuple[str, str], Reading]) -> Menu:
    rows = [[readings.get((block, option)) for option in costs] for block, costs in levels.costs.items()]
    return Menu(
        names=tuple(levels.costs),
        options=tuple(tuple(costs) for costs in levels.costs.values()),
        losses=tuple(tuple(float(found.divergence.mean()) if found else 0.0 for found in row) for row in rows),
        costs=tuple(tuple((float(cost),) for cost in costs.values()) for costs in levels.costs.values()),
        budgets=(levels.resource,),
        units=(levels.unit,),
        loss_unit="nats per token",
        standard_error=tuple(_errors(row) for row in rows),
        estimator="measured",
        provenance={**levels.facts(), "text_sha256": text.sha256},
    )


def _errors(row: Sequence[Reading | None]) -> tuple[float, ...]:
    return tuple(standard_error(found.divergence) if found else 0.0 for found in row)
