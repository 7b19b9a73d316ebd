"""Labels drawn from the model's own distribution, for curvature that does not depend on the true labels."""

import hashlib
from collections import Counter
from collections.abc import Container, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from zetaplan.scoring.distributed import Ranks
from zetaplan.scoring.model.causal import told
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.losses import shifted_logits
from zetaplan.scoring.text.sequences import IGNORED, Batch

SEED = 20260303


def rows(
    model: nn.Module,
    data: Sequence[Batch],
    drawn: bool,
    ranks: Ranks = Ranks(),  # noqa: B008  a frozen value
) -> tuple[list[Batch], list[Tensor]]:
    """The batches of a pass and the weight (B,) of each sequence's mean loss in it.

    The data have weight 1. With `drawn`, the same text at labels drawn from the model follows, with weights sqrt(T_i),
    so that the second moment of the gradients is the curvature of the mean loss (see the surrogate mc-fisher). Batches
    that another rank passes keep their own labels.
    """
    own = [torch.ones(len(batch["labels"])) for batch in data]
    if not drawn:
        return list(data), own
    weights = [(batch["labels"][:, 1:] != IGNORED).sum(1).float().sqrt() for batch in data]
    passed = {number - len(data) for number in ranks.share(range(2 * len(data)))}
    return [*data, *drawn_labels(model, data, passed)], [*own, *weights]


def drawn_labels(model: nn.Module, data: Sequence[Batch], wanted: Container[int]) -> list[Batch]:
    """The batches; in those whose number is in `wanted`, every label is replaced by a draw.

    A draw depends on the sequence, not on its place in the data. Equal sequences are drawn independently, in their
    order.
    """
    met: Counter[bytes] = Counter()
    replaced = []
    for number, batch in enumerate(data):
        texts = [_content(batch, row) for row in range(len(batch["labels"]))]
        if number in wanted:
            batch = {**batch, "labels": _drawn(model, batch, texts, met)}
        replaced.append(batch)
        met.update(texts)
    return replaced


def _drawn(model: nn.Module, batch: Batch, texts: Sequence[bytes], before: Counter[bytes]) -> Tensor:
    met, labels = before.copy(), batch["labels"].clone()
    with eval_mode(model), torch.no_grad(), told(model):
        logits, following = shifted_logits(model, batch, next(model.parameters()).device)
    logits = logits if logits.is_cuda else logits.cpu()  # not every device supports float64
    for row, (text, places) in enumerate(zip(texts, (following != IGNORED).cpu(), strict=True)):
        uniform = torch.from_numpy(_generator(text, met[text]).random(int(places.sum())))
        drawn = _inverse(logits[row][places.to(logits.device)], uniform.to(logits.device))
        labels[row, 1:][places[:-1].to(labels.device)] = drawn.to(labels)
        met[text] += 1
    return labels


def _content(batch: Batch, row: int) -> bytes:
    """sha256 of the tokens of a sequence and of their labels, without padding."""
    inside = batch["attention_mask"][row] != 0
    text = torch.stack([batch[name][row][inside] for name in ("input_ids", "labels")])
    return hashlib.sha256(text.cpu().numpy().astype("<i8").tobytes()).digest()


def _generator(text: bytes, before: int) -> np.random.Generator:
    return np.random.default_rng((SEED, int.from_bytes(text, "big"), before))


def _inverse(logits: Tensor, uniform: Tensor) -> Tensor:
    """The class (n,) whose interval of the cumulated probabilities (n, V) contains the uniform number."""
    scale = logits.double().softmax(-1).cumsum(-1)
    found = torch.searchsorted(scale, uniform[:, None] * scale[:, -1:], right=True)
    return found.squeeze(1).clamp(max=logits.shape[1] - 1)
