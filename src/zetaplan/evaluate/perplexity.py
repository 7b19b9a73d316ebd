"""Perplexity on held-out text, with the windows that paired intervals need.

Perplexity is exp of the mean negative log-likelihood per token. Each token but the first is scored once, in the first
window that contains it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zetaplan._interval import interval_facts, per_token
from zetaplan.evaluate.likelihoods import log_likelihoods
from zetaplan.evaluate.windows import windows_for
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.arguments import network_of
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
    network = network_of(model)
    text = windows_for([network], tokens, length, stride, batch_size)
    nll = [
        -float(row[first - 1 :].sum())
        for rows, firsts in text.batches(batch_size, "perplexity", progress)
        for row, first in zip(log_likelihoods(network, rows), firsts, strict=True)
    ]
    return Perplexity(np.array(nll), text.counts, length, stride)


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
        "loss": interval_facts(per_token(found.nll, found.tokens)),
        "windows": {"nll": found.nll.tolist(), "tokens": found.tokens.tolist()},
    }
