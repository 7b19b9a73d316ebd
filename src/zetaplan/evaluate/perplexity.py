"""Perplexity on held-out text, with the windows that paired intervals need.

Perplexity is exp of the mean negative log-likelihood per token. A window of `length` tokens moves by `stride`. Each
token is scored once, in the first window that contains it. After the first window every scored token therefore has at
least length - stride tokens of context. The first token of the text has no context and is not scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from zetaplan.errors import ScoringError
from zetaplan.evaluate.interval import interval_facts
from zetaplan.evaluate.likelihoods import log_likelihoods
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.text.limits import context, require_vocabulary
from zetaplan.scoring.text.records import holds_records, read_plain, read_records

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Perplexity:
    """Perplexity with the windows it is computed from.

    nll : (W,) negative log-likelihood of the tokens that each window scores, nats, summed. tokens : (W,) their number.
    length, stride : in tokens.
    """

    nll: Array
    tokens: NDArray[np.int64]
    length: int
    stride: int

    @property
    def value(self) -> float:
        """exp(sum nll / sum tokens)."""
        return math.exp(self.nll.sum() / self.tokens.sum())

    @property
    def per_window(self) -> Array:
        """(W,) mean negative log-likelihood per token, nats."""
        return self.nll / self.tokens


def windows(total: int, length: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """(start, scored, stop): the window start..stop - 1 scores the tokens scored..stop - 1; together 1..total - 1."""
    scored = 1
    for start in range(0, total, stride):
        stop = min(start + length, total)
        yield start, scored, stop
        if stop == total:
            return
        scored = stop


def perplexity(
    model: LoadedModel | nn.Module,
    tokens: Tensor | Sequence[int],
    *,
    length: int = 1024,
    stride: int = 512,
    batch_size: int = 8,
    progress: bool = False,
) -> Perplexity:
    """Perplexity of a causal language model on one text.

    Args:
        model: in evaluation mode; the model is not changed.
        tokens: (total,) ids, at least two.
        length: tokens per window, 2 <= length <= the model's number of positions.
        stride: 1 <= stride < length; stride = length - 1 gives windows that overlap by the one token of context.
        batch_size: windows per pass.
        progress: show a progress bar.

    Raises:
        ScoringError: bad options, too little text, or a loss that is not finite.

    Examples:
        >>> found = zp.perplexity(model, torch.arange(64), length=16, stride=8)
        >>> int(found.tokens.sum())  # every token but the first is scored once
        63
    """
    network = model.model if isinstance(model, LoadedModel) else model
    ids = torch.as_tensor(tokens).flatten()
    require_vocabulary(network, ids)
    _require_windows(network, len(ids), length, stride)
    found = list(windows(len(ids), length, stride))
    nll: list[float] = []
    groups = [found[i : i + batch_size] for i in range(0, len(found), batch_size)]
    for group in tqdm(groups, desc="perplexity", unit="batch", disable=not progress):
        rows = [ids[start:stop] for start, _, stop in group]
        firsts = [scored - start for start, scored, _ in group]
        nll += [
            -float(row[first - 1 :].sum()) for row, first in zip(log_likelihoods(network, rows), firsts, strict=True)
        ]
    counts = np.array([stop - scored for _, scored, stop in found], dtype=np.int64)
    return Perplexity(np.array(nll), counts, length, stride)


def read_tokens(path: str | PathLike[str], tokenizer: Any, *, field: str | None = None) -> Tensor:
    """The ids of a whole UTF-8 text, without special tokens; texts of records are joined by an empty line.

    field : the record's text field; by default `text`, else `ctx`, or `sentence1` and `sentence2`. Raises ScoringError
    if the file cannot be read.
    """
    if holds_records(path):
        text = "\n\n".join(record.text(field, "text") for record in read_records(path, "text"))
    else:
        text = read_plain(path, "text")
    return torch.tensor(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=torch.int64)


def perplexity_facts(found: Perplexity) -> dict[str, Any]:
    """Record for a file: the perplexity, the loss per token with its interval over windows, and every window."""
    return {
        "value": found.value,
        "length": found.length,
        "stride": found.stride,
        "scored": int(found.tokens.sum()),
        "loss": interval_facts(found.per_window),
        "windows": {"nll": found.nll.tolist(), "tokens": found.tokens.tolist()},
    }


def _require_windows(model: nn.Module, total: int, length: int, stride: int) -> None:
    limit = context(model)
    if not 2 <= length <= (limit or length):
        raise ScoringError(f"length: expected from 2 to the model's {limit} tokens, got {length}")
    if not 1 <= stride < length:
        raise ScoringError(f"stride: expected from 1 to length - 1 = {length - 1}, got {stride}")
    if total < 2:
        raise ScoringError(f"tokens: at least two are needed to predict one, got {total}; give more text")
