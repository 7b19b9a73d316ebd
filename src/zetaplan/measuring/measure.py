"""From a model and formats to a menu: the loss and the bytes of every format of every block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from zetaplan.errors import ScoringError, SpecError, shown
from zetaplan.measuring.blocks import Blocks, grouped
from zetaplan.measuring.check import checked_wholes, validated
from zetaplan.measuring.estimators import Estimate, find_estimator
from zetaplan.measuring.options import Options, options_of, size
from zetaplan.measuring.source import Source
from zetaplan.menus.bits import BitsFacts, MeasuredData
from zetaplan.menus.cache import cache_layers
from zetaplan.menus.menu import Menu
from zetaplan.models.weights import embedding_of, head_of, others, weights
from zetaplan.scoring import LoadedModel
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
        seed: of the random draws of the estimator.
        progress: show a progress bar.

    Raises:
        SpecError: unknown formats, blocks or estimator, or a block that can take none of the formats.
        ScoringError: the text or the model do not allow it, or the model is quantised already.

    Examples:
        >>> menu = zp.measure(model, ["int4", "int8"], batch)
        >>> zp.choose(menu, sum(max(cost for (cost,) in block) for block in menu.costs)).optimal
        True
    """
    network = model.model if isinstance(model, LoadedModel) else model
    if isinstance(formats, str) or not isinstance(formats, Sequence):
        raise SpecError(f"formats = {shown(formats)}: expected a list of labels, such as ['int4-g64', 'int8-g64']")
    _require_unquantised(network)
    members = grouped(weights(network), blocks)
    options = options_of(members, formats)
    kind = find_estimator(estimator)
    with eval_mode(network), torch.no_grad():
        data = checked_batches(text, TOGETHER, network)
        calibrated = text if calibration is None else calibration
        source = Source(network, members, options, checked_batches(calibrated, model=network))
        judge = kind(network, data, members, seed)
        bar = tqdm(total=sum(map(len, options.of.values())), desc=estimator, unit="option", disable=not progress)
        with bar:
            found = {cell: _counted(judge.estimate(cell[0], r), bar) for cell, r in source.roundings()}
        losses = {cell: estimate.loss for cell, estimate in found.items()}
        wholes = checked_wholes(network, data, source, losses, formats) if check else ()
    facts = BitsFacts(
        model=model.name if isinstance(model, LoadedModel) else type(network).__name__,
        model_sha256=model.sha256 if isinstance(model, LoadedModel) else "",
        architecture=getattr(getattr(network, "config", None), "model_type", ""),
        weights=dict(members),
        others=others(network),
        head=head_of(network),
        embedding=embedding_of(network),
        cache=cache_layers(network),
        stored_as=_stored_as(model),
        measured=MeasuredData(
            text_sha256=digest(data),
            sequences=sum(len(batch["labels"]) for batch in data),
            seed=seed,
            validated=validated(wholes) if check else None,
            wholes=wholes,
            left_out=dict(options.dropped),
            details={f"{block}: {label}": dict(e.facts) for (block, label), e in found.items() if e.facts},
        ),
    )
    return _menu(members, options, found, estimator, facts)


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


def _counted(estimate: Estimate, bar: Any) -> Estimate:
    bar.update()
    return estimate


def _require_unquantised(model: nn.Module) -> None:
    """Raise ScoringError for a model that another tool has quantised."""
    if config := getattr(getattr(model, "config", None), "quantization_config", None):
        facts = config if isinstance(config, dict) else config.to_dict()
        raise ScoringError(
            f"model: it is quantised already, by {facts.get('quant_method', 'an unknown method')}; "
            "give the unquantised model"
        )


def _stored_as(model: LoadedModel | nn.Module) -> dict[str, int]:
    """How many tensors of a GGUF file have each quantised type."""
    if not isinstance(model, LoadedModel) or model.kind != "gguf":
        return {}
    from zetaplan.scoring.model.gguf import quantised_types
    from zetaplan.scoring.model.load import gguf_file

    return dict(Counter(quantised_types(gguf_file(model.source))))
