"""PEFT's rules for reading a LoraConfig: the adapted modules, their ranks, and the entries without effect.

A target in a list is the end of a name, between dots; a target that is a string is a regular expression for the whole
name. Excluded modules and those in `modules_to_save` are no targets. A key of a pattern is wrapped as (.*\\.)?(KEY)$,
and the first key that matches an adapted module determines its rank.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zetaplan.errors import SpecError
from zetaplan.exports.job import Group
from zetaplan.exports.targets import NOTHING, Entry, Module, Outline, Problem, require_regex
from zetaplan.exports.trial import culprits, rewritten, tried

#: Classes of modules that PEFT can adapt.
ADAPTABLE = frozenset({"Linear", "Embedding", "Conv1d", "Conv2d", "Conv3d", "Conv1D", "MultiheadAttention"})
DEFAULT = 8  # of r and lora_alpha


@dataclass(frozen=True)
class Lora:
    """The fields of a LoraConfig that select modules. A tuple is a list of names, a string one expression."""

    targets: tuple[str, ...] | str | None
    parameters: tuple[str, ...]
    excluded: tuple[str, ...] | str
    saved: tuple[str, ...]
    layers: tuple[int, ...] | None
    stacks: tuple[str, ...]
    rank: Any
    alpha: Any
    ranks: Mapping[str, Any]
    alphas: Mapping[str, Any]

    def aside(self, name: str) -> bool:
        """Whether the module is excluded or in `modules_to_save`, and therefore no target."""
        return _hit(self.excluded, name) or any(re.match(rf"(^|.*\.){saved}($|\..*)", name) for saved in self.saved)

    def targeted(self, target: str, name: str) -> bool:
        """Whether this entry of the list makes the module a target, even if the module is set aside."""
        return name == target or (name.endswith(f".{target}") and self.in_layers(name))

    def in_layers(self, name: str) -> bool:
        """Whether the module is in one of `layers_to_transform`; a module whose full name is a target always is."""
        return not self.layers or layer_of(name, self.stacks) in self.layers

    def adapted(self, modules: Sequence[Module]) -> list[Module]:
        """The modules that are adapted."""
        if self.targets is None:
            return []
        if isinstance(self.targets, str):
            found = [m for m in modules if re.fullmatch(self.targets, m.name)]
        else:
            found = [m for m in modules if any(self.targeted(target, m.name) for target in self.targets)]
        return [module for module in found if module.name and not self.aside(module.name)]


def layer_of(name: str, stacks: Sequence[str]) -> int | None:
    """The number of the layer by PEFT's rule: the first number behind two names, or behind one of the stacks."""
    starts = [rf"(?:^|.*?\.){stack}" for stack in stacks] or [r".*?\.[^.]*"]
    found = next((hit for start in starts if (hit := re.match(rf"{start}\.(\d+)\.", name))), None)
    return int(found[found.re.groups]) if found else None


def read(config: Mapping[str, Any]) -> Lora:
    """The fields of a configuration. Raises SpecError, naming the field, for a form that PEFT does not accept."""
    layers = config.get("layers_to_transform")
    layers = [layers] if isinstance(layers, int) else layers
    if not (layers is None or (isinstance(layers, list) and all(isinstance(layer, int) for layer in layers))):
        raise SpecError(f"layers_to_transform = {layers!r}: expected whole numbers; correct the file")
    targets = config.get("target_modules")
    stacks = config.get("layers_pattern")
    lora = Lora(
        targets=targets if targets is None else _names(config, "target_modules"),
        parameters=_list(config, "target_parameters"),
        excluded=_names(config, "exclude_modules"),
        saved=_list(config, "modules_to_save"),
        layers=None if layers is None else tuple(layers),
        stacks=(stacks,) if isinstance(stacks, str) and stacks else _list(config, "layers_pattern"),
        rank=config.get("r", DEFAULT),
        alpha=config.get("lora_alpha", DEFAULT),
        ranks=_pattern(config, "rank_pattern"),
        alphas=_pattern(config, "alpha_pattern"),
    )
    expressions = [e for e in (lora.targets, lora.excluded) if isinstance(e, str)]
    for expression in (*expressions, *lora.saved, *lora.stacks, *lora.ranks, *lora.alphas):
        require_regex(expression)
    return lora


