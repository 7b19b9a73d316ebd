"""Plain JSON: the units or formats by name, for any program that reads JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from zetaplan._files import canonical
from zetaplan.errors import SpecError
from zetaplan.exports.job import Group, Job, block_names, matrices
from zetaplan.exports.labels import FormatJob
from zetaplan.exports.targets import Outline, Value, literal
from zetaplan.models.quantizers import find_quantizer

COUNTS, MODEL, FILE = None, False, "export.json"

SCHEMA = "zetaplan.export/1"


def settings(job: Job) -> dict[str, dict[str, Value]]:
    return {column(job): {name: value if isinstance(value, str) else float(value) for name, value in decided(job)}}


def write(job: Job) -> bytes:
    return canonical({"schema": SCHEMA, **job.facts, column(job): dict(job.decided)}).encode()


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    try:
        value = json.loads(data)
    except ValueError:
        return None
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        return None
    if "formats" in value:
        return (table("formats", _labels(value["formats"]), model),)
    units = value.get("units")
    if not isinstance(units, dict) or not all(isinstance(amount, int) for amount in units.values()):
        raise SpecError("units: expected a whole number for every name; correct the file")
    return (table("units", {name: float(amount) for name, amount in units.items()}, model),)


def usage(job: Job, file: str) -> str:
    return f"json.load(open({file!r}))[{column(job)!r}]"


def column(job: Job) -> str:
    """What a plain table calls the values of the plan."""
    return "formats" if isinstance(job, FormatJob) else "units"


def decided(job: Job) -> list[tuple[str, int | str]]:
    """The rows of a plain table."""
    return list(job.decided.items())


def table(name: str, values: Mapping[str, Value], model: Outline) -> Group:
    """The rows of a plain table of `units`, by layers and linears, or of `formats`, by parameters."""
    entries = tuple(literal(key, value) for key, value in values.items())
    return Group(name, entries, tuple(weight.name for weight in model.matrices) if name == "formats" else named(model))


def named(model: Outline) -> tuple[str, ...]:
    """The names that a table of units may use: decoder layers, their linears, tensors of experts and single experts."""
    blocks = (name for module in model.planned for pair in matrices(module) for name in block_names(*pair))
    return tuple(dict.fromkeys((*blocks, *(module.name for module in model.planned))))


def _labels(formats: object) -> dict[str, Value]:
    if not isinstance(formats, dict):
        raise SpecError("formats: expected the label of a format for every name; correct the file")
    return {name: find_quantizer(label).label for name, label in formats.items()}
