"""GPTQModel: QuantizeConfig with one entry of `dynamic` per linear.

A key is matched at the start of a name, and the first key that matches applies. A key that begins with `-:` leaves the
linear unquantised. The linears without a key take the bits of the file, so every linear of the decoder layers has one.
vLLM, which serves these files, has the experts and q, k, v in one tensor each, and refuses different formats in one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from zetaplan._files import canonical
from zetaplan._yaml import parsed_json
from zetaplan.errors import SpecError
from zetaplan.exports.addresses import in_layers, require_checkpoint_names
from zetaplan.exports.job import Group, Job
from zetaplan.exports.labels import (
    UNQUANTISED,
    integer,
    integers_only,
    label_of,
    refused_by_vllm,
    require_fused,
    stored,
)
from zetaplan.exports.patterns import effective, from_start, rest
from zetaplan.exports.targets import Entry, Outline, Value

COUNTS, MODEL, FILE = ("formats",), True, "quantize_config.json"
TAKES = "intB, intB-gN, intB-gN-asym with B from 2 to 8"


def settings(job: Job) -> dict[str, dict[str, Value]]:
    formats = _formats(job)
    return {"dynamic": {name: formats.get(key, UNQUANTISED) for name, key in in_layers(job.known).items()}}


def write(job: Job) -> bytes:
    labels = settings(job)["dynamic"]
    usual, _ = Counter(label for label in labels.values() if label != UNQUANTISED).most_common(1)[0]
    dynamic = {_key(name, label): _options(label) for name, label in labels.items()}
    return canonical({**_options(usual), "desc_act": False, "dynamic": dynamic}).encode()


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    config = parsed_json(data)
    dynamic = config.get("dynamic")
    if "bits" not in config or not isinstance(dynamic, dict):
        return None
    if wrong := next((key for key, value in dynamic.items() if not isinstance(value, dict)), None):
        raise SpecError(f"dynamic[{wrong!r}]: expected settings by name; correct the file")
    names = in_layers(model)
    entries = tuple(_entry(key, {**config, **changes}) for key, changes in dynamic.items())
    entries += rest("bits", _label(config), entries, tuple(names))
    values = effective(entries, tuple(names))
    found = tuple(refused_by_vllm(model, {names[name]: str(value) for name, value in values.items()}))
    return (Group("dynamic", entries, tuple(names), found=found),)


def usage(job: Job, file: str) -> str:
    return f"GPTQModel.load(MODEL, QuantizeConfig(**json.load(open({file!r}))))"


def _formats(job: Job) -> dict[str, str]:
    found = stored(job, "gptqmodel", integers_only, TAKES)
    require_checkpoint_names("gptqmodel", job.known, found)
    require_fused(job, "gptqmodel", found)
    return found


def _key(name: str, label: Value) -> str:
    return f"{'-' if label == UNQUANTISED else '+'}:^{re.escape(name)}$"


def _options(label: Value) -> dict[str, Any]:
    if label == UNQUANTISED:
        return {}
    form = integer(str(label))
    return {"bits": form.bits, "group_size": form.group or -1, "sym": form.symmetric}


def _entry(key: str, options: Mapping[str, Any]) -> Entry:
    pattern = key.removeprefix("+:").removeprefix("-:")
    value = UNQUANTISED if key.startswith("-:") else _label(options)
    return Entry(key, value, from_start(pattern))


def _label(options: Mapping[str, Any]) -> str:
    return label_of(options["bits"], options.get("group_size", 128), options.get("sym", True))
