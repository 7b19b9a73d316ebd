"""Provenance of scores: the model, and the text."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from zetaplan.scoring.model.load import LoadedModel
from zetaplan.scoring.text.sequences import Batch, Sequences, digest


def model_provenance(model: LoadedModel | nn.Module, network: nn.Module) -> dict[str, Any]:
    """The scored model: name, sha256 of the weights, dtype and device of the computation."""
    first = next(network.parameters())
    return {
        "model": model.name if isinstance(model, LoadedModel) else type(model).__name__,
        "model_sha256": model.sha256 if isinstance(model, LoadedModel) else None,
        "dtype": str(first.dtype).removeprefix("torch."),
        "device": str(first.device),
    }


def data_provenance(batches: object, data: Sequence[Batch]) -> dict[str, Any]:
    """The scored text: a description for reports, the sha256 of the sequences, and the shape of the batches."""
    return {
        "data": batches.description if isinstance(batches, Sequences) else "batches given as tensors",
        "data_sha256": digest(data),
        "sequences": sum(len(batch["labels"]) for batch in data),
        "length": max(batch["labels"].shape[1] for batch in data),
        "batch_size": max(len(batch["labels"]) for batch in data),
    }
