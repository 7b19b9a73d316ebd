"""Sequences of tokens: ids (N, T), the mask of padding, and the labels of the loss."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from zetaplan.errors import ScoringError, shown
from zetaplan.scoring.arguments import listed
from zetaplan.scoring.text.limits import IGNORED as IGNORED
from zetaplan.scoring.text.limits import fitting

Batch = dict[str, Tensor]
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
MOST = 2**31 - 1  # the largest length that a tokenizer accepts
KNOWN = ("input_ids", "attention_mask", "labels")


@dataclass(frozen=True, eq=False)
class Sequences:
    """N sequences of at most T tokens, padded on the right.

    Attributes:
        input_ids: (N, T) int64.
        attention_mask: (N, T) int64, 1 on tokens and 0 on padding.
        labels: (N, T) int64, the ids themselves and -100 on padding.
        sha256: of ids, mask and labels, sequence by sequence.
        sources: the files, by the names as given.
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


#: Types of text that `score` accepts.
Batches = Sequences | Tensor | Mapping[str, Tensor] | Iterable[Tensor | Mapping[str, Tensor]]


def checked_batches(batches: Batches, size: int | None = None, model: nn.Module | None = None) -> list[Batch]:
    """Batches with input_ids, attention_mask and labels, int64, padded on the right, of at most `size` sequences each.

    Args:
        batches: sequences, or one or more batches; a batch may be the ids alone, (B, T), or (T,) for one sequence.
        size: batches of more sequences are split into nearly equal parts; the last part is the largest.
        model: the model of the batches, whose vocabulary and number of positions are limits.

    Raises:
        ScoringError: there is no batch, or fewer than two sequences; a type or shape is wrong; a sequence has no label
            to predict; a key beside these three would be ignored; or the batches exceed the limits of the model.
    """
    if size is not None:
        size = require_count("batch_size", size, 1)
    if isinstance(batches, Sequences):
        batches = batches.batch
    given = [_completed(batch) for batch in _listed(batches)]
    if sum(len(batch["labels"]) for batch in given) < 2:
        raise ScoringError("batches: at least two sequences are needed to separate gain from noise")
    for batch in given:
        empty = (batch["labels"][:, 1:] == IGNORED).all(1).nonzero().flatten().tolist()
        if empty:
            raise ScoringError(f"batches: sequence {empty[0]} of a batch has no label to predict; leave it out")
    if model is not None:
        given = [fitting(model, batch) for batch in given]
    return [part for batch in given for part in _split(batch, size or len(batch["labels"]))]


def require_count(name: str, value: Any, least: int, why: str = "") -> int:
    """The value as an int.

    why: the reason for `least`. Raises ScoringError unless the value is a whole number from `least` to `MOST`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ScoringError(f"{name}: expected a whole number, at least {least}{why}, got {shown(value)}")
    number = int(value)
    if not least <= number <= MOST:
        bound = f"at least {least}{why}" if number < least else f"at most {MOST:,}"
        raise ScoringError(f"{name}: expected {bound}, got {shown(number)}")
    return number


def labelled_places(batch: Batch) -> Tensor:
    """The tokens (B, T) that the loss can depend on: tokens other than padding, with a later label."""
    to_come = (batch["labels"] != IGNORED).flip(1).cummax(1).values.flip(1)
    return (batch["attention_mask"] != 0) & torch.nn.functional.pad(to_come[:, 1:], (0, 1), value=False)


def _listed(batches: object) -> list[object]:
    found = [batches] if isinstance(batches, Mapping | Tensor) else listed(batches)
    if found is None:
        raise ScoringError(
            f"batches: expected sequences, or batches of token ids, got {shown(batches)}; read a file by read_sequences"
        )
    return found


def _completed(given: object) -> Batch:
    batch = {"input_ids": given} if isinstance(given, Tensor) else given
    if not isinstance(batch, Mapping):
        raise ScoringError(
            f"batches: a batch is a {type(given).__name__}; expected a tensor of ids (B, T), or a dictionary with one "
            "as input_ids"
        )
    if "input_ids" not in batch:
        raise ScoringError(f"batches: a batch needs input_ids (B, T); it has {', '.join(map(str, batch)) or 'nothing'}")
    if unknown := set(batch) - set(KNOWN):
        names = ", ".join(sorted(map(str, unknown)))
        raise ScoringError(f"batches: {names} would be ignored; remove it, and give packed sequences separately")
    ids = _whole_numbers("input_ids", batch["input_ids"])
    mask = _whole_numbers("attention_mask", batch.get("attention_mask", torch.ones_like(ids)))
    labels = _whole_numbers("labels", batch.get("labels", ids))
    if ids.ndim != 2 or not ids.shape == mask.shape == labels.shape:
        shapes = [tuple(value.shape) for value in (ids, mask, labels)]
        raise ScoringError(f"batches: input_ids, attention_mask and labels must share one shape (B, T), got {shapes}")
    if not ids.numel():
        raise ScoringError("batches: a batch has no tokens; leave it out")
    if not ((mask == 0) | (mask == 1)).all():
        raise ScoringError(
            "batches: attention_mask: expected 1 on tokens, 0 on padding; give packed sequences separately"
        )
    return _padded_on_the_right(
        {"input_ids": ids, "attention_mask": mask, "labels": labels.masked_fill(mask == 0, IGNORED)}
    )


def _whole_numbers(name: str, value: object) -> Tensor:
    """The value as (B, T) int64; one sequence (T,) becomes (1, T). A mask may have any dtype with whole values."""
    if not isinstance(value, Tensor):
        raise ScoringError(f"batches: {name} is a {type(value).__name__}; expected a tensor (B, T): use torch.tensor")
    if value.layout is not torch.strided or value.is_meta or value.is_nested or value.is_quantized:
        raise ScoringError(f"batches: {name} is no dense tensor with values; expected a tensor (B, T)")
    value = value.detach()
    whole = value.long() if value.dtype in WHOLE or (name == "attention_mask" and not value.is_complex()) else None
    if whole is None or not torch.equal(whole.to(value.dtype), value):
        raise ScoringError(f"batches: {name} is of type {value.dtype}; expected whole numbers, as torch.int64")
    return whole[None] if whole.ndim == 1 else whole


def _padded_on_the_right(batch: Batch) -> Batch:
    """The batch with left padding moved to the right.

    Padding on the left would shift the positions of the tokens, and would count the first token, which has no context.
    """
    start = (batch["attention_mask"] != 0).int().argmax(1, keepdim=True)
    if not start.any():
        return batch
    width = batch["input_ids"].shape[1]
    places = (torch.arange(width, device=start.device) + start) % width
    return {name: value.gather(1, places) for name, value in batch.items()}


def _split(batch: Batch, size: int) -> list[Batch]:
    n = len(batch["labels"])
    parts = math.ceil(n / size)
    ends = [n * (part + 1) // parts for part in range(parts)]
    return [
        {name: value[start:end] for name, value in batch.items()} for start, end in zip([0, *ends], ends, strict=False)
    ]


def digest(batches: Iterable[dict[str, Tensor]]) -> str:
    """sha256 of ids, mask and labels, sequence by sequence, which is the same for every division into batches."""
    sha = hashlib.sha256()
    for batch in batches:
        for row in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
            sha.update(torch.stack(row).to("cpu", torch.int64).numpy().astype("<i8").tobytes())
    return sha.hexdigest()
