"""The parts of the pipeline `evaluate`: items, the dense model, and what is measured on a text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zetaplan.errors import ScoringError
from zetaplan.jobs.options import EvaluateOptions, Place

if TYPE_CHECKING:
    from zetaplan.evaluate.choices import Item
    from zetaplan.scoring import LoadedModel


def items(options: EvaluateOptions, seen: Place) -> tuple[Item, ...]:
    """The items of the multiple-choice file; none without `choices`."""
    from zetaplan.evaluate.choices import read_items

    if options.choices is None:
        return ()
    return read_items(seen(options.choices), template=options.template, limit=options.items, field=options.field)


def dense_id(options: EvaluateOptions, seen: Place) -> str | None:
    """The sha256 of the dense model; None without `against`. Raises ScoringError if there is no such model."""
    from zetaplan.scoring.model.meta_model import fingerprint

    if options.against is None:
        return None
    with _as_against():
        return fingerprint(seen(options.against))


@contextmanager
def _as_against() -> Iterator[None]:
    """Errors of loading name the argument `against`."""
    try:
        yield
    except ScoringError as error:
        raise ScoringError(f"against: {str(error).removeprefix('model: ')}") from error


def on_text(loaded: LoadedModel, text: Path, options: EvaluateOptions, progress: bool, seen: Place) -> dict[str, Any]:
    """Perplexity on the text and, with `against`, the divergence, whose passes give the perplexity too."""
    from zetaplan.evaluate import divergence, perplexity
    from zetaplan.scoring import load_model

    ids = perplexity.read_tokens(text, loaded.tokenizer, field=options.field)[: options.tokens]
    stride = options.length // 2 if options.stride is None else options.stride
    if options.against is None:
        measured = perplexity.perplexity(loaded, ids, length=options.length, stride=stride, progress=progress)
        return {"perplexity": perplexity.perplexity_facts(measured) | {"text": text.name}}
    with _as_against():
        dense = load_model(
            seen(options.against),
            device=options.device,
            dtype=options.dtype,
            progress=progress,
            stream=options.stream,
        )
    found = divergence.divergence(loaded, dense, ids, length=options.length, stride=stride, progress=progress)
    return {
        "perplexity": perplexity.perplexity_facts(found.model_perplexity) | {"text": text.name},
        "against": {"model": dense.name, "model_sha256": dense.sha256, **divergence.divergence_facts(found)},
    }
