"""Modules matched by each entry of a settings file: a check that no tool makes before it starts.

A tool matches every entry against the names of a model's modules. If several entries match, the first one applies. An
entry that matches nothing is ignored, usually without a message. An entry that matches too much sets modules that it
was not meant for.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from zetaplan._owner import owner_of
from zetaplan.errors import SpecError

if TYPE_CHECKING:
    from torch import nn

    from zetaplan.menus.bits import Weight

NOTHING = "(?!)"  # a pattern that matches no name
OTHER = "~"  # occurs in no name and in no class of digits or letters

EXPERTS = "experts in one tensor"  # the class of a tensor of experts' weights

Value = float | str  # a number, or the format of a matrix


@dataclass(frozen=True)
class Module:
    """A module of the model, or a tensor of experts' weights, by the name of the parameter.

    classes : the names of its class and of its base classes, in the method resolution order.
    block : its decoder layer, or "". inputs, outputs : of a linear or of one expert, otherwise 0. count : the number of
    experts; 1 for a module.
    """

    name: str
    classes: tuple[str, ...]
    block: str
    inputs: int
    outputs: int
    count: int = 1

    @property
    def kind(self) -> str:
        """The name of its class."""
        return self.classes[0]

    @property
    def weights(self) -> int:
        """The number of entries of its weight matrix, or of those of all experts."""
        return self.count * self.inputs * self.outputs


@dataclass(frozen=True)
class Entry:
    """One setting of a file: its key as written, its value, and the tool's rule as a regular expression.

    pattern : a regular expression that must match the whole name of a module.
    """

    key: str
    value: Value
    pattern: str

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The compiled pattern. Raises SpecError if the pattern is no regular expression."""
        return require_regex(self.pattern, self.key)

    @cached_property
    def name(self) -> str | None:
        """The only name that the pattern matches; None if it may match others."""
        plain = re.sub(r"\\(.)", r"\1", self.pattern)
        return plain if re.escape(plain) == self.pattern else None

    def among(self, names: Mapping[str, object]) -> list[str]:
        """Those of the names that the pattern matches, in their order."""
        if self.name is not None:
            return [self.name] if self.name in names else []
        return [name for name in names if self.hits(name)]

    def hits(self, name: str) -> bool:
        """Whether the tool applies the entry to the module of this name, unless an earlier entry applies."""
        return self.regex.fullmatch(name) is not None


def require_regex(pattern: str, key: str | None = None) -> re.Pattern[str]:
    """The compiled pattern. key : the entry as written in the file. Raises SpecError for an invalid pattern."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise SpecError(f"{key or pattern!r} is not a regular expression: {error}; correct the entry") from error


@dataclass(frozen=True)
class Problem:
    """An entry whose effect differs from what the file states."""

    key: str
    words: str

    def __str__(self) -> str:
        return f"{self.key}: {self.words}"


def check(
    entries: Sequence[Entry],
    modules: Sequence[str],
    wanted: Mapping[str, Value] | None = None,
    *,
    complete: bool = False,
    ordered: bool = True,
) -> tuple[Problem, ...]:
    """The problems of the entries, in their order; empty if every entry matches exactly its modules.

    modules : the names that the tool matches. wanted : the planned value of each module, if known; otherwise an entry
    that names a layer must not match other layers whose numbers contain that number (1 is not 11).
    complete : whether a module that no entry matches is a problem too. ordered : whether only the first of several
    matching entries applies, so that an entry which is never first is ignored.
    """
    owner: dict[str, Entry] = {}
    problems: list[Problem] = []
    known = dict.fromkeys(modules)
    for entry in entries:
        hits = entry.among(known)
        fresh = [name for name in hits if name not in owner]
        if not hits:
            problems.append(Problem(entry.key, "would be ignored: the tool finds no module of this name"))
        elif ordered and not fresh:
            earlier = f"{owner[hits[0]].key!r} comes first and sets {hits[0]}"
            problems.append(Problem(entry.key, f"would be ignored: {earlier}"))
        owner |= dict.fromkeys(fresh, entry)
    problems += _strays(owner) if wanted is None else _deviations(owner, wanted)
    expected = modules if complete else (wanted or ())
    return (*problems, *(Problem(name, "no entry sets this module") for name in expected if name not in owner))


def _strays(owner: Mapping[str, Entry]) -> Iterator[Problem]:
    for name, entry in owner.items():
        if entry.name is None and any(_only_begins(entry, name, number) for number in re.finditer(r"\d{2,}", name)):
            yield Problem(entry.key, f"would match {name}, which it does not name")


def _only_begins(entry: Entry, name: str, number: re.Match[str]) -> bool:
    """Whether the entry names another number at this place, a part of this one, and matches this one by a wildcard.

    This holds if the entry matches the name with that part as the number, both alone and followed by anything, but
    neither with an arbitrary text nor with an arbitrary digit as the number. `1.*` names layer 1 and matches 11;
    `1[01]` names both; `.*` and `[0-9]+` name none.
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


