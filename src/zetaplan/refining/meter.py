"""Evaluations of plans on texts: taken from the journal, or measured and added to it."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

from tqdm.auto import tqdm

from zetaplan.menus.refined import Point
from zetaplan.models.operating_point import Changes, OperatingPoint, Reading
from zetaplan.refining.journal import Entry, Journal
from zetaplan.refining.levels import Levels
from zetaplan.refining.texts import Text
from zetaplan.scoring.cache import key_of


class Meter:
    """The evaluations of one run. evaluations : their number so far. seconds : what they took, as the journal has it.

    Values of up to two options of every block are in memory, beside the model.
    """

    def __init__(self, levels: Levels, journal: Journal, bar: tqdm[Any]) -> None:
        self.levels, self.journal, self.bar = levels, journal, bar
        self.seconds = 0.0
        self._seen: set[str] = set()
        self._values = lru_cache(2 * len(levels.costs))(levels.values)
        self._engines: dict[bool, tuple[str, OperatingPoint]] = {}
        self._settled: Point | None = None

    @property
    def evaluations(self) -> int:
        """Plans evaluated on a text, each once."""
        return len(self._seen)

    def reading(self, text: Text, plan: Point, near: Point | None = None) -> Reading:
        """The reading of a plan on a text. near : an operating point that differs from it in few blocks, if any."""
        key = key_of({"text": text.sha256, "plan": plan})
        if key not in self.journal.entries:
            start = time.monotonic()
            found = self._measured(text, plan, near)
            self.journal.add(key, Entry(found, time.monotonic() - start))
        entry = self.journal.entries[key]
        if key not in self._seen:
            self._seen.add(key)
            self.seconds += entry.seconds
            self.bar.update()
        return entry.reading

    def _measured(self, text: Text, plan: Point, near: Point | None) -> Reading:
        engine = self._engine(text, resume=near is not None)
        if near is not None and near != self._settled:
            self._settled, settled = near, engine.settle(self._changes(near))
            if plan == near:
                return settled
        return engine.reading(self._changes(plan))

    def _engine(self, text: Text, resume: bool) -> OperatingPoint:
        """The engine of the text; one that resumes passes and one that does not are in memory."""
        if resume not in self._engines or self._engines[resume][0] != text.sha256:
            self._engines.pop(resume, None)  # its memory is free before the next is made
            self._settled = None if resume else self._settled
            engine = OperatingPoint(self.levels.inputs.model, text.batches, resume=resume)
            self._engines[resume] = text.sha256, engine
        return self._engines[resume][1]

    def _changes(self, plan: Point) -> Changes:
        return {name: value for block, option in plan.items() for name, value in self._values(block, option).items()}
