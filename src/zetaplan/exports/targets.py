"""What the entries of a settings file really hit: the check that no tool makes before it starts.

A tool matches every entry against the names of a model's modules; of several entries that match, the first wins. An
entry that matches nothing is ignored, mostly in silence; one that matches too much sets a layer that was never meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from zetaplan.errors import SpecError

if TYPE_CHECKING:
    from torch import nn

NOTHING = "(?!)"  # the pattern that no name matches


@dataclass(frozen=True)
class Module:
    """A module of the model. block : its decoder layer, or "". inputs, outputs : of a linear, otherwise 0."""

    name: str
    kind: str
    block: str
    inputs: int
    outputs: int

    @property
    def weights(self) -> int:
        """The entries of its weight matrix."""
        return self.inputs * self.outputs


@dataclass(frozen=True)
class Entry:
    """One setting of a file: as it is written there, its value, and the rule of its tool as a regular expression.

    pattern : has to match the whole name of a module.
    """

    key: str
    value: float
    pattern: str

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """Raises SpecError where the file holds no regular expression."""
        try:
            return re.compile(self.pattern)
        except re.error as error:
            raise SpecError(f"{self.key!r} is not a regular expression: {error}; correct the entry") from error

    @cached_property
    def numbers(self) -> frozenset[str]:
        """The numbers that stand in the key: the layers that it means, if it names any."""
        return frozenset(re.findall(r"\d+", re.sub(r"\[.*?\]|\{.*?\}", "", self.key)))


@dataclass(frozen=True)
class Problem:
    """An entry that would not do what it says."""

    key: str
    words: str

    def __str__(self) -> str:
        return f"{self.key}: {self.words}"


def check(
    entries: Sequence[Entry],
    modules: Sequence[str],
    wanted: Mapping[str, float] | None = None,
    *,
    complete: bool = False,
) -> tuple[Problem, ...]:
    """What is wrong with the entries, in their order; empty if each hits the modules it means, and nothing else.

    modules : the names that the tool looks at. wanted : the value that each module is to get, where that is known;
    otherwise an entry that names numbers must hit only modules with one of them (layer 1 is not layer 11).
    complete : whether a module that no entry hits is a problem too.
    """
    owner: dict[str, Entry] = {}
    problems: list[Problem] = []
    for entry in entries:
        hits = [name for name in modules if entry.regex.fullmatch(name)]
        fresh = [name for name in hits if name not in owner]
        problems += _unheard(entry, hits, fresh, owner)
        owner |= dict.fromkeys(fresh, entry)
    problems += _strays(owner) if wanted is None else _deviations(owner, wanted)
    expected = modules if complete else (wanted or ())
    return (*problems, *(Problem(name, "no entry sets this module") for name in expected if name not in owner))


def _unheard(entry: Entry, hits: list[str], fresh: list[str], owner: Mapping[str, Entry]) -> Iterator[Problem]:
    if not hits:
        yield Problem(entry.key, "would be ignored: the tool finds no module of this name")
    elif not fresh:
        yield Problem(entry.key, f"would be ignored: {owner[hits[0]].key!r} stands before it and takes {hits[0]}")


def _strays(owner: Mapping[str, Entry]) -> Iterator[Problem]:
    for name, entry in owner.items():
        if entry.numbers and entry.numbers.isdisjoint(re.findall(r"\d+", name)):
            yield Problem(entry.key, f"would hit {name}, which it does not name")


def _deviations(owner: Mapping[str, Entry], wanted: Mapping[str, float]) -> Iterator[Problem]:
    for name, entry in owner.items():
        if name not in wanted:
            yield Problem(entry.key, f"would hit {name}, which is to be left alone")
        elif entry.value != wanted[name]:
            yield Problem(entry.key, f"would set {name} to {entry.value:g} instead of {wanted[name]:g}")


def modules_of(model: str | nn.Module) -> tuple[Module, ...]:
    """All modules in the order of `named_modules`, from the model itself or, without weights, from where it lies.

    model : a transformers model, or a name that `zetaplan score` takes. Raises ScoringError for a model that cannot be
    read.
    """
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    from zetaplan.scoring.model.blocks import layer_blocks
    from zetaplan.scoring.model.meta_model import skeleton

    network = skeleton(model) if isinstance(model, str) else model
    blocks = [block.name for block in layer_blocks(network)]
    found = []
    for name, module in network.named_modules():
        block = next((block for block in blocks if f"{name}.".startswith(f"{block}.")), "")
        shape = tuple(module.get_parameter("weight").shape) if isinstance(module, Linear | Conv1D) else (0, 0)
        inputs, outputs = shape if type(module).__name__ == "Conv1D" else shape[::-1]
        found.append(Module(name, type(module).__name__, block, inputs, outputs))
    return tuple(found)


def linears(modules: Sequence[Module]) -> list[Module]:
    """The linears of the decoder layers: what plans speak of."""
    return [module for module in modules if module.weights and module.block]


def literal(name: str, value: float) -> Entry:
    """The entry of a tool that takes names as they are."""
    return Entry(name, value, re.escape(name))


def by_position(label: str, values: Sequence[float], names: Sequence[str]) -> tuple[Entry, ...]:
    """The entries of a tool that takes a bare list: the i-th value is for the i-th name."""
    patterns = [*map(re.escape, names[: len(values)]), *[NOTHING] * (len(values) - len(names))]
    return tuple(
        Entry(f"{label}[{i}]", value, pattern) for i, (value, pattern) in enumerate(zip(values, patterns, strict=True))
    )
