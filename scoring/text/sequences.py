"""Sequences of tokens: ids (N, T), the mask of padding, and the labels that the loss is taken over."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from zetaplan.errors import ScoringError

IGNORED = -100  # the label that transformers leave out of the loss

Batch = dict[str, Tensor]
KNOWN = ("input_ids", "attention_mask", "labels")


@dataclass(frozen=True, eq=False)
class Sequences:
    """N sequences of at most T tokens, padded on the right.

    Attributes:
        input_ids: (N, T) int64.
        attention_mask: (N, T) int64, 1 on tokens and 0 on padding.
        labels: (N, T) int64, the ids themselves and -100 on padding.
        sha256: of ids, mask and labels, sequence by sequence.
        sources: the files, as they were named.
        description: one line for reports.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    sha256: str
    sources: tuple[str, ...]
    description: str

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def batch(self) -> Batch:
        """All sequences in one batch."""
        return {"input_ids": self.input_ids, "attention_mask": self.attention_mask, "labels": self.labels}


def checked_batches(
    batches: Sequences | Mapping[str, Tensor] | Iterable[Mapping[str, Tensor]], size: int | None = None
) -> list[Batch]:
    """Batches with input_ids, attention_mask and labels, int64, padded on the right, of at most `size` sequences each.

    Raises:
        ScoringError: no batch, fewer than two sequences, wrong shapes, a sequence without a label to predict, or
            something beside these three that would be ignored.
    """
    if size is not None and size < 1:
        raise ScoringError(f"batch_size: expected at least 1, got {size}")
    if isinstance(batches, Sequences):
        batches = batches.batch
    given = [_completed(batch) for batch in ([batches] if isinstance(batches, Mapping) else batches)]
    if sum(len(batch["labels"]) for batch in given) < 2:
        raise ScoringError("batches: at least two sequences are needed to tell gain from noise")
    for batch in given:
        empty = (batch["labels"][:, 1:] == IGNORED).all(1).nonzero().flatten().tolist()
        if empty:
            raise ScoringError(f"batches: sequence {empty[0]} of a batch has no label to predict; leave it out")
    return [part for batch in given for part in _split(batch, size or len(batch["labels"]))]


def labelled_places(batch: Batch) -> Tensor:
    """The tokens (B, T) that the loss can depend on: not padding, and with a label to come."""
    to_come = (batch["labels"] != IGNORED).flip(1).cummax(1).values.flip(1)
    return (batch["attention_mask"] != 0) & torch.nn.functional.pad(to_come[:, 1:], (0, 1), value=False)


def _completed(batch: Mapping[str, Tensor]) -> Batch:
    if "input_ids" not in batch:
        raise ScoringError(f"batches: a batch needs input_ids (B, T); it has {', '.join(batch) or 'nothing'}")
    if unknown := set(batch) - set(KNOWN):
        raise ScoringError(
            f"batches: {', '.join(sorted(unknown))} would be ignored; leave it out, and give packed sequences apart"
        )
    ids = batch["input_ids"].long()
    mask = batch.get("attention_mask", torch.ones_like(ids)).long()
    labels = batch.get("labels", ids).long()
    if ids.ndim != 2 or not ids.shape == mask.shape == labels.shape:
        shapes = [tuple(value.shape) for value in (ids, mask, labels)]
        raise ScoringError(f"batches: input_ids, attention_mask and labels must share one shape (B, T), got {shapes}")
    return _padded_on_the_right(
        {"input_ids": ids, "attention_mask": mask, "labels": labels.masked_fill(mask == 0, IGNORED)}
    )


def _padded_on_the_right(batch: Batch) -> Batch:
    """Padding on the left would shift the positions of the tokens, and count the first one, which nothing precedes."""
    start = (batch["attention_mask"] != 0).int().argmax(1, keepdim=True)
    if not start.any():
        return batch
    width = batch["input_ids"].shape[1]
    places = (torch.arange(width, device=start.device) + start) % width
    return {name: value.gather(1, places) for name, value in batch.items()}


def _split(batch: Batch, size: int) -> list[Batch]:
    parts = [torch.split(value, size) for value in batch.values()]
    return [dict(zip(batch, rows, strict=True)) for rows in zip(*parts, strict=True)]


def digest(batches: Iterable[dict[str, Tensor]]) -> str:
    """sha256 of ids, mask and labels, sequence by sequence: the same however they are batched."""
    sha = hashlib.sha256()
    for batch in batches:
        for row in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
            sha.update(torch.stack(row).to("cpu", torch.int64).numpy().astype("<i8").tobytes())
    return sha.hexdigest()
