"""The journal of a refinement: one line of JSON for every evaluation, so that a killed run continues where it stopped.

A line carries the sha256 of its content. A line that does not match it, such as the last one of a killed run, is
ignored, and what it held is measured again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from zetaplan.models.operating_point import Reading
from zetaplan.scoring.cache import key_of
from zetaplan.scoring.distributed import Ranks
from zetaplan.scoring.folders import writing


@dataclass(frozen=True, eq=False)
class Entry:
    """An evaluation and the seconds that it took."""

    reading: Reading
    seconds: float

    def content(self, key: str) -> dict[str, Any]:
        """The entry under its key in plain values; `of` makes it again."""
        return {
            "key": key,
            "divergence": self.reading.divergence.tolist(),
            "loss": self.reading.loss.tolist(),
            "seconds": self.seconds,
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> tuple[str, Entry]:
        """The key and the entry from plain values."""
        divergence, loss = (np.array(content[name], np.float64) for name in ("divergence", "loss"))
        return content["key"], cls(Reading(divergence, loss), float(content["seconds"]))


class Journal:
    """The evaluations of one run by key. ignored : the number of damaged lines that were found."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        lines = _lines(file) if file else []
        read = [_entry(line) for line in lines]
        self.entries = dict(found for found in read if found)
        self.ignored = sum(found is None for found in read)

    def add(self, key: str, entry: Entry) -> None:
        """Append an evaluation; it is on the disk when the call returns."""
        self.entries[key] = entry
        if self.file is None:
            return
        content = entry.content(key)
        line = json.dumps({"sha256": key_of(content), "content": content})
        with writing(self.file.parent), open(self.file, "a", encoding="utf-8") as stream:
            stream.write(line + "\n")
            stream.flush()
            os.fsync(stream.fileno())


@contextmanager
def journal(folder: Path | None, facts: Mapping[str, object], ranks: Ranks) -> Iterator[Journal]:
    """The journal of the run with these facts. Another run with the same facts waits until this one ends.

    Rank 0 alone reads and writes the file; the other ranks receive its entries.
    """
    with _opened(folder if ranks.rank == 0 else None, facts) as book:
        known = [entry.content(key) for key, entry in book.entries.items()]
        book.entries = dict(map(Entry.of, ranks.shared(known)[0]))
        yield book


@contextmanager
def _opened(folder: Path | None, facts: Mapping[str, object]) -> Iterator[Journal]:
    if folder is None:
        yield Journal(None)
        return
    file = folder / "refinements" / f"{key_of(facts)}.jsonl"
    with writing(file.parent):
        lock = FileLock(file.with_suffix(".lock"))
        lock.acquire()
    try:
        yield Journal(file)
    finally:
        lock.release()


def _lines(file: Path) -> list[str]:
    """The lines of the file, which then ends with the end of a line: a killed run may have left a part of one."""
    with writing(file.parent):
        data = file.read_bytes() if file.exists() else b""
        if data and not data.endswith(b"\n"):
            with open(file, "ab") as stream:
                stream.write(b"\n")
    return data.decode("utf-8", "replace").splitlines()


def _entry(line: str) -> tuple[str, Entry] | None:
    try:
        stored = json.loads(line)
        content = stored["content"]
        return Entry.of(content) if stored["sha256"] == key_of(content) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
