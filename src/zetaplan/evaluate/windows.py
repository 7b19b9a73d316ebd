"""Windows of a text: a window of `length` tokens moves by `stride`, and every token but the first is scored once.

Each token is scored in the first window that contains it. After the first window every scored token therefore has at
least length - stride tokens of context. The first token of the text has no context and is not scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from zetaplan.errors import ScoringError, shown
from zetaplan.scoring.text.limits import context, require_vocabulary


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a text. ids : (total,) token ids. length, stride : in tokens."""

    ids: Tensor
    length: int
    stride: int

    @property
    def counts(self) -> NDArray[np.int64]:
        """(W,) number of tokens that each window scores."""
        return np.array([stop - scored for _, scored, stop in self._places], dtype=np.int64)

    def batches(self, size: int, name: str, progress: bool) -> Iterator[tuple[list[Tensor], list[int]]]:
        """Batches of at most `size` windows: their ids, and the index of the first token that each scores."""
        places = list(self._places)
        groups = [places[i : i + size] for i in range(0, len(places), size)]
        for group in tqdm(groups, desc=name, unit="batch", disable=not progress):
            yield [self.ids[start:stop] for start, _, stop in group], [scored - start for start, scored, _ in group]

    @property
    def _places(self) -> Iterator[tuple[int, int, int]]:
        return windows(len(self.ids), self.length, self.stride)


def windows(total: int, length: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """(start, scored, stop): the window start..stop - 1 scores the tokens scored..stop - 1; together 1..total - 1."""
    scored = 1
    for start in range(0, total, stride):
        stop = min(start + length, total)
        yield start, scored, stop
        if stop == total:
            return
        scored = stop


def windows_for(
    models: Sequence[nn.Module], tokens: Tensor | Sequence[int], length: int, stride: int, batch_size: int
) -> Windows:
    """The windows of a text for all the models.

    Raises ScoringError for an id outside a vocabulary, less than two tokens, more tokens per window than a model has
    positions, or a stride or a batch size out of range.
    """
    ids = torch.as_tensor(tokens).flatten()
    for model in models:
        require_vocabulary(model, ids)
        limit = context(model)
        if not 2 <= length <= (limit or length):
            raise ScoringError(f"length: expected from 2 to the model's {limit} tokens, got {length}")
    if not 1 <= stride < length:
        raise ScoringError(f"stride: expected from 1 to length - 1 = {length - 1}, got {stride}")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ScoringError(f"batch_size: expected a whole number of at least 1, got {shown(batch_size)}")
    if len(ids) < 2:
        raise ScoringError(f"tokens: at least two are needed to predict one, got {len(ids)}; give more text")
    return Windows(ids, length, stride)