def groups(config: Mapping[str, Any], model: Outline) -> tuple[Group, ...]:
    """PEFT's interpretation of a LoraConfig, entry by entry, with the errors that PEFT would raise."""
    given = _spelled_out(config, model)
    said, lora = read(given), read(rewritten(given, model))
    names = tuple(module.name for module in model.modules if module.name)
    adapted = lora.adapted(model.modules)
    parameters = [name for name in model.parameters if _hit(lora.parameters, name)]
    reached = (*(module.name for module in adapted), *parameters)
    raised = tuple(_raised(lora, adapted, parameters))
    targets = _targets(said, lora, model) if given is config else ()
    found = [
        Group("target_modules", targets, (*names, *parameters), ordered=False),
        _listed("target_parameters", said.parameters, model.parameters, _ends),
        _listed("exclude_modules", said.excluded, names, _ends),
        _listed("modules_to_save", said.saved, names, str.endswith),
        Group("layers_to_transform", tuple(_layers(said, model.modules)), names),
        Group("rank_pattern", _keys(said.ranks), reached),
        Group("alpha_pattern", _keys(said.alphas), reached),
        Group(
            "PEFT", (), (), found=(*raised, *_changed(said, lora, model), *_told(config, model, raised, lora, reached))
        ),
    ]
    return tuple(group for group in found if group.entries or group.found or group.name.endswith("_pattern"))


def _hit(names: tuple[str, ...] | str, name: str) -> bool:
    if isinstance(names, str):
        return bool(names) and re.fullmatch(names, name) is not None
    return any(_ends(name, end) for end in names)


def _ends(name: str, end: str) -> bool:
    return name == end or name.endswith(f".{end}")


def _spelled_out(config: Mapping[str, Any], model: Outline) -> Mapping[str, Any]:
    """The configuration with "all-linear" replaced by the linears that it stands for."""
    if str(config.get("target_modules")).lower() != "all-linear":
        return config
    return {**config, "target_modules": [m.name for m in model.modules if m.weights and m.name != model.head]}


def _targets(said: Lora, lora: Lora, model: Outline) -> tuple[Entry, ...]:
    names = [module.name for module in model.modules if module.name and not said.aside(module.name)]
    if isinstance(said.targets, str):
        barred = "".join(f"(?!{re.escape(m.name)}$)" for m in model.modules if said.aside(m.name))
        return (Entry(said.targets, 1.0, f"{barred}(?:{said.targets})"),)
    added = [p for p in model.parameters if _hit(lora.parameters, p) and not _hit(said.parameters, p)]
    targets = said.targets or ()
    moved = {target: () if target in (lora.targets or ()) else added for target in targets}  # to experts in one tensor
    return tuple(_resolved(t, [*(n for n in names if said.targeted(t, n)), *moved[t]]) for t in targets)


def _layers(lora: Lora, modules: Sequence[Module]) -> Iterator[Entry]:
    """One entry per layer to transform, for the target modules whose full names are not targets."""
    names = [module.name for module in lora.adapted(modules) if module.name not in (lora.targets or ())]
    for layer in lora.layers or ():
        yield _resolved(str(layer), [name for name in names if layer_of(name, lora.stacks) == layer])


def _listed(group: str, given: tuple[str, ...] | str, names: Sequence[str], hits: Callable[[str, str], bool]) -> Group:
    if isinstance(given, str):
        entries: tuple[Entry, ...] = (Entry(given, 1.0, given),) if given else ()
    else:
        entries = tuple(_resolved(entry, [name for name in names if hits(name, entry)]) for entry in given)
    return Group(group, entries, tuple(names), ordered=False)


def _resolved(key: str, names: Sequence[str]) -> Entry:
    return Entry(key, 1.0, "|".join(map(re.escape, names)) or NOTHING)


def _keys(pattern: Mapping[str, Any]) -> tuple[Entry, ...]:
    return tuple(Entry(key, value, rf"(.*\.)?({key})") for key, value in pattern.items())


