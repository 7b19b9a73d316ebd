"""Accuracy on multiple choice.

A candidate answer is the prompt continued by a choice. The model selects the choice with the largest log-likelihood:
summed over its tokens ("sum"), or divided by its length in UTF-8 bytes ("normalised").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from zetaplan._interval import interval_facts
from zetaplan._plural import counted
from zetaplan.errors import ScoringError
from zetaplan.evaluate.likelihoods import log_likelihoods
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.text.limits import context, require_vocabulary
from zetaplan.scoring.text.records import FIELDS, Record, read_records, require_text

#: The default fields of a prompt: the text fields of a record except `text`.
PROMPTS = FIELDS[1:]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Item:
    """One multiple-choice item; `gold` is the index of the correct choice."""

    prompt: str
    choices: tuple[str, ...]
    gold: int


@dataclass(frozen=True, eq=False)
class Answers:
    """Log-likelihoods of the choices of every item, nats, with the items."""

    items: tuple[Item, ...]
    log_likelihoods: tuple[Array, ...]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(I,) whether the largest summed log-likelihood is that of `gold`; of equal values the first is selected."""
        return np.array([int(row.argmax()) == item.gold for item, row in self._pairs])

    @property
    def correct_normalised(self) -> NDArray[np.bool_]:
        """(I,) whether the largest log-likelihood per byte of the choice is that of `gold`."""
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


def multiple_choice(
    model: LoadedModel,
    items: Sequence[Item],
    *,
    batch_size: int = 16,
    progress: bool = False,
) -> Answers:
    """Zero-shot log-likelihoods of every choice. Prompt and choice are joined by a space and tokenised together.

    Raises:
        ScoringError: no items, an item longer than the model's context, or a loss that is not finite.

    Examples:
        >>> from zetaplan.evaluate.choices import Item
        >>> _ = model.save_pretrained("tiny"), tokenizer.save_pretrained("tiny")
        >>> item = Item("the cat sat on", ("the mat", "the cat"), gold=0)
        >>> zp.multiple_choice(zp.load_model("tiny"), [item]).accuracy in (0.0, 1.0)
        True
    """
    if not items:
        raise ScoringError("items: the list is empty; give at least one")
    rows = [_continuation(model.tokenizer, item.prompt, choice) for item in items for choice in item.choices]
    limit = context(model.model)
    if limit is not None and (longest := max(len(ids) for ids, _ in rows)) > limit:
        raise ScoringError(f"items: one item has {longest} tokens, expected at most the model's {limit}; leave it out")
    require_vocabulary(model.model, torch.cat([ids for ids, _ in rows]))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))  # sorted by length, which minimises padding
    totals = np.empty(len(rows))
    groups = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    for group in tqdm(groups, desc="choices", unit="batch", disable=not progress):
        found = log_likelihoods(model.model, [rows[i][0] for i in group])
        for i, row in zip(group, found, strict=True):
            totals[i] = float(row[rows[i][1] - 1 :].sum())
    ends = np.cumsum([len(item.choices) for item in items])[:-1]
    return Answers(tuple(items), tuple(np.split(totals, ends)))


def read_items(
    path: str | PathLike[str], *, template: str = "{prompt}", limit: int | None = None, field: str | None = None
) -> tuple[Item, ...]:
    """Items of a file of JSON records: `ctx`, or `sentence1` and `sentence2` joined by a line break; `choices`; 0-based
    `gold`.

    template : the text around the prompt, which replaces "{prompt}". limit : the number of items, evenly spread over
    the file. field : the name of the prompt's field, if it has another name.

    Raises ScoringError, with file and line, for a file or a record of another form.
    """
    require_text(template, "template: it")
    items = [_item(record, field, template) for record in read_records(path, "choices")]
    if limit is not None and not 1 <= limit <= len(items):
        raise ScoringError(f"choices: limit = {limit}; expected from 1 to the {counted(len(items), 'item')} of {path}")
    return tuple(items if limit is None else (items[i * len(items) // limit] for i in range(limit)))


def answers_facts(answers: Answers) -> dict[str, Any]:
    """Record for a file: both accuracies with their intervals over items, and every item's log-likelihoods."""
    rows = zip(answers.items, answers.log_likelihoods, strict=True)
    return {
        "sum": interval_facts(answers.correct),
        "normalised": interval_facts(answers.correct_normalised),
        "items": [{"gold": item.gold, "log_likelihoods": row.tolist()} for item, row in rows],
    }


def _item(record: Record, field: str | None, template: str) -> Item:
    prompt, start = record.text(field, "choices", PROMPTS), f"choices: {record.place}"
    if not prompt.strip():
        raise ScoringError(f"{start} has an empty prompt; leave the record out")
    choices, gold = record.fields.get("choices"), record.fields.get("gold")
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) and c.strip() for c in choices):
        raise ScoringError(f"{start}: expected a list of at least two texts in `choices`, got {choices!r}")
    for choice in choices:
        require_text(choice, f"{start}: a choice")
    if type(gold) is not int or not 0 <= gold < len(choices):
        raise ScoringError(f"{start}: expected gold from 0 to {len(choices) - 1}, got {gold!r}")
    return Item(template.replace("{prompt}", prompt), tuple(choices), gold)


def _continuation(tokenizer: Any, prompt: str, choice: str) -> tuple[Tensor, int]:
    """The ids of prompt and choice, and the index of the choice's first token."""
    prompt = prompt.rstrip()
    whole, before = (tokenizer(text)["input_ids"] for text in (f"{prompt} {choice.strip()}", prompt))
    return torch.tensor(whole), min(len(before), len(whole) - 1)
