"""torchao: FqnToConfig as JSON, as `torchao.core.config.config_from_dict` reads it, with the full names of linears.

torchao takes the name of a parameter before that of its module, then the first `re:` expression that matches a whole
parameter, then one that matches a whole module, then `_default`. A linear without a key stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from zetaplan._files import canonical
from zetaplan._yaml import parsed_json
from zetaplan.errors import SpecError
from zetaplan.exports.addresses import linear_names
from zetaplan.exports.job import Group, Job
from zetaplan.exports.labels import UNQUANTISED, integer, label_of, linears_only, stored
from zetaplan.exports.patterns import rest
from zetaplan.exports.targets import Entry, Outline, Value
from zetaplan.menus.bits import Weight
from zetaplan.models.quantizers import Quantizer
from zetaplan.models.quantizers._integers import Integer

COUNTS, MODEL, FILE = ("formats",), True, "torchao.json"
TAKES = "intB and intB-gN with B from 2 to 8"

TYPES = ("FqnToConfig", "ModuleFqnToConfig")
WEIGHT = re.compile(r"\\?\.weight\$?$")


def settings(job: Job) -> dict[str, dict[str, Value]]:
    formats = stored(job, "torchao", obstacle, TAKES)
    labels = {name: formats.get(key, UNQUANTISED) for name, key in linear_names(job.known).items()}
    return {"fqn_to_config": {name: label for name, label in labels.items() if label != UNQUANTISED}}


def write(job: Job) -> bytes:
    configs = {name: _config(str(label)) for name, label in settings(job)["fqn_to_config"].items()}
    return canonical(_typed("FqnToConfig", 1, fqn_to_config=configs)).encode()


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    config = parsed_json(data)
    if config.get("_type") not in TYPES:
        return None
    inner = config.get("_data")
    keys = (inner.get("fqn_to_config") or inner.get("module_fqn_to_config")) if isinstance(inner, dict) else None
    if not isinstance(keys, dict):
        raise SpecError("fqn_to_config: expected a config for every name; correct the file")
    names = tuple(linear_names(model))
    entries = tuple(_entry(key, _value(keys[key])) for key in sorted(keys, key=_rank) if key != "_default")
    entries += rest("_default", _value(keys["_default"]), entries, names) if "_default" in keys else ()
    return (Group("fqn_to_config", entries, names),)


def usage(job: Job, file: str) -> str:
    return f"quantize_(model, config_from_dict(json.load(open({file!r}))), filter_fn=None)  # torchao.core.config"


def obstacle(quantizer: Quantizer, weight: Weight) -> str:
    if weight.count > 1:
        return "IntxWeightOnlyConfig takes no experts in one tensor"
    if isinstance(quantizer, Integer) and not quantizer.symmetric:
        return "its integers here are symmetric"
    return linears_only(quantizer, weight)


def _config(label: str) -> dict[str, Any]:
    form = integer(label)
    group, row = _typed("PerGroup", 1, group_size=form.group), _typed("PerAxis", 1, axis=0)
    dtype = {"_type": "torch.dtype", "_data": f"int{form.bits}"}
    return _typed("IntxWeightOnlyConfig", 2, weight_dtype=dtype, granularity=group if form.group else row)


def _typed(kind: str, version: int, **data: Any) -> dict[str, Any]:
    return {"_type": kind, "_version": version, "_data": data}


def _rank(key: str) -> tuple[bool, bool]:
    """Names before expressions, and parameters before modules; the order of the file decides within each."""
    return key.startswith("re:"), WEIGHT.search(key) is None


def _entry(key: str, value: Value) -> Entry:
    name = WEIGHT.sub("", key.removeprefix("re:"))
    return Entry(key, value, name if key.startswith("re:") else re.escape(name))


def _value(config: object) -> Value:
    if not isinstance(config, dict):
        return UNQUANTISED
    data = config.get("_data")
    if config.get("_type") != "IntxWeightOnlyConfig" or not isinstance(data, dict):
        return str(config.get("_type"))
    return label_of(_inner(data, "weight_dtype").removeprefix("int"), _group(data), not _asymmetric(data))


def _inner(data: Mapping[str, Any], field: str) -> str:
    value = data.get(field)
    return str(value.get("_data")) if isinstance(value, dict) else ""


def _group(data: Mapping[str, Any]) -> object:
    granularity = data.get("granularity")
    inner = granularity.get("_data") if isinstance(granularity, dict) else None
    return inner.get("group_size") if isinstance(inner, dict) else None


def _asymmetric(data: Mapping[str, Any]) -> bool:
    return "ASYM" in _inner(data, "mapping_type").upper()
