"""Divergence of a model from the dense model it was made from, on held-out text, token by token.

The quantities per token are those that llama.cpp prints by `perplexity --kl-divergence`. With p the distribution of the
dense model, q that of the model, and t the true token:

    KL = sum_v p(v) (log p(v) - log q(v)), over the whole vocabulary, nats
    dp = q(t) - p(t)
    same top token: argmax q = argmax p, of equal logits the first
    difference of the loss: log p(t) - log q(t), whose mean is ln(PPL(model) / PPL(dense))

llama.cpp stores p in 16 bits and leaves out the tokens with log p(v) <= -16. Here nothing is rounded or left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zetaplan._interval import interval_facts, per_token, quantile_facts
from zetaplan.errors import ScoringError, shown
from zetaplan.evaluate.likelihoods import exact, finite, predictions
from zetaplan.evaluate.perplexity import Perplexity, perplexity_facts
from zetaplan.evaluate.windows import windows_for
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.arguments import network_of

Array = NDArray[np.float64]

TOGETHER = 128  # tokens that are compared at once, which bounds the copies of their logits


@dataclass(frozen=True, eq=False)
class Divergence:
    """Divergence of a model from a dense model, with the T scored tokens of W windows, in the order of the text.

    kl : (T,) KL divergence of the dense model's next-token distribution from the model's, nats, at least 0.
    loss, dense_loss : (T,) negative log-likelihood of the true token, nats. same_top : (T,) whether the most probable
    token is the same. tokens : (W,) number of tokens that each window scores. length, stride : in tokens.
    """

    kl: Array
    loss: Array
    dense_loss: Array
    same_top: NDArray[np.bool_]
    tokens: NDArray[np.int64]
    length: int
    stride: int

    @property
    def mean(self) -> float:
        """Mean KL divergence per token, nats."""
        return float(self.kl.mean())

    def quantile(self, share: float) -> float:
        """The KL divergence, in nats, that this share (0 to 1) of the tokens does not exceed."""
        return float(np.quantile(self.kl, share))

    @property
    def dp(self) -> Array:
        """(T,) probability of the true token by the model, less that by the dense model, -1 to 1."""
        return np.exp(-self.loss) - np.exp(-self.dense_loss)

    @property
    def rms_dp(self) -> float:
        """Root of the mean square of `dp`, 0 to 1."""
        return float(np.sqrt(np.square(self.dp).mean()))

    @property
    def same_top_share(self) -> float:
        """Share of the tokens with the same most probable token, 0 to 1."""
        return float(self.same_top.mean())

    @property
    def model_perplexity(self) -> Perplexity:
        return Perplexity(self.per_window(self.loss), self.tokens, self.length, self.stride)

    @property
    def dense_perplexity(self) -> Perplexity:
        return Perplexity(self.per_window(self.dense_loss), self.tokens, self.length, self.stride)

    def per_window(self, values: NDArray[Any]) -> Array:
        """(W,) sums over the tokens of each window, of (T,) values."""
        return np.add.reduceat(values, np.cumsum(self.tokens) - self.tokens, dtype=np.float64)


def divergence(
    model: LoadedModel | nn.Module,
    dense: LoadedModel | nn.Module,
    tokens: Tensor | Sequence[int],
    *,
    length: int = 1024,
    stride: int = 512,
    batch_size: int = 4,
    progress: bool = False,
) -> Divergence:
    """Divergence of a causal language model from a dense one, on the windows and tokens that `perplexity` scores.

    Both models are in memory, and the logits of one batch of each: 2 x batch_size x length x vocabulary numbers. They
    are compared 128 tokens at a time in float32 (float64 if a model has it), and not kept.

    Args:
        model: in evaluation mode; neither model is changed.
        dense: the model to compare with; it has the same vocabulary.
        tokens: (total,) ids, at least two.
        length: tokens per window, 2 <= length <= the number of positions of both models.
        stride: 1 <= stride < length.
        batch_size: windows per pass.
        progress: show a progress bar.

    Raises:
        ScoringError: the vocabularies differ, bad options, too little text, or a value that is not finite.

    Examples:
        >>> found = zp.divergence(model, model, torch.arange(64), length=16, stride=8)
        >>> found.mean, found.same_top_share
        (0.0, 1.0)
    """
    networks = network_of(model), network_of(dense)
    _require_one_size(*networks)
    if isinstance(model, LoadedModel) and isinstance(dense, LoadedModel):
        _require_one_vocabulary(model.tokenizer.get_vocab(), dense.tokenizer.get_vocab())
    text = windows_for(networks, tokens, length, stride, batch_size)
    parts = [
        part
        for rows, firsts in text.batches(batch_size, "divergence", progress)
        for part in _compared(*networks, rows, firsts)
    ]
    kl, loss, dense_loss, same_top = torch.cat(parts, dim=1).numpy()
    return Divergence(kl, loss, dense_loss, same_top > 0, text.counts, length, stride)


def divergence_facts(found: Divergence) -> dict[str, Any]:
    """Record for a file: every quantity per token with its paired 95% interval over windows, and the sums per window.

    The maximum has no interval: windows that were not seen can exceed it.
    """
    squares = np.square(found.dp)
    return {
        "perplexity": perplexity_facts(found.dense_perplexity),
        "loss_difference": _mean(found, found.loss - found.dense_loss),
        "kl": {
            "mean": _within(_mean(found, found.kl), 0.0, np.inf),
            "median": quantile_facts(found.kl, found.tokens, 0.5),
            "quantile_99.9": quantile_facts(found.kl, found.tokens, 0.999),
            "maximum": float(found.kl.max()),
        },
        "rms_dp": {
            key: None if value is None else value**0.5
            for key, value in _within(_mean(found, squares), 0.0, 1.0).items()
        },
        "same_top": _within(_mean(found, found.same_top), 0.0, 1.0),
        "windows": {
            "kl": found.per_window(found.kl).tolist(),
            "squared_dp": found.per_window(squares).tolist(),
            "same_top": found.per_window(found.same_top).tolist(),
        },
    }


def _mean(found: Divergence, values: NDArray[Any]) -> dict[str, float | None]:
    facts = interval_facts(per_token(found.per_window(values), found.tokens))
    return {"value": facts["mean"], "low": facts["low"], "high": facts["high"]}


def _within(facts: dict[str, float | None], least: float, most: float) -> dict[str, float | None]:
    """The facts cut to the range of the quantity, which an interval by Student's t does not know."""
    return {key: None if value is None else min(max(value, least), most) for key, value in facts.items()}


