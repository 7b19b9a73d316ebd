"""From a model and formats to a menu: the loss and the bytes of every format of every block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from os import PathLike
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from zetaplan.errors import SpecError, shown
from zetaplan.measuring.blocks import Blocks, grouped
from zetaplan.measuring.check import checked_wholes, validated
from zetaplan.measuring.estimators import Estimate, Estimator, Rounding, find_estimator
from zetaplan.measuring.journal import Journal
from zetaplan.measuring.options import Options, options_of, require_formats, size
from zetaplan.measuring.source import Cell, Source
from zetaplan.menus.bits import POOLED, BitsFacts, MeasuredData
from zetaplan.menus.menu import Menu
from zetaplan.models.weights import facts_of, weights
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.arguments import network_of, require_path, require_switch
from zetaplan.scoring.cache import Run
from zetaplan.scoring.distributed import Ranks, joined
from zetaplan.scoring.measure import Batches
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.text.sequences import checked_batches, digest

#: Sequences of an evaluation that pass the model together.
TOGETHER = 8


def measure(
    model: LoadedModel | nn.Module,
    formats: Sequence[str],
    text: Batches,
    *,
    blocks: str = "layers",
    estimator: str = "measured",
    calibration: Batches | None = None,
    check: bool = False,
    seed: int = 0,
    cache: bool | str | PathLike[str] = True,
    distributed: bool = False,
    progress: bool = False,
) -> Menu:
    """The menu of the formats of every block: bytes, and loss in nats per token. The model is not changed.

    Args:
        model: a decoder-only transformers model.
        formats: labels of formats; see `zetaplan list quantizers`. A format that a block's shapes rule out is left out.
        text: the N sequences that the losses are measured on.
        blocks: "modules" (single linears), "fused" (linears that are stored together) or "layers"; embedding and head
            are blocks of their own.
        estimator: one of `estimator_names()`.
        calibration: sequences for formats that are rounded by GPTQ; by default `text`.
        check: also measure the whole model in every format, and compare with the sum of the losses.
        seed: of the random draws of the estimator, >= 0.
        cache: True, or a folder: finished options are stored by content, so that a killed run continues after the last
            of them, and a menu with more formats measures only these.
        distributed: divide the blocks among the processes started by torchrun; no effect outside torchrun.
        progress: show a progress bar.

    Raises:
        SpecError: unknown formats, blocks or estimator, or a block that can take none of the formats.
        ScoringError: the text or the model do not allow it, or the model is quantised already.

    Examples:
        >>> menu = zp.measure(model, ["int4", "int8"], batch, cache=False)
        >>> zp.choose(menu, sum(max(cost for (cost,) in block) for block in menu.costs)).optimal
        True
    """
    network = network_of(model)
    require_switch(check=check, distributed=distributed, progress=progress)
    if not isinstance(cache, bool):
        require_path("cache", cache)
    members, options = _checked(network, formats, blocks, estimator, seed)
    kind = find_estimator(estimator)
    device = next(network.parameters()).device
    with joined(distributed, device) as ranks, eval_mode(network), torch.no_grad():
        data = checked_batches(text, TOGETHER, network)
        calibrated = data if calibration is None else checked_batches(calibration, TOGETHER, network)
        source = Source(network, members, options, calibrated)
        run = Run.of(cache, network, data, estimator=estimator, seed=seed)
        journal = Journal(run, members, digest(calibrated))
        found = _estimates(lambda own: kind(network, data, own, seed), source, journal, ranks, estimator, progress)
        losses = {cell: estimate.loss for cell, estimate in found.items()}
        wholes = checked_wholes(network, data, source, losses, formats, journal, ranks) if check else ()
    measured = MeasuredData(
        text_sha256=digest(data),
        calibration_sha256=digest(calibrated) if _calibrates(options) else "",
        sequences=sum(len(batch["labels"]) for batch in data),
        seed=seed,
        validated=validated(wholes),
        wholes=wholes,
        left_out=dict(options.dropped),
        details={f"{block}: {label}": dict(e.facts) for (block, label), e in found.items() if e.facts},
    )
    facts = facts_of(
        network,
        members,
        model=model.name if isinstance(model, LoadedModel) else type(network).__name__,
        model_sha256=model.sha256 if isinstance(model, LoadedModel) else "",
        stored_as=_stored_as(model),
        measured=measured,
    )
    return _menu(members, options, found, estimator, facts)


def _checked(
    model: nn.Module, formats: Sequence[str], blocks: str, estimator: str, seed: int
) -> tuple[Blocks, Options]:
    """The matrices and the formats of every block."""
    require_formats(formats, estimator)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise SpecError(f"seed = {shown(seed)}: expected a whole number of at least 0")
    members = grouped(weights(model), blocks)
    return members, options_of(members, formats)


def _estimates(
    judge: Callable[[Blocks], Estimator], source: Source, journal: Journal, ranks: Ranks, estimator: str, progress: bool
) -> dict[Cell, Estimate]:
    """The losses of all options in the order of the menu; those in a journal are not computed again."""
    cells = [(block, quantizer.label) for block, own in source.options.of.items() for quantizer in own]
    found = _everywhere({cell: estimate for cell in cells if (estimate := journal.known(*cell))}, ranks)
    missing = dict.fromkeys(block for block, label in cells if (block, label) not in found)
    mine = {block: source.blocks[block] for block in ranks.share(list(missing))}
    wanted = {cell for cell in cells if cell[0] in mine and cell not in found}
    own: dict[Cell, Estimate] = {}
    if wanted:
        judging = judge(mine)
        total = len(wanted) + len(found)
        with tqdm(total=total, initial=len(found), desc=estimator, unit="option", disable=not progress) as bar:
            for cell, rounding in source.roundings(wanted):
                own[cell] = journal.estimate(*cell, partial(_judged, judging, rounding))
                bar.update()
    found |= _everywhere(own, ranks)
    return {cell: found[cell] for cell in cells}


def _judged(judging: Estimator, rounding: Rounding) -> Estimate:
    """The loss of an option. Its facts tell how many of its experts few tokens reached, if the format uses inputs."""
    found = judging.estimate(rounding.block, rounding)
    return replace(found, facts={**(found.facts or {}), POOLED: rounding.pooled}) if rounding.pooled else found


def _everywhere(own: Mapping[Cell, Estimate], ranks: Ranks) -> dict[Cell, Estimate]:
    """The losses that any rank has, on every rank."""
    parts = ranks.shared([(*cell, asdict(estimate)) for cell, estimate in own.items()])
    return {(block, label): Estimate(**facts) for part in parts for block, label, facts in part}


def _calibrates(options: Options) -> bool:
    return any(quantizer.calibrated for own in options.of.values() for quantizer in own)


def _menu(
    blocks: Blocks, options: Options, found: Mapping[tuple[str, str], Estimate], estimator: str, facts: BitsFacts
) -> Menu:
    def column(of: Any) -> tuple[tuple[Any, ...], ...]:
        return tuple(tuple(of(name, quantizer) for quantizer in options.of[name]) for name in blocks)

    return Menu(
        names=tuple(blocks),
        options=column(lambda name, quantizer: quantizer.label),
        losses=column(lambda name, quantizer: found[name, quantizer.label].loss),
        costs=column(lambda name, quantizer: (float(size(quantizer, blocks[name])),)),
        budgets=("size",),
        units=("bytes",),
        loss_unit="nats per token",
        standard_error=column(lambda name, quantizer: found[name, quantizer.label].standard_error),
        estimator=estimator,
        provenance=facts.model_dump(mode="json"),
    )


def _stored_as(model: LoadedModel | nn.Module) -> dict[str, int]:
    """How many tensors of a GGUF file have each quantised type."""
    if not isinstance(model, LoadedModel) or model.kind != "gguf":
        return {}
    from zetaplan.scoring.model.gguf import quantised_types
    from zetaplan.scoring.model.load import gguf_file

    return dict(Counter(quantised_types(gguf_file(model.source))))
