"""What the entries of a settings file really hit: the check that no tool makes before it starts.

A tool matches every entry against the names of a model's modules; of several entries that match, the first wins. An
entry that matches nothing is ignored, mostly in silence; one that matches too much sets a layer that was never meant.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from zetaplan.errors import SpecError

if TYPE_CHECKING:
    from torch import nn

NOTHING = "(?!)"  # the pattern that no name matches
OTHER = "~"  # stands in no name and in no class of digits or letters


@dataclass(frozen=True)
class Module:
    """A module of the model.

    classes : the names of its class and of those it derives from, in the order in which Python looks them up.
    block : its decoder layer, or "". inputs, outputs : of a linear, otherwise 0.
    """

    name: str
    classes: tuple[str, ...]
    block: str
    inputs: int
    outputs: int

    @property
    def kind(self) -> str:
        """The name of its class."""
        return self.classes[0]

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
        return require_regex(self.pattern, self.key)

    def hits(self, name: str) -> bool:
        """Whether the tool applies the entry to the module of this name, unless an earlier entry takes it."""
        return self.regex.fullmatch(name) is not None


def require_regex(pattern: str, key: str | None = None) -> re.Pattern[str]:
    """The pattern, compiled. key : as the file writes it. Raises SpecError where it is no regular expression."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise SpecError(f"{key or pattern!r} is not a regular expression: {error}; correct the entry") from error


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
    ordered: bool = True,
) -> tuple[Problem, ...]:
    """What is wrong with the entries, in their order; empty if each hits the modules it means, and nothing else.

    modules : the names that the tool looks at. wanted : the value that each module is to get, where that is known;
    otherwise an entry that names a layer must not hit others whose numbers only contain that one (1 is not 11).
    complete : whether a module that no entry hits is a problem too. ordered : whether the first of several entries that
    hit a module decides alone, so that an entry which is never first is ignored.
    """
    owner: dict[str, Entry] = {}
    problems: list[Problem] = []
    for entry in entries:
        hits = [name for name in modules if entry.hits(name)]
        fresh = [name for name in hits if name not in owner]
        if not hits:
            problems.append(Problem(entry.key, "would be ignored: the tool finds no module of this name"))
        elif ordered and not fresh:
            earlier = f"{owner[hits[0]].key!r} stands before it and takes {hits[0]}"
            problems.append(Problem(entry.key, f"would be ignored: {earlier}"))
        owner |= dict.fromkeys(fresh, entry)
    problems += _strays(owner) if wanted is None else _deviations(owner, wanted)
    expected = modules if complete else (wanted or ())
    return (*problems, *(Problem(name, "no entry sets this module") for name in expected if name not in owner))


def _strays(owner: Mapping[str, Entry]) -> Iterator[Problem]:
    for name, entry in owner.items():
        if any(_only_begins(entry, name, number) for number in re.finditer(r"\d{2,}", name)):
            yield Problem(entry.key, f"would hit {name}, which it does not name")


def _only_begins(entry: Entry, name: str, number: re.Match[str]) -> bool:
    """Whether the entry names another number at this place, a part of this one, and hits this one by a wildcard.

    It does if it hits the name with that part for the number, alone and followed by anything, but not with anything
    or any digit for the number: `1.*` names layer 1 and hits 11; `1[01]` names both, and `.*` and `[0-9]+` name none.
    """
    before, digits, after = name[: number.start()], number.group(), name[number.end() :]
    others = [digit for digit in "0123456789" if digit not in digits]
    if entry.hits(f"{before}{OTHER}{after}") or all(entry.hits(f"{before}{digit}{after}") for digit in others):
        return False
    parts = ((i, j) for i in range(len(digits)) for j in range(i + 1, len(digits) + 1) if j - i < len(digits))
    return any(
        entry.hits(f"{before}{digits[i:j]}{after}")
        and entry.hits(f"{before}{OTHER * (i > 0)}{digits[i:j]}{OTHER * (j < len(digits))}{after}")
        for i, j in parts
    )


def _deviations(owner: Mapping[str, Entry], wanted: Mapping[str, float]) -> Iterator[Problem]:
    for name, entry in owner.items():
        if name not in wanted:
            yield Problem(entry.key, f"would hit {name}, which is to be left alone")
        elif entry.value != wanted[name]:
            yield Problem(entry.key, f"would set {name} to {entry.value:g} instead of {wanted[name]:g}")


@dataclass(frozen=True, eq=False)
class Outline:
    """A model as the tools match names against it. network : the model; only names, kinds and shapes are read."""

    network: nn.Module

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """All modules in the order of `named_modules`."""
        return tuple(_modules(self.network))

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The names of all parameters, in the order of their modules."""
        named = ((name, module.named_parameters(recurse=False)) for name, module in self.network.named_modules())
        return tuple(f"{name}.{key}" for name, found in named for key, _ in found)

    @property
    def head(self) -> str:
        """The name of the output layer, or "" where the model has none."""
        head = getattr(self.network, "get_output_embeddings", lambda: None)()
        return next((name for name, module in self.network.named_modules() if module is head), "")

    def bare(self) -> nn.Module:
        """A copy on the meta device, to be changed at will; it shares nothing with the model and holds no weights."""
        from torch.nn import Parameter

        tensors: dict[int, object] = {
            id(p): Parameter(p.to("meta"), p.requires_grad) for p in self.network.parameters()
        }
        tensors |= {id(b): b.to("meta") for b in self.network.buffers()}
        return copy.deepcopy(self.network, tensors)


def outline(model: str | nn.Module) -> Outline:
    """The model itself or, without weights, what `zetaplan score` would load. Raises ScoringError if unreadable."""
    from zetaplan.scoring.model.meta_model import meta_model

    return Outline(meta_model(model) if isinstance(model, str) else model)


def _modules(network: nn.Module) -> Iterator[Module]:
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    from zetaplan.scoring.model.blocks import layer_blocks

    blocks = [block.name for block in layer_blocks(network)]
    for name, module in network.named_modules():
        block = next((block for block in blocks if f"{name}.".startswith(f"{block}.")), "")
        shape = tuple(module.get_parameter("weight").shape) if isinstance(module, Linear | Conv1D) else (0, 0)
        inputs, outputs = shape if isinstance(module, Conv1D) else shape[::-1]
        classes = tuple(cls.__name__ for cls in type(module).__mro__ if cls is not object)
        yield Module(name, classes, block, inputs, outputs)


def modules_of(model: str | nn.Module) -> tuple[Module, ...]:
    """All modules of `outline(model)`."""
    return outline(model).modules


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