def _deviations(owner: Mapping[str, Entry], wanted: Mapping[str, Value]) -> Iterator[Problem]:
    for name, entry in owner.items():
        if name not in wanted:
            yield Problem(entry.key, f"would match {name}, which the plan leaves unchanged")
        elif entry.value != wanted[name]:
            yield Problem(entry.key, f"would set {name} to {_written(entry.value)} instead of {_written(wanted[name])}")


def _written(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:g}"


@dataclass(frozen=True, eq=False)
class Outline:
    """The names of a model's modules that tools match. network : the model; only names, classes and shapes are read."""

    network: nn.Module

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """All modules in the order of `named_modules`."""
        return tuple(_modules(self.network))

    @cached_property
    def planned(self) -> tuple[Module, ...]:
        """What plans cover, in the order of the model: the linears of the decoder layers, and tensors of experts."""
        stacks: dict[str, list[Module]] = {}
        for weight in self.matrices:
            if weight.count > 1 and weight.layer:
                shape = (weight.columns, weight.rows, weight.count)
                stacks.setdefault(weight.module, []).append(Module(weight.name, (EXPERTS,), weight.layer, *shape))
        return tuple(part for module in self.modules for part in (*linears([module]), *stacks.get(module.name, ())))

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The names of all parameters, in the order of their modules."""
        named = ((name, module.named_parameters(recurse=False)) for name, module in self.network.named_modules())
        return tuple(f"{name}.{key}" for name, found in named for key, _ in found)

    @cached_property
    def matrices(self) -> tuple[Weight, ...]:
        """The matrices that can be quantised, in the order of the parameters; tied ones once."""
        from zetaplan.models.weights import weights

        return weights(self.network)

    @property
    def head(self) -> str:
        """The name of the output layer, or "" if the model has none."""
        head = getattr(self.network, "get_output_embeddings", lambda: None)()
        return next((name for name, module in self.network.named_modules() if module is head), "")

    def bare(self) -> nn.Module:
        """A copy on the meta device that may be changed; it shares nothing with the model and holds no weights."""
        from torch.nn import Parameter

        tensors: dict[int, object] = {
            id(p): Parameter(p.to("meta"), p.requires_grad) for p in self.network.parameters()
        }
        tensors |= {id(b): b.to("meta") for b in self.network.buffers()}
        return copy.deepcopy(self.network, tensors)


def outline(model: str | nn.Module) -> Outline:
    """The model itself or, by name, the model that `zetaplan score` would load, without weights.

    Raises ScoringError if it cannot be read.
    """
    from zetaplan.scoring.model.meta_model import meta_model

    return Outline(meta_model(model) if isinstance(model, str) else model)


def _modules(network: nn.Module) -> Iterator[Module]:
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    from zetaplan.scoring.model.blocks import layer_blocks

    blocks = [block.name for block in layer_blocks(network)]
    for name, module in network.named_modules():
        block = owner_of(name, blocks) or ""
        shape = tuple(module.get_parameter("weight").shape) if isinstance(module, Linear | Conv1D) else (0, 0)
        inputs, outputs = shape if isinstance(module, Conv1D) else shape[::-1]
        classes = tuple(cls.__name__ for cls in type(module).__mro__ if cls is not object)
        yield Module(name, classes, block, inputs, outputs)


def modules_of(model: str | nn.Module) -> tuple[Module, ...]:
    """All modules of `outline(model)`."""
    return outline(model).modules


def linears(modules: Sequence[Module]) -> list[Module]:
    """The linears of the decoder layers, which are the modules that plans cover."""
    return [module for module in modules if module.weights and module.block]


def literal(name: str, value: Value) -> Entry:
    """The entry of a tool that matches full names literally."""
    return Entry(name, value, re.escape(name))


def by_position(label: str, values: Sequence[float], names: Sequence[str]) -> tuple[Entry, ...]:
    """The entries of a tool that reads a bare list: the i-th value belongs to the i-th name."""
    patterns = [*map(re.escape, names[: len(values)]), *[NOTHING] * (len(values) - len(names))]
    return tuple(
        Entry(f"{label}[{i}]", value, pattern) for i, (value, pattern) in enumerate(zip(values, patterns, strict=True))
    )
