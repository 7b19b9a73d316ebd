"""A plan that another tool wrote: entries that set formats, or tensors that have them already."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from zetaplan._files import contents, reason
from zetaplan.audits.patterns import compiled
from zetaplan.errors import SpecError
from zetaplan.exports.targets import Entry
from zetaplan.menus.bits import Weight

if TYPE_CHECKING:
    from zetaplan.menus.menu import Menu

Rule = Literal["equal", "match", "search"]
MATCHING = 30.0  # seconds of this process for all names, as regex counts them; honest patterns take milliseconds


@dataclass(frozen=True)
class Source:
    """A file. group : columns that share a scale, for files that do not state it."""

    path: Path
    group: int = 128

    @cached_property
    def head(self) -> bytes:
        """The first four bytes. Raises SpecError if the file cannot be read."""
        try:
            with open(self.path, "rb") as stream:
                return stream.read(4)
        except (OSError, ValueError) as error:
            raise SpecError(f"cannot read {self.path}: {reason(error)}; check the path") from error

    @cached_property
    def data(self) -> bytes:
        """All bytes. Raises SpecError if the file is larger than a plan can be."""
        return contents(self.path)

    @property
    def text(self) -> str:
        """The contents as UTF-8; "" for a file of other bytes."""
        try:
            return self.data.decode("utf-8")
        except UnicodeDecodeError:
            return ""


@dataclass(frozen=True)
class Setting(Entry):
    """An entry of a plan: the tensors that it names take the format `label`.

    rule : how the tool compares the pattern with a name; equal: as a whole, match: from its begin, search: anywhere.
    until : the time (of `time.process_time`) after which no name is compared.
    """

    label: str = ""
    rule: Rule = "equal"
    until: float = math.inf

    @cached_property
    def name(self) -> str | None:
        """The only name that it can match, where names are compared as a whole."""
        return self.pattern if self.rule == "equal" else None

    @cached_property
    def _compiled(self) -> Any:
        return compiled(self.pattern, self.key)

    def hits(self, name: str) -> bool:
        if self.rule == "equal":
            return self.pattern == name
        try:
            left = max(self.until - time.process_time(), 1e-3) if self.until < math.inf else None
            return getattr(self._compiled, self.rule)(name, timeout=left) is not None
        except TimeoutError:
            raise SpecError(
                f"{self.key!r} takes more than {MATCHING:g} seconds to compare with the names; simplify the pattern"
            ) from None


def setting(key: str, label: str, rule: Rule = "equal", pattern: str | None = None) -> Setting:
    """An entry whose time to match starts now. pattern : default: the key."""
    return Setting(key, 0.0, key if pattern is None else pattern, label, rule, time.process_time() + MATCHING)


@dataclass(frozen=True)
class ForeignPlan:
    """A plan of another tool.

    form : the name of its format. tool : the runtime that reads it, as in `zetaplan.runtimes`; "": none of
    them.
    settings : its entries; the first one that matches a name applies. names : of what the entries state the names.
    rest : the format of matrices that no entry names; "" if the file does not state it.
    head : whether entries may name the matrix that computes the logits.
    stored, labels, bytes : the tensors of a file that holds them, with their formats and sizes by name.
    menu : the options, if the file holds these instead of a plan. remarks : what the reader of the audit should know.
    """

    form: str
    tool: str
    settings: tuple[Setting, ...] = ()
    names: Literal["modules", "gguf"] = "modules"
    rest: str = ""
    head: bool = True
    stored: tuple[Weight, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    bytes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    architecture: str = ""
    menu: Menu | None = None
    remarks: tuple[str, ...] = ()
