"""Groups of linears with one format each, as compressed-tensors and the recipes of llm-compressor hold them.

compressed-tensors ranks targets: exact names, then expressions in the order of their text, then classes. vLLM takes the
first in the file instead. Exact names in disjoint groups mean the same to both, so that only these are written. A
linear that is in no group and not in `ignore` is left unquantised by one and refused by the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from zetaplan.errors import SpecError
from zetaplan.exports.addresses import linear_names
from zetaplan.exports.job import Group, Job
from zetaplan.exports.labels import (
    UNQUANTISED,
    integer,
    label_of,
    linears_only,
    refused_by_vllm,
    require_fused,
    stored,
)
from zetaplan.exports.patterns import effective, from_start
from zetaplan.exports.targets import NOTHING, Entry, Outline, Problem, Value

TAKES = "intB, intB-gN, intB-gN-asym with B from 2 to 8"


def formats(job: Job, to: str, require: Callable[[str, Outline, Mapping[str, str]], None]) -> dict[str, Value]:
    """The format of every linear. require : raises for experts in one tensor that the tool cannot name.

    Raises SpecError for a plan that compressed-tensors or vLLM cannot load.
    """
    found = stored(job, to, linears_only, TAKES)
    require(to, job.known, found)
    require_fused(job, to, found)
    return {name: found.get(key, UNQUANTISED) for name, key in linear_names(job.known).items()}


def config_groups(labels: Mapping[str, Value]) -> dict[str, Any]:
    """One group per format, with the full names of its linears; `ignore` names all other linears."""
    used = [label for label in dict.fromkeys(labels.values()) if label != UNQUANTISED]
    groups = {
        f"group_{i}": {"targets": _with(labels, label), "weights": _weights(str(label))} for i, label in enumerate(used)
    }
    return {"config_groups": groups, "ignore": _with(labels, UNQUANTISED)}


def read_groups(config: Mapping[str, Any], model: Outline, label: str = "") -> tuple[Group, ...]:
    """What compressed-tensors does with the groups. Raises SpecError for groups of another form."""
    names = linear_names(model)
    ignored = [_entry(target, UNQUANTISED, model, names) for target in _listed("ignore", config.get("ignore") or [])]
    given = [_entry(target, value, model, names) for target, value in _targets(config)]
    entries = (*ignored, *sorted(given, key=_rank))
    values = effective(entries, tuple(names))
    found = (*_twice(given), *_elsewhere(given, values), *refused_by_vllm(model, _by_parameter(values, names)))
    return (Group(f"{label}config_groups", entries, tuple(names), complete=True, found=found),)


def _with(labels: Mapping[str, Value], label: Value) -> list[str]:
    return [name for name, found in labels.items() if found == label]


def _weights(label: str) -> dict[str, Any]:
    form = integer(label)
    strategy = {"strategy": "group", "group_size": form.group} if form.group else {"strategy": "channel"}
    return {"num_bits": form.bits, "type": "int", "symmetric": form.symmetric, **strategy}


def _targets(config: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    groups = config.get("config_groups")
    if not isinstance(groups, dict) or not all(isinstance(group, dict) for group in groups.values()):
        raise SpecError("config_groups: expected groups with targets and weights by name; correct the file")
    for name, group in groups.items():
        for target in _listed(f"{name}.targets", group.get("targets")):
            yield target, _value(group)


def _value(group: Mapping[str, Any]) -> Value:
    weights = group.get("weights")
    if not isinstance(weights, dict):
        return UNQUANTISED
    size = weights.get("group_size") if weights.get("strategy", "group") == "group" else 0
    label = label_of(weights.get("num_bits", 8), size, weights.get("symmetric", True))
    label = label if weights.get("type", "int") == "int" else label.replace("int", str(weights["type"]), 1)
    return f"{label} with quantised inputs" if group.get("input_activations") else label


def _listed(field: str, names: object) -> list[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SpecError(f"{field}: expected names, classes, or 're:' and a regular expression; correct the file")
    return names


def _entry(target: str, value: Value, model: Outline, names: Mapping[str, str]) -> Entry:
    if target.startswith("re:"):
        return Entry(target, value, from_start(target.removeprefix("re:")))
    if target in names:
        return Entry(target, value, re.escape(target))
    hits = [module.name for module in model.modules if module.name in names and target in module.classes]
    return Entry(target, value, "|".join(map(re.escape, hits)) or NOTHING)


def _rank(entry: Entry) -> tuple[bool, bool, str]:
    expression = entry.key.startswith("re:")
    return (not expression and entry.pattern != re.escape(entry.key), expression, entry.key)


def _twice(entries: Sequence[Entry]) -> Iterator[Problem]:
    keys = [entry.key for entry in entries]
    for key in dict.fromkeys(keys):
        if keys.count(key) > 1:
            yield Problem(key, "is in two groups: compressed-tensors takes the last of them, vLLM the first")


def _elsewhere(entries: Sequence[Entry], values: Mapping[str, Value]) -> Iterator[Problem]:
    """The linears that get another format in vLLM, which takes the first target in the file."""
    quantised = [name for name, value in values.items() if value != UNQUANTISED]
    for name, value in effective(entries, quantised).items():
        if value != values[name]:
            yield Problem(name, f"gets {value} in vLLM and {values[name]} in compressed-tensors; use exact names")


def _by_parameter(values: Mapping[str, Value], names: Mapping[str, str]) -> dict[str, str]:
    return {names[name]: str(value) for name, value in values.items()}
