"""`compressed-tensors`: config_groups of a checkpoint or of a recipe of llm-compressor.

A target is the exact name of a module, "re:" and a pattern compared from the begin of the name, or the class Linear.
compressed-tensors takes exact names first, then patterns in alphabetical order, then classes; vLLM takes the first
group that matches. Where the two differ, the same file is two plans.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zetaplan._yaml import parsed, parsed_json
from zetaplan.audits.foreign import ForeignPlan, Setting, Source, setting
from zetaplan.errors import SpecError, shown

CLASSES = ("Linear",)


def recognises(source: Source) -> bool:
    """Does an object of the file hold config_groups?"""
    return _config(source) is not None


def read(source: Source) -> ForeignPlan:
    """The targets in the order of compressed-tensors. Raises SpecError for weights that are no integers."""
    config = _config(source) or {}
    groups = config["config_groups"]
    if not isinstance(groups, dict) or not groups:
        raise SpecError(f"{source.path}: config_groups: expected an object with at least one group")
    named = [entry for name, group in groups.items() for entry in _settings(source, name, group)]
    ignored = [_target(target, "bf16") for target in _listed(source, "ignore", config.get("ignore") or [])]
    ordered = sorted(named, key=_precedence)
    remarks = () if ordered == named else ("targets are read in the order of compressed-tensors; vLLM's order differs",)
    return ForeignPlan("compressed-tensors", "vllm", (*ignored, *ordered), rest="bf16", remarks=remarks)


def _config(source: Source) -> dict[str, Any] | None:
    if "config_groups" not in source.text:
        return None
    value = parsed_json(source.data) if source.text.lstrip().startswith("{") else parsed(source.data)
    return next(_holding(value, 0), None)


def _holding(value: object, depth: int) -> Iterator[dict[str, Any]]:
    """The objects that hold config_groups, at any depth down to six."""
    if isinstance(value, dict) and depth < 6:
        if "config_groups" in value:
            yield value
        for inner in value.values():
            yield from _holding(inner, depth + 1)


def _settings(source: Source, name: str, group: Any) -> Iterator[Setting]:
    if not isinstance(group, dict):
        raise SpecError(f"{source.path}: config_groups.{name}: expected an object")
    label = _label(source, name, group.get("weights"))
    for target in _listed(source, f"config_groups.{name}.targets", group.get("targets")):
        yield _target(target, label)


def _listed(source: Source, where: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise SpecError(f"{source.path}: {where}: expected a list of names")
    return value


def _target(target: str, label: str) -> Setting:
    if target.startswith("re:"):
        return setting(target, label, "match", target[3:])
    return setting(target, label, "match", "") if target in CLASSES else setting(target, label)


def _precedence(entry: Setting) -> tuple[int, str]:
    kind = 2 if entry.key in CLASSES else int(entry.key.startswith("re:"))
    return kind, entry.key if kind == 1 else ""


def _label(source: Source, name: str, weights: Any) -> str:
    where = f"{source.path}: config_groups.{name}.weights"
    if weights is None:
        return "bf16"
    if not isinstance(weights, Mapping) or weights.get("type", "int") != "int":
        raise SpecError(f"{where}: only integers are audited, got {shown(weights)}")
    bits, group = weights.get("num_bits"), weights.get("group_size") or -1
    if type(bits) is not int or not 2 <= bits <= 8:
        raise SpecError(f"{where}: num_bits = {shown(bits)}: expected 2 to 8")
    if type(group) is not int or not (group == -1 or 0 < group < 10**6):
        raise SpecError(f"{where}: group_size = {shown(group)}: expected -1 or a number of columns")
    return f"int{bits}{'' if group == -1 else f'-g{group}'}{'' if weights.get('symmetric', True) else '-asym'}"
