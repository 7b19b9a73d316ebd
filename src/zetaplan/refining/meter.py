"""Evaluations of plans on texts: taken from the journal, or measured and added to it.

On several ranks every rank measures one of the plans at a time, and all ranks receive its reading. A reading depends on
text and plan alone, so that it is the same on every rank.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache, partial
from itertools import chain
from typing import Any

import numpy as np
from torch import Tensor
from tqdm.auto import tqdm

from zetaplan.menus.refined import Point
from zetaplan.models.operating_point import Changes, OperatingPoint, Reading
from zetaplan.models.slopes import Slopes
from zetaplan.models.slopes_by_layer import SlopesByLayer
from zetaplan.refining.journal import Entry, Journal
from zetaplan.refining.levels import Levels
from zetaplan.refining.texts import Text
from zetaplan.scoring.cache import key_of
from zetaplan.scoring.distributed import Ranks
from zetaplan.scoring.model.streamed import Deferred, streamed
from zetaplan.scoring.text.sequences import Batch


class Meter:
    """The evaluations of one run. evaluations : their number so far. seconds : what they took, as the journal has it.

    Values of up to two options of every block are in memory, beside the model. Those of a streamed model are computed
    whenever a layer is read.
    """

    def __init__(self, levels: Levels, journal: Journal, ranks: Ranks, bar: tqdm[Any]) -> None:
        self.levels, self.journal, self.ranks, self.bar = levels, journal, ranks, bar
        self.seconds = 0.0
        self._seen: dict[str, int] = {}
        self._streamed = streamed(levels.inputs.model) is not None
        kept = 2 * len(levels.costs)
        self._values = cache(self._deferred) if self._streamed else lru_cache(kept)(levels.values)
        self._of_block = lru_cache(1)(levels.values)
        self._engines: dict[bool, tuple[str, OperatingPoint]] = {}
        self._settled: Point | None = None

    @property
    def evaluations(self) -> int:
        """Plans evaluated on a text, each once; a pass with derivatives counts as `passes_of` them."""
        return sum(self._seen.values())

    def readings(self, text: Text, plans: Sequence[Point], near: Point | None = None) -> list[Reading]:
        """The readings of plans on a text. near : an operating point that differs from them in few blocks, if any."""
        keys = [key_of({"text": text.sha256, "plan": plan}) for plan in plans]
        missing = {key: plan for key, plan in zip(keys, plans, strict=True) if key not in self.journal.entries}
        order = list(missing)
        for start in range(0, len(order), self.ranks.size):
            self._together(text, {key: missing[key] for key in order[start : start + self.ranks.size]}, near)
        return [self._counted(key) for key in keys]

    def _together(self, text: Text, plans: Mapping[str, Point], near: Point | None) -> None:
        """Measure one plan on every rank, and add all of them to the journal of every rank."""
        start, own = time.monotonic(), None
        settled = self._settle(text, near)  # on all ranks, those without a plan too, so that none has to wait later
        for key, plan in self.ranks.share(list(plans.items())):
            found = self._measured(text, plan, near, settled)
            own = Entry(found, time.monotonic() - start).content(key)
        for content in filter(None, self.ranks.shared(own)):
            self.journal.add(*Entry.of(content))
            self._counted(content["key"])

    def slopes(self, text: Text, at: Point, moves: Sequence[tuple[str, str]], order: int) -> list[tuple[float, ...]]:
        """The divergence of every sequence at an operating point; then, for every move, as its derivatives predict."""
        rows = text.rows
        asked = {"text": text.sha256, "plan": at, "slopes": moves, "order": order}
        keys = [key_of({**asked, "sequence": number}) for number in range(len(rows))]
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in self.journal.entries}
        if missing:
            self._sloped(missing, at, moves, order)
        for number, key in enumerate(keys):
            self._count(key, 0 if number else passes_of(order))
        columns = (self.journal.entries[key].reading.divergence.tolist() for key in keys)
        return list(zip(*columns, strict=True))

    def _sloped(self, rows: Mapping[str, Batch], at: Point, moves: Sequence[tuple[str, str]], order: int) -> None:
        """Pass every sequence on one rank, and add all of them to the journal of every rank."""
        values = {block: self._values(block, option) for block, option in at.items()}
        moved = self._values if self._streamed else self.levels.values
        after = ({**values, block: moved(block, option)} for block, option in moves)
        kind = SlopesByLayer if self._streamed else Slopes
        engine = kind(self.levels.inputs.model, _joined(values), map(_joined, after), order)
        chunks = [tuple(rows)[place : place + kind.together] for place in range(0, len(rows), kind.together)]
        for place in range(0, len(chunks), self.ranks.size):
            own: list[dict[str, Any]] = []
            for keys in self.ranks.share(chunks[place : place + self.ranks.size]):
                start = time.monotonic()
                found = engine.of([rows[key] for key in keys])
                seconds = (time.monotonic() - start) / len(keys)
                own += [_entry(*each, seconds).content(key) for key, each in zip(keys, found, strict=True)]
            for content in chain.from_iterable(self.ranks.shared(own)):
                self.journal.add(*Entry.of(content))

    def _counted(self, key: str) -> Reading:
        self._count(key, 1)
        return self.journal.entries[key].reading

    def _count(self, key: str, passes: int) -> None:
        if key not in self._seen:
            self._seen[key] = passes
            self.seconds += self.journal.entries[key].seconds
            self.bar.update(passes)

    def _settle(self, text: Text, near: Point | None) -> Reading | None:
        """Make a plan the operating point, and read it; None if it is that already, or none is given."""
        if near is None:
            return None
        engine = self._engine(text, resume=True)
        if near == self._settled:
            return None
        self._settled = near
        return engine.settle(self._changes(near))

    def _measured(self, text: Text, plan: Point, near: Point | None, settled: Reading | None) -> Reading:
        if settled and plan == near:
            return settled
        return self._engine(text, resume=near is not None).reading(self._changes(plan))

    def _engine(self, text: Text, resume: bool) -> OperatingPoint:
        """The engine of the text; one that resumes passes and one that does not are in memory."""
        if resume not in self._engines or self._engines[resume][0] != text.sha256:
            self._engines.pop(resume, None)  # its memory is free before the next is made
            self._settled = None if resume else self._settled
            engine = OperatingPoint(self.levels.inputs.model, text.batches, resume=resume)
            self._engines[resume] = text.sha256, engine
        return self._engines[resume][1]

    def _changes(self, plan: Point) -> Changes:
        return _joined({block: self._values(block, option) for block, option in plan.items()})

    def _deferred(self, block: str, option: str) -> Changes:
        """The changes by an option, each computed when its layer is read."""
        names = self.levels.parameters(block)
        changes = {name: Deferred(partial(self._value, block, option, name)) for name in names}
        return changes or self.levels.values(block, option)

    def _value(self, block: str, option: str, name: str) -> Tensor:
        """The value of a parameter by an option, which may leave it as it is."""
        found = self._of_block(block, option).get(name)
        return found if isinstance(found, Tensor) else self.levels.inputs.model.get_parameter(name).data


def passes_of(order: int) -> int:
    """Evaluations that derivatives of this order count as: a pass, and for each a backward pass of twice its cost."""
    return 1 + 2 * order


def _entry(base: float, slopes: Sequence[float], seconds: float) -> Entry:
    """The divergence at the operating point, and as predicted after every move."""
    return Entry(Reading(np.array([base, *(base + slope for slope in slopes)]), np.empty(0)), seconds)


def _joined(plan: Mapping[str, Changes]) -> Changes:
    """The changes of all blocks."""
    return {name: value for changes in plan.values() for name, value in changes.items()}
