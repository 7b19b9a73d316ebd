"""The inputs of a step, checked and read: texts, sizes, the device, and the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zetaplan._files import reason
from zetaplan.errors import ScoringError
from zetaplan.jobs.options import (
    ApplyOptions,
    CalibrateOptions,
    EvaluateOptions,
    MeasureOptions,
    Place,
    RefineOptions,
    ScoreOptions,
)

if TYPE_CHECKING:
    from zetaplan.scoring import LoadedModel, Sequences


def require_texts(argument: str, names: Sequence[str], seen: Place) -> None:
    """Raise ScoringError for an unreadable file, before a model is loaded. argument : its name in the message."""
    for name in names:
        if name == "pydoc":
            continue
        try:
            with open(seen(name), "rb") as stream:
                stream.read(1)
        except (OSError, ValueError) as error:
            raise ScoringError(f"{argument}: cannot read {name}: {reason(error)}; check the path") from error


def require_sizes(sequences: int, length: int, batch_size: int | None = None) -> None:
    """Raise ScoringError for invalid counts, before a model is loaded."""
    if sequences < 1:
        raise ScoringError(f"sequences = {sequences}: expected at least 1")
    if length < 2:
        raise ScoringError(f"length = {length}: expected at least 2 tokens, since the loss predicts the next one")
    if batch_size is not None and batch_size < 1:
        raise ScoringError(f"batch_size: expected at least 1, got {batch_size}")


def require_device(device: str) -> None:
    """Raise ScoringError for a device that torch cannot compute on."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # which one depends on the build of torch
        raise ScoringError(
            f"device = {device!r}: torch cannot compute there; use cpu, or a device that it sees"
        ) from error


def loaded_model(
    model: str,
    options: ApplyOptions | CalibrateOptions | EvaluateOptions | MeasureOptions | RefineOptions,
    progress: bool,
    seen: Place,
) -> LoadedModel:
    from zetaplan.scoring import load_model

    require_device(options.device)
    stream = getattr(options, "stream", False)
    return load_model(seen(model), device=options.device, dtype=options.dtype, progress=progress, stream=stream)


def text_of(
    loaded: LoadedModel,
    data: Sequence[str],
    options: ScoreOptions | ApplyOptions | CalibrateOptions | MeasureOptions,
    seen: Place,
) -> Sequences:
    from zetaplan.scoring import read_sequences

    files = [seen(name) for name in data]
    return read_sequences(
        files, loaded.tokenizer, sequences=options.sequences, length=options.length, field=options.field
    )
