"""`gptqmodel`: the configuration of a checkpoint of GPTQ with its overrides `dynamic`, or these alone.

A key of `dynamic` is a regular expression, compared from the begin of a module's name, and the first one applies:
"+:" or no prefix overrides bits, group_size and sym, "-:" leaves the module unquantised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zetaplan._yaml import parsed_json
from zetaplan.audits.foreign import ForeignPlan, Setting, Source, setting
from zetaplan.errors import SpecError, shown

BASE = {"bits": None, "group_size": 128, "sym": True}
OVERRIDES = ("bits", "group_size", "sym", "desc_act", "mse", "pack_dtype")


def recognises(source: Source) -> bool:
    """Is it a configuration of GPTQ, or an object whose values are its overrides?"""
    value = _config(source)
    return "group_size" in value or isinstance(value.get("dynamic"), dict) or _is_dynamic(value)


def read(source: Source) -> ForeignPlan:
    """The overrides, and the format of the other linears if the file states it."""
    value = _config(source)
    alone = _is_dynamic(value)
    base = {**BASE, **({} if alone else {key: value[key] for key in BASE if key in value})}
    dynamic = value if alone else value.get("dynamic") or {}
    if not isinstance(dynamic, dict):
        raise SpecError(f"{source.path}: dynamic: expected an object, one key for every override")
    return ForeignPlan(
        form="gptqmodel",
        tool="vllm",
        settings=tuple(_setting(source, key, override, base) for key, override in dynamic.items()),
        rest=_label(source, "the configuration", base) if base["bits"] is not None else "",
        head=value.get("lm_head") is True,
    )


def _config(source: Source) -> dict[str, Any]:
    value = parsed_json(source.data)
    inner = value.get("quantization_config")
    value = inner if isinstance(inner, dict) else value
    other = value.get("quant_method", "gptq") not in ("gptq", "gptqmodel") or "config_groups" in value
    return {} if other else value


def _is_dynamic(value: Mapping[str, Any]) -> bool:
    inner = list(value.values())
    overrides = all(isinstance(entry, dict) and set(entry) <= set(OVERRIDES) for entry in inner)
    return bool(inner) and overrides and any(inner)


def _setting(source: Source, key: str, override: Any, base: Mapping[str, Any]) -> Setting:
    if not isinstance(override, dict):
        raise SpecError(f"{source.path}: dynamic: {shown(key)}: expected an object with bits, group_size or sym")
    if key.startswith("-:"):
        return setting(key, "bf16", "match", key[2:])
    return setting(key, _label(source, shown(key), {**base, **override}), "match", key.removeprefix("+:"))


def _label(source: Source, where: str, config: Mapping[str, Any]) -> str:
    bits, group, symmetric = (config[key] for key in BASE)
    if type(bits) is not int or not 2 <= bits <= 8:
        raise SpecError(f"{source.path}: {where}: bits = {shown(bits)}: expected 2 to 8; state bits in every override")
    if type(group) is not int or not (group == -1 or 0 < group < 10**6):
        raise SpecError(f"{source.path}: {where}: group_size = {shown(group)}: expected -1 or a number of columns")
    return f"gptq{bits}{'' if group == -1 else f'-g{group}'}{'' if symmetric is True else '-asym'}"
