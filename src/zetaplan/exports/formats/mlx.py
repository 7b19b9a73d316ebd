"""MLX: the "quantization" of a config.json, whose paths the predicate of `mlx_lm.convert` takes.

A path without an entry stays unquantised. mlx-lm passes over every matrix whose columns are no multiple of the group
size of the whole file, so that the smallest group of the plan stands there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from zetaplan._files import canonical
from zetaplan._yaml import parsed_json
from zetaplan.exports.addresses import STACKED, require_checkpoint_names
from zetaplan.exports.job import Group, Job
from zetaplan.exports.labels import UNQUANTISED, integer, label_of, stored
from zetaplan.exports.targets import Entry, Outline, Problem, Value
from zetaplan.menus.bits import Weight
from zetaplan.models.quantizers import Quantizer
from zetaplan.runtimes import mlx as runtime

COUNTS, MODEL, FILE = ("formats",), True, "quantization.json"
TAKES = "intB-gN-asym with B of 2, 3, 4, 5, 6, 8 and N of 32, 64, 128"


def settings(job: Job) -> dict[str, dict[str, Value]]:
    formats = stored(job, "mlx", obstacle, TAKES)
    require_checkpoint_names("mlx", job.known, formats)
    labels = {path: formats[weight.name] for path, weight in _paths(job.known).items()}
    return {"quantization": {path: label for path, label in labels.items() if label != UNQUANTISED}}


def write(job: Job) -> bytes:
    forms = {path: integer(str(label)) for path, label in settings(job)["quantization"].items()}
    entries = {path: {"group_size": form.group, "bits": form.bits} for path, form in forms.items()}
    whole = {"group_size": min(form.group for form in forms.values()), "bits": 4, "mode": "affine"}
    return canonical({**whole, **entries}).encode()


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    config = parsed_json(data)
    inner = config.get("quantization")
    config = inner if isinstance(inner, dict) else config
    if not {"group_size", "bits"} <= config.keys() or "dynamic" in config:
        return None
    paths = _paths(model)
    given = {key: value for key, value in config.items() if isinstance(value, dict | bool)}
    entries = tuple(Entry(key, _value(value, config), re.escape(key)) for key, value in given.items())
    return (Group("quantization", entries, tuple(paths), found=tuple(_skipped(given, config, paths))),)


def usage(job: Job, file: str) -> str:
    return (
        f"q = json.load(open({file!r})); mlx_lm.convert(MODEL, FOLDER, quantize=True, q_group_size=q['group_size'], "
        "q_bits=q['bits'], quant_predicate=lambda path, module: q.get(path, False))"
    )


def obstacle(quantizer: Quantizer, weight: Weight) -> str:
    if weight.transposed and weight.count == 1:
        return "mlx-lm has other names for the linears of this type of model"
    return runtime.obstacle(quantizer, weight)


def _paths(model: Outline) -> dict[str, Weight]:
    """The matrices by mlx-lm's paths: those of the modules, and `switch_mlp` for experts in one tensor."""
    found: dict[str, Weight] = {}
    for weight in model.matrices:
        parent, key = weight.module.rpartition(".")[0], weight.name.removeprefix(f"{weight.module}.")
        parts = [f"{parent}.switch_mlp.{part}" for part in STACKED.get(key, ())] if weight.count > 1 else []
        found |= dict.fromkeys(parts or [weight.module], weight)
    return found


def _value(value: Mapping[str, Any] | bool, config: Mapping[str, Any]) -> Value:
    if value is False:
        return UNQUANTISED
    options = {**config, **(value if isinstance(value, dict) else {})}
    label = label_of(options["bits"], options["group_size"], False)
    return label if options.get("mode", "affine") == "affine" else str(options["mode"])


def _skipped(given: Mapping[str, Any], config: Mapping[str, Any], paths: Mapping[str, Weight]) -> Iterator[Problem]:
    size = config["group_size"]
    for path, value in given.items():
        weight = paths.get(path)
        if value and weight and isinstance(size, int) and size > 0 and weight.columns % size:
            words = f"its {weight.columns} columns are no multiple of the file's group_size, {size}"
            yield Problem(path, f"would be ignored: {words}")
