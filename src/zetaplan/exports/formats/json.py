"""Plain JSON: the units by name, for any program that reads JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from zetaplan._files import canonical
from zetaplan.documents.convert import plan_document
from zetaplan.errors import SpecError
from zetaplan.exports.job import Group, Job
from zetaplan.exports.targets import Module, Outline, linears, literal

COUNTS, MODEL, FILE = None, False, "export.json"

SCHEMA = "zetaplan.export/1"


def settings(job: Job) -> dict[str, dict[str, float]]:
    return {"units": {name: float(units) for name, units in job.units.items()}}


def write(job: Job) -> bytes:
    head = {"schema": SCHEMA, "program": job.plan.instance.program.name, "unit": job.plan.whole_unit}
    return canonical({**head, "plan_sha256": plan_document(job.plan).sha256_, "units": dict(job.units)}).encode()


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    try:
        value = json.loads(data)
    except ValueError:
        return None
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        return None
    units = value.get("units")
    if not isinstance(units, dict) or not all(isinstance(amount, int) for amount in units.values()):
        raise SpecError("units: expected a whole number for every name; correct the file")
    return (
        Group("units", tuple(literal(name, float(amount)) for name, amount in units.items()), named(model.modules)),
    )


def usage(job: Job, file: str) -> str:
    return f"json.load(open({file!r}))['units']"


def named(modules: Sequence[Module]) -> tuple[str, ...]:
    """The names that a plain table may use: decoder layers and their linears."""
    found = linears(modules)
    return (*dict.fromkeys(module.block for module in found), *(module.name for module in found))