def _raised(lora: Lora, adapted: Sequence[Module], parameters: Sequence[str]) -> Iterator[Problem]:
    """The errors that PEFT raises."""
    if not adapted and not parameters:
        yield Problem("target_modules", "PEFT raises an error: no module of the model is a target")
    if isinstance(lora.targets, str) and (lora.layers is not None or lora.stacks):
        yield Problem("layers_to_transform", "PEFT raises an error: target_modules is an expression, not a list")
    if lora.stacks and lora.layers is None:
        yield Problem("layers_pattern", "PEFT raises an error: layers_to_transform is not given")
    for module in adapted:
        if ADAPTABLE.isdisjoint(module.classes):
            yield Problem(module.name, f"PEFT raises an error: it cannot adapt a {module.kind}")
    names = {module.name: None for module in adapted}
    for parameter in parameters:
        if parameter.rpartition(".")[0] in names:
            yield Problem(parameter, "PEFT raises an error: its module is a target too")
    reached = (*names, *parameters)
    for key, (rank, name) in _deciding("r", lora.ranks, lora.rank, reached).items():
        if not isinstance(rank, int) or rank < 1:
            yield Problem(key, f"PEFT raises an error: rank {rank!r} of {name}; ranks are whole and at least 1")
    for key, (alpha, name) in _deciding("lora_alpha", lora.alphas, lora.alpha, reached).items():
        if not isinstance(alpha, int | float):
            yield Problem(key, f"PEFT raises an error: alpha {alpha!r} of {name}; expected a number")


def _deciding(field: str, pattern: Mapping[str, Any], default: Any, names: Sequence[str]) -> dict[str, tuple[Any, str]]:
    """By the key, or field, that determines any of the names: its value, and the first of these names."""
    found: dict[str, tuple[Any, str]] = {}
    for name in names:
        key = _key(pattern, name)
        found.setdefault(key or field, (pattern[key] if key else default, name))
    return found


def _key(pattern: Mapping[str, Any], name: str) -> str | None:
    return next((entry.key for entry in _keys(pattern) if entry.hits(name)), None)


def _changed(said: Lora, lora: Lora, model: Outline) -> Iterator[Problem]:
    """Modules that PEFT adapts, or does not adapt, contrary to the targets, because it rewrites them for this model."""
    if said.targets is None:
        return
    before = {m.name for m in said.adapted(model.modules)}
    after = {m.name for m in lora.adapted(model.modules)}
    for name in (m.name for m in model.modules if m.name in before ^ after):
        yield Problem(name, f"is {'a' if name in before else 'no'} target; PEFT changes that for this type of model")


def _told(
    config: Mapping[str, Any], model: Outline, raised: Sequence[Problem], lora: Lora, reached: Sequence[str]
) -> Iterator[Problem]:
    """Problems that only PEFT itself can report."""
    trial = tried(config, model)
    if trial is None:
        return
    for setting in trial.unknown:
        yield Problem(setting, "would be ignored: the installed PEFT has no such setting")
    if trial.error:
        for name in () if raised else culprits(config, model, reached) or ("LoraConfig",):
            yield Problem(name, f"PEFT raises an error: {trial.error}")
        return
    for name in dict.fromkeys((*reached, *trial.adapted)):
        rank = lora.ranks.get(_key(lora.ranks, name) or "", lora.rank) if name in reached else None
        found = trial.adapted.get(name, (None,))[0]
        if found != rank:
            yield Problem(name, f"gets the rank {found or 0} from PEFT, which the file does not say")


def _names(config: Mapping[str, Any], field: str) -> tuple[str, ...] | str:
    value = config.get(field)
    return value if isinstance(value, str) else _list(config, field)


def _list(config: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value = config.get(field) or []
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise SpecError(f"{field}: expected a list of names; correct the file")
    return tuple(value)


def _pattern(config: Mapping[str, Any], field: str) -> dict[str, Any]:
    value = config.get(field) or {}
    if not isinstance(value, dict) or not all(isinstance(rank, int | float) for rank in value.values()):
        raise SpecError(f"{field}: expected a number for every key; correct the file")
    return value
