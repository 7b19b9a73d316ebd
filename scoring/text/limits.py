"""Input limits of a model: token ids below its vocabulary size, and at most as many tokens as positions."""

from typing import Any

import torch
from torch import Tensor, nn

from zetaplan.errors import ScoringError

IGNORED = -100  # the label that transformers excludes from the loss


def context(model: nn.Module) -> int | None:
    """The largest number of tokens per sequence in the model's config; None if the config has none."""
    config: Any = getattr(model, "config", None)
    return None if config is None else getattr(config.get_text_config(), "max_position_embeddings", None)


def fitting(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The batch, in which padding whose id is outside the vocabulary is replaced by id 0.

    Raises:
        ScoringError: an id or a label is outside the vocabulary, or there are more tokens than positions.
    """
    ids, labels, limit = batch["input_ids"], batch["labels"], context(model)
    if limit is not None and ids.shape[1] > limit:
        raise ScoringError(
            f"length: sequences of {ids.shape[1]} tokens exceed the model's {limit} (max_position_embeddings); give "
            f"at most {limit}"
        )
    inputs, outputs = _rows(model, "get_input_embeddings"), _rows(model, "get_output_embeddings")
    if inputs is None:
        return batch
    outside = (ids < 0) | (ids >= inputs)
    require_ids(ids[outside & (batch["attention_mask"] != 0)], inputs)
    require_ids(labels[labels != IGNORED], inputs if outputs is None else outputs)
    return {**batch, "input_ids": ids.masked_fill(outside, 0)}


def require_vocabulary(model: nn.Module, ids: Tensor) -> None:
    """Raise ScoringError unless the ids are whole numbers within the model's vocabulary."""
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise ScoringError(f"tokens: expected whole numbers, as torch.int64, got {ids.dtype}")
    if (size := _rows(model, "get_input_embeddings")) is not None:
        require_ids(ids, size)


def require_ids(ids: Tensor, size: int) -> None:
    """Raise ScoringError unless all ids are below the vocabulary size; the message gives the first id that is not."""
    wrong = ids[(ids < 0) | (ids >= size)]
    if len(wrong):
        raise ScoringError(
            f"tokens: id {int(wrong[0])} is not in the model's vocabulary of {size} (0 to {size - 1}); use the "
            "tokenizer that was saved with the model"
        )


def _rows(model: nn.Module, getter: str) -> int | None:
    """The number of rows of an embedding of the model; None if the model has no such embedding."""
    try:
        weight = getattr(getattr(model, getter)(), "weight", None)
    except (AttributeError, NotImplementedError):  # a model not from transformers, or one without this embedding
        return None
    return len(weight) if isinstance(weight, Tensor) and weight.ndim == 2 else None