def _compared(model: nn.Module, dense: nn.Module, rows: list[Tensor], firsts: list[int]) -> Iterator[Tensor]:
    """(4, n) of every n scored tokens of every row: the columns of `Divergence`."""
    pairs = zip(predictions(model, rows), predictions(dense, rows), firsts, strict=True)
    for (logits, targets), (dense_logits, _), first in pairs:
        scored = (torch.split(values[first - 1 :], TOGETHER) for values in (logits, dense_logits, targets))
        yield from (_columns(q, p.to(q.device), t) for q, p, t in zip(*scored, strict=True))


@torch.inference_mode()
def _columns(logits: Tensor, dense_logits: Tensor, targets: Tensor) -> Tensor:
    """(4, n) KL divergence, both losses, same top token, of n predictions (n, V) of each model."""
    dtype = exact(logits, dense_logits)
    log_q, log_p = (each.to(dtype).log_softmax(-1) for each in (logits, dense_logits))
    loss, dense_loss = (-each.gather(-1, targets[:, None])[:, 0] for each in (log_q, log_p))
    losses = finite(loss, "model: a log-likelihood"), finite(dense_loss, "dense: a log-likelihood")
    kl = finite(_kl(log_p, log_q), "model: a KL divergence from dense")
    same = logits.argmax(-1) == dense_logits.argmax(-1)
    return torch.stack([kl, *losses, same.cpu().double()])


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL = sum p (log p - log q) = sum (q - p - p (log q - log p)), because p and q both sum to one.

    Every term of the second sum is at least 0, and it depends on an error of a normaliser in second order only: in
    float32 it is ten times as accurate as the first for a divergence of 1e-3.
    """
    p, q = log_p.exp(), log_q.exp()
    terms = torch.where(p > 0, q - p - p * (log_q - log_p), q)  # a logit of -inf has p = 0 and no difference of logs
    return terms.sum(-1).clamp_min(0)  # rounding


def _require_one_size(model: nn.Module, dense: nn.Module) -> None:
    """Raise ScoringError unless both models predict over vocabularies of one size."""
    probe = [torch.zeros(2, dtype=torch.int64)]
    size, other = (predictions(network, probe)[0][0].shape[-1] for network in (model, dense))
    if size != other:
        raise ScoringError(
            f"dense: its vocabulary has {other} tokens, the model's {size}; a divergence compares the probabilities of "
            "the same tokens; give the model that the other was made from"
        )


def _require_one_vocabulary(ids: dict[str, int], dense: dict[str, int]) -> None:
    """Raise ScoringError if a token has another id in the other tokenizer, or no token is in both.

    A token in one of them only is allowed, because converters name the unused ids of a padded vocabulary.
    """
    shared = ids.keys() & dense.keys()
    if not shared:
        raise ScoringError(
            f"dense: its tokenizer of {len(dense)} tokens shares none with the model's of {len(ids)}; give the model "
            "that the other was made from"
        )
    if moved := min((token for token in shared if ids[token] != dense[token]), default=None):
        raise ScoringError(
            f"dense: its tokenizer of {len(dense)} tokens gives {shown(moved)} the id {dense[moved]}, the model's of "
            f"{len(ids)} gives it {ids[moved]}; give the model that the other was made from"
        )
