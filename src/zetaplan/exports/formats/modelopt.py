"""NVIDIA ModelOpt: a YAML file with the list `quant_cfg`, one quantizer of weights per entry.

The entries are wildcards, applied in the order of the list: the last match decides. The first entry switches every
quantizer off. JSON would not do, because the axis -1 of `block_sizes` is a number.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from typing import Any

from zetaplan._yaml import dumped, parsed
from zetaplan.errors import SpecError
from zetaplan.exports.job import Group, Job
from zetaplan.exports.labels import UNQUANTISED, integer, label_of, linears_only, stored
from zetaplan.exports.patterns import rest
from zetaplan.exports.targets import Entry, Outline, Value
from zetaplan.menus.bits import Weight
from zetaplan.models.quantizers import Quantizer
from zetaplan.models.quantizers._integers import Integer

COUNTS, MODEL, FILE = ("formats",), True, "quant_cfg.yaml"
TAKES = "intB and intB-gN with B from 2 to 8"

QUANTIZER = "weight_quantizer"


def settings(job: Job) -> dict[str, dict[str, Value]]:
    formats = stored(job, "modelopt", obstacle, TAKES)
    return {"quant_cfg": {name: formats.get(key, UNQUANTISED) for name, key in _quantizers(job.known).items()}}


def write(job: Job) -> bytes:
    labels = settings(job)["quant_cfg"]
    entries = [
        {"quantizer_name": name, "cfg": _options(str(label))} for name, label in labels.items() if label != UNQUANTISED
    ]
    return dumped({"quant_cfg": [{"quantizer_name": "*", "enable": False}, *entries], "algorithm": "max"})


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    given = parsed(data).get("quant_cfg")
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(e, dict) and "quantizer_name" in e for e in given):
        raise SpecError("quant_cfg: expected a list of entries with a quantizer_name; correct the file")
    names = tuple(_quantizers(model))
    whole = given[0] if given and given[0]["quantizer_name"] == "*" else None
    entries = tuple(_entry(entry) for entry in reversed(given) if entry is not whole and _of_weights(entry, names))
    entries += rest("*", _value(whole), entries, names) if whole else ()
    return (Group("quant_cfg", entries, names),)


def usage(job: Job, file: str) -> str:
    return f"modelopt.torch.quantization.quantize(model, yaml.safe_load(open({file!r})), forward_loop)"


def obstacle(quantizer: Quantizer, weight: Weight) -> str:
    if isinstance(quantizer, Integer) and not quantizer.symmetric:
        return "its integers here are symmetric"
    return linears_only(quantizer, weight)


def _quantizers(model: Outline) -> dict[str, str]:
    """The parameter of every quantizer of weights, by the quantizer's name."""
    linears = {module.name: f"{module.name}.weight" for module in model.modules if module.weights}
    found = {f"{name}.{QUANTIZER}": key for name, key in linears.items()}
    stacks = (weight.name for weight in model.matrices if weight.count > 1)
    return found | {f"{name}_{QUANTIZER}": name for name in stacks}


def _options(label: str) -> dict[str, Any]:
    form = integer(label)
    return {"num_bits": form.bits, **({"block_sizes": {-1: form.group}} if form.group else {"axis": 0})}


def _of_weights(entry: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    """Whether the entry may be for quantizers of weights, and not only for those of inputs or outputs."""
    pattern = str(entry["quantizer_name"])
    other = "quantizer" in pattern and QUANTIZER not in pattern
    return not other or any(fnmatch.fnmatch(name, pattern) for name in names)


def _entry(entry: Mapping[str, Any]) -> Entry:
    pattern = str(entry["quantizer_name"])
    return Entry(pattern, _value(entry), re.sub(r"\\[zZ]$", "", fnmatch.translate(pattern)))


def _value(entry: Mapping[str, Any]) -> Value:
    options = entry.get("cfg")
    if entry.get("enable") is False or not isinstance(options, dict):
        return UNQUANTISED
    sizes = options.get("block_sizes")
    return label_of(options.get("num_bits", 8), sizes.get(-1) if isinstance(sizes, dict) else 0)
