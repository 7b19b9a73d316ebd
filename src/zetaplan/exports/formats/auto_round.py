"""AutoRound: layer_config as JSON, with the full name of every linear of the decoder layers.

A key that is no linear's full name is a part of a name, or an expression that is searched in names. Such keys beat full
names, and the last of several applies. Linears whose rows or columns are no multiple of 32 keep 16 bits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from zetaplan._files import canonical
from zetaplan._yaml import parsed_json
from zetaplan.exports.addresses import in_layers, linear_names, require_split
from zetaplan.exports.job import Group, Job
from zetaplan.exports.labels import UNQUANTISED, integer, integers_only, label_of, stored
from zetaplan.exports.patterns import anywhere, effective
from zetaplan.exports.targets import Entry, Outline, Problem, Value
from zetaplan.menus.bits import Weight
from zetaplan.models.quantizers import Quantizer
from zetaplan.models.quantizers._integers import Integer

COUNTS, MODEL, FILE = ("formats",), True, "layer_config.json"
TAKES = "intB and intB-gN with B from 2 to 8, intB-gN-asym with B from 2 to 7"

MULTIPLE = 32  # of rows and of columns
ODD = f"rows and columns must be multiples of {MULTIPLE}, or it keeps 16 bits"
SCHEME = re.compile(r"(?i)(?:(?:W\d+A\d+|GGUF:|MXFP|NVFP|FPW?\d|BF16|INT\d)\S*)")
KEYS = frozenset(
    {"bits", "group_size", "sym", "data_type", "act_bits", "act_group_size", "act_sym", "act_data_type", "act_dynamic"}
    | {"super_bits", "super_group_size", "rotation_config", "scale_dtype", "scheme", "fixed_by_user", "in_blocks"}
)
#: Signs by which the tool takes a key for an expression.
SIGNS = (".*", "^", "$", "|", "(", ")", "[", "]", "?", "+")


def settings(job: Job) -> dict[str, dict[str, Value]]:
    formats = stored(job, "auto-round", obstacle, TAKES)
    require_split("auto-round", job.known, formats)
    return {"layer_config": {name: formats.get(key, UNQUANTISED) for name, key in in_layers(job.known).items()}}


def write(job: Job) -> bytes:
    return canonical({name: _options(str(label)) for name, label in settings(job)["layer_config"].items()}).encode()


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    config = parsed_json(data)
    if not config or not all(map(_recognised, config.values())):
        return None
    names = linear_names(model)
    exact = [Entry(key, _value(value), re.escape(key)) for key, value in config.items() if key in names]
    vague = [Entry(key, _value(value), _expression(key)) for key, value in config.items() if key not in names]
    entries = (*reversed(vague), *exact)
    return (Group("layer_config", entries, tuple(names), found=tuple(_kept(entries, names, model))),)


def usage(job: Job, file: str) -> str:
    return f"AutoRound(MODEL, scheme='W4A16', layer_config=json.load(open({file!r})))"


def obstacle(quantizer: Quantizer, weight: Weight) -> str:
    if weight.rows % MULTIPLE or weight.columns % MULTIPLE:
        return ODD
    if isinstance(quantizer, Integer) and quantizer.bits == 8 and not quantizer.symmetric:
        return "its integers of 8 bits are symmetric"
    return integers_only(quantizer, weight)


def _options(label: str) -> dict[str, Any]:
    if label == UNQUANTISED:
        return {"bits": 16}
    form = integer(label)
    return {"bits": form.bits, "group_size": form.group or -1, "sym": form.symmetric}


def _recognised(value: object) -> bool:
    if isinstance(value, str):
        return SCHEME.fullmatch(value) is not None
    return isinstance(value, dict) and bool(value) and KEYS.issuperset(value)


def _value(value: Mapping[str, Any] | str) -> Value:
    if isinstance(value, str) or "scheme" in value:
        return value if isinstance(value, str) else str(value["scheme"])
    bits = value.get("bits", 4)
    quantised = isinstance(bits, int) and bits <= 8
    return label_of(bits, value.get("group_size", 128), value.get("sym", True)) if quantised else UNQUANTISED


def _expression(key: str) -> str:
    if not any(sign in key for sign in SIGNS):
        return f".*{re.escape(key)}.*"
    return anywhere(re.sub(r"[.](?![*])", "[.]", key))  # a bare dot is a dot


def _kept(entries: tuple[Entry, ...], names: Mapping[str, str], model: Outline) -> Iterator[Problem]:
    shapes = {weight.name: weight for weight in model.matrices}
    for name, value in effective(entries, tuple(names)).items():
        weight = shapes.get(names[name])
        if value != UNQUANTISED and weight and (weight.rows % MULTIPLE or weight.columns % MULTIPLE):
            yield Problem(name, f"would be ignored: {weight.rows} x {weight.columns}: {ODD}")
