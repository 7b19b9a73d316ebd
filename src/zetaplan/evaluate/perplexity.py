"""What a model is worth after a plan: perplexity on held-out text, accuracy on multiple choice, and paired intervals.

Perplexity is exp of the mean negative log-likelihood per token. A window of `length` tokens moves by `stride`; each
token is scored once, in the first window that holds it, so that beyond the first window it has at least
length - stride tokens of context. The first token of the text has no context and is not scored.

An answer to a multiple-choice item is the continuation of the prompt by a choice; the model chooses the one of the
largest log-likelihood, summed over its tokens ("sum"), or divided by its length in UTF-8 bytes ("normalised").
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from zetaplan.errors import ScoringError
from zetaplan.scoring import LoadedModel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean with its two-sided confidence interval by Student's t over independent values."""

    mean: float
    low: float
    high: float
    level: float


@dataclass(frozen=True, eq=False)
class Perplexity:
    """Perplexity with the windows it comes from.

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


@dataclass(frozen=True)
class Item:
    """One multiple-choice item; `gold` is the index of the right choice."""

    prompt: str
    choices: tuple[str, ...]
    gold: int


@dataclass(frozen=True, eq=False)
class Answers:
    """Log-likelihoods of the choices of every item, nats, and the items themselves."""

    items: tuple[Item, ...]
    log_likelihoods: tuple[Array, ...]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(I,) whether the sum chooses the gold; the earlier of equals is chosen."""
        return np.array([int(row.argmax()) == item.gold for item, row in self._pairs])

    @property
    def correct_normalised(self) -> NDArray[np.bool_]:
        """(I,) the same by log-likelihood per byte of the choice."""
        per_byte = ([*row / [len(c.encode()) for c in item.choices]] for item, row in self._pairs)
        return np.array([int(np.argmax(row)) == item.gold for item, row in zip(self.items, per_byte, strict=True)])

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())

    @property
    def accuracy_normalised(self) -> float:
        return float(self.correct_normalised.mean())

    @property
    def _pairs(self) -> Iterator[tuple[Item, Array]]:
        return zip(self.items, self.log_likelihoods, strict=True)


def mean_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """The mean of (n,) values, n >= 2, with its interval; for a comparison give the paired differences."""
    from scipy.stats import t

    v = np.asarray(values, np.float64)
    if v.ndim != 1 or len(v) < 2:
        raise ScoringError(f"values: an interval needs at least two numbers, got shape {v.shape}; take more text")
    half = float(t.ppf((1 + level) / 2, len(v) - 1)) * float(v.std(ddof=1)) / math.sqrt(len(v))
    return Interval(float(v.mean()), float(v.mean()) - half, float(v.mean()) + half, level)


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
        model: in evaluation mode; it is not changed.
        tokens: (total,) ids, at least two.
        length: tokens per window, 2 <= length <= what the model was made for.
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
    _require_windows(network, len(ids), length, stride)
    found = list(windows(len(ids), length, stride))
    nll: list[float] = []
    groups = [found[i : i + batch_size] for i in range(0, len(found), batch_size)]
    for group in tqdm(groups, desc="perplexity", unit="batch", disable=not progress):
        rows = [ids[start:stop] for start, _, stop in group]
        firsts = [scored - start for start, scored, _ in group]
        nll += [
            -float(row[first - 1 :].sum()) for row, first in zip(_log_likelihoods(network, rows), firsts, strict=True)
        ]
    counts = np.array([stop - scored for _, scored, stop in found], dtype=np.int64)
    return Perplexity(np.array(nll), counts, length, stride)


def multiple_choice(
    model: LoadedModel,
    items: Sequence[Item],
    *,
    batch_size: int = 16,
    progress: bool = False,
) -> Answers:
    """Zero-shot log-likelihoods of every choice; a prompt and a choice are joined by a space and tokenised together.

    Raises:
        ScoringError: no items, an item longer than the model's context, or a loss that is not finite.

    Examples:
        >>> from zetaplan.evaluate.perplexity import Item
        >>> _ = model.save_pretrained("tiny"), tokenizer.save_pretrained("tiny")
        >>> item = Item("the cat sat on", ("the mat", "the cat"), gold=0)
        >>> zp.multiple_choice(zp.load_model("tiny"), [item]).accuracy in (0.0, 1.0)
        True
    """
    if not items:
        raise ScoringError("items: none; give at least one")
    rows = [_continuation(model.tokenizer, item.prompt, choice) for item in items for choice in item.choices]
    limit = _context(model.model)
    if limit is not None and (longest := max(len(ids) for ids, _ in rows)) > limit:
        raise ScoringError(f"items: one has {longest} tokens, the model takes {limit}; leave it out")
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))  # little padding
    totals = np.empty(len(rows))
    groups = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    for group in tqdm(groups, desc="choices", unit="batch", disable=not progress):
        found = _log_likelihoods(model.model, [rows[i][0] for i in group])
        for i, row in zip(group, found, strict=True):
            totals[i] = float(row[rows[i][1] - 1 :].sum())
    ends = np.cumsum([len(item.choices) for item in items])[:-1]
    return Answers(tuple(items), tuple(np.split(totals, ends)))


