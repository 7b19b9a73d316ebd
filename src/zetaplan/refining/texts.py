"""The texts of a refinement: what proposes, what accepts and what compares at the end have no sequence in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from zetaplan.errors import SpecError
from zetaplan.scoring.measure import Batches
from zetaplan.scoring.text.sequences import Batch, checked_batches, digest

#: Sequences of a pass; their logits are the largest tensors.
SIZE = 8


@dataclass(frozen=True, eq=False)
class Text:
    """Batches of sequences, and the sha256 of their tokens."""

    batches: tuple[Batch, ...]
    sha256: str

    @property
    def rows(self) -> list[Batch]:
        """Batches of one sequence."""
        return [row for batch in self.batches for row in rows_of(batch)]


def text_of(batches: Batches, model: nn.Module) -> Text:
    """The text, in batches of at most `SIZE` sequences. Raises ScoringError as `checked_batches`."""
    data = checked_batches(batches, SIZE, model)
    return Text(tuple(data), digest(data))


def portions(batches: Batches, model: nn.Module, sequences: int) -> list[Text]:
    """The text in portions of so many sequences, one for each round; sequences that are left over are not used."""
    rows = [row for batch in checked_batches(batches, model=model) for row in rows_of(batch)]
    if not 2 <= sequences <= len(rows):
        raise SpecError(f"sequences = {sequences}: expected from 2 to the {len(rows)} sequences of the proposing text")
    return [_joined(rows[i : i + sequences]) for i in range(0, len(rows) - sequences + 1, sequences)]


def require_disjoint(texts: Mapping[str, list[Text]]) -> None:
    """Raise SpecError if a sequence is in two of the texts, by the name of their argument."""
    owner: dict[str, str] = {}
    for name, parts in texts.items():
        for row in {row for part in parts for batch in part.batches for row in _digests(batch)}:
            if owner.setdefault(row, name) != name:
                raise SpecError(f"{name}: a sequence is also in {owner[row]}; give text that has nothing in common")


def rows_of(batch: Batch) -> list[Batch]:
    """The sequences of a batch, each in a batch of its own."""
    return [{name: value[i : i + 1] for name, value in batch.items()} for i in range(len(batch["labels"]))]


def _joined(rows: list[Batch]) -> Text:
    groups: list[list[Batch]] = []
    for row in rows:  # sequences of different batches may have different lengths
        if groups and len(groups[-1]) < SIZE and groups[-1][0]["labels"].shape == row["labels"].shape:
            groups[-1].append(row)
        else:
            groups.append([row])
    data = tuple({name: torch.cat([row[name] for row in group]) for name in group[0]} for group in groups)
    return Text(data, digest(data))


def _digests(batch: Batch) -> list[str]:
    return [digest([row]) for row in rows_of(batch)]