def read_items(path: str | PathLike[str], *, template: str = "{prompt}", limit: int | None = None) -> tuple[Item, ...]:
    """Items of a .jsonl file: `ctx`, or `sentence1` and `sentence2` joined by a line break; `choices`; 0-based `gold`.

    template : what the prompt is put into, at "{prompt}". limit : that many, evenly spread over the file.

    Raises ScoringError, with file and line, for a file or a record that is not of this form.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ScoringError(f"choices: cannot read {path} as UTF-8 text: {error}") from error
    items = [_item(line, f"{path}, line {number}", template) for number, line in enumerate(lines, 1) if line.strip()]
    if not items or (limit is not None and not 1 <= limit <= len(items)):
        raise ScoringError(f"choices: {path} holds {len(items)} items, {limit or 'at least 1'} are asked for")
    return tuple(items if limit is None else (items[i * len(items) // limit] for i in range(limit)))


def read_tokens(path: str | PathLike[str], tokenizer: Any) -> Tensor:
    """The ids of a whole UTF-8 text, without special tokens. Raises ScoringError if it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScoringError(f"text: cannot read {path} as UTF-8 text: {error}") from error
    return torch.tensor(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=torch.int64)


def perplexity_facts(found: Perplexity) -> dict[str, Any]:
    """For a file: the perplexity, the loss per token with its interval over windows, and every window."""
    return {
        "value": found.value,
        "length": found.length,
        "stride": found.stride,
        "scored": int(found.tokens.sum()),
        "loss": _interval_facts(found.per_window),
        "windows": {"nll": found.nll.tolist(), "tokens": found.tokens.tolist()},
    }


def answers_facts(answers: Answers) -> dict[str, Any]:
    """For a file: both accuracies with their intervals over items, and every item's log-likelihoods."""
    rows = zip(answers.items, answers.log_likelihoods, strict=True)
    return {
        "sum": _interval_facts(answers.correct),
        "normalised": _interval_facts(answers.correct_normalised),
        "items": [{"gold": item.gold, "log_likelihoods": row.tolist()} for item, row in rows],
    }


def _interval_facts(values: ArrayLike) -> dict[str, float | None]:
    """Of a single value there is a mean, but no interval."""
    v = np.asarray(values, np.float64)
    if v.size < 2:
        return {"mean": float(v.mean()), "low": None, "high": None}
    found = mean_interval(v)
    return {"mean": found.mean, "low": found.low, "high": found.high}


def _item(line: str, place: str, template: str) -> Item:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ScoringError(f"choices: {place} is not JSON ({error})") from error
    prompt = _prompt(record) if isinstance(record, Mapping) else None
    if prompt is None:
        raise ScoringError(f"choices: {place} has neither ctx nor sentence1 and sentence2")
    choices, gold = record.get("choices"), record.get("gold")
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) and c.strip() for c in choices):
        raise ScoringError(f"choices: {place}: expected a list of at least two texts in `choices`, got {choices!r}")
    if type(gold) is not int or not 0 <= gold < len(choices):
        raise ScoringError(f"choices: {place}: expected gold from 0 to {len(choices) - 1}, got {gold!r}")
    return Item(template.replace("{prompt}", prompt), tuple(choices), gold)


def _prompt(record: Mapping[str, Any]) -> str | None:
    fields = ("ctx",) if "ctx" in record else ("sentence1", "sentence2")
    texts = [record.get(field) for field in fields]
    return "\n".join(texts) if all(isinstance(text, str) and text.strip() for text in texts) else None  # type: ignore[arg-type]


def _continuation(tokenizer: Any, prompt: str, choice: str) -> tuple[Tensor, int]:
    """The ids of prompt and choice, and where those of the choice begin."""
    prompt = prompt.rstrip()
    whole, before = (tokenizer(text)["input_ids"] for text in (f"{prompt} {choice.strip()}", prompt))
    return torch.tensor(whole), min(len(before), len(whole) - 1)


@torch.inference_mode()
def _log_likelihoods(model: nn.Module, rows: Sequence[Tensor]) -> list[Tensor]:
    """log p(token | those before it) of every token of each row but the first, float64."""
    device = next(model.parameters()).device
    ids = nn.utils.rnn.pad_sequence(list(rows), batch_first=True).to(device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    mask = (torch.arange(ids.shape[1], device=device) < lengths[:, None]).long()
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    exact = torch.promote_types(logits.dtype, torch.float32)
    losses = [  # row by row: the logits are by far the largest tensor, and should not be there twice
        functional.cross_entropy(row.to(exact), targets, reduction="none")
        for row, targets in zip(logits, ids[:, 1:], strict=True)
    ]
    found = -torch.stack(losses).double()
    if not found[mask[:, 1:].bool()].isfinite().all():
        raise ScoringError("model: a log-likelihood is not finite; the weights are damaged, or try dtype float32")
    return [row[: length - 1].cpu() for row, length in zip(found, lengths.tolist(), strict=True)]


def _require_windows(model: nn.Module, total: int, length: int, stride: int) -> None:
    limit = _context(model)
    if not 2 <= length <= (limit or length):
        raise ScoringError(f"length: expected from 2 to the model's {limit} tokens, got {length}")
    if not 1 <= stride < length:
        raise ScoringError(f"stride: expected from 1 to length - 1 = {length - 1}, got {stride}")
    if total < 2:
        raise ScoringError(f"tokens: at least two are needed to predict one, got {total}; give more text")


def _context(model: nn.Module) -> int | None:
    config = getattr(model, "config", None)
    return getattr(config.get_text_config(), "max_position_embeddings", None) if config is not None else None
