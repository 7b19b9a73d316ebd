"""Plain CSV: name and units, for a spreadsheet."""

from __future__ import annotations

import csv
import io

from zetaplan.errors import SpecError
from zetaplan.exports.formats.json import named, settings
from zetaplan.exports.job import Group, Job
from zetaplan.exports.targets import Outline, literal

__all__ = ["COUNTS", "FILE", "MODEL", "read", "settings", "usage", "write"]

COUNTS, MODEL, FILE = None, False, "export.csv"

HEADER = ["name", "units"]


def write(job: Job) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADER, *job.units.items()])
    return text.getvalue().encode()


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    header = ",".join(HEADER)
    if not data.startswith(f"{header}\n".encode()):
        return None
    try:
        rows = list(csv.reader(io.StringIO(data.decode()), strict=True))[1:]
        entries = tuple(literal(name, float(int(units))) for name, units in rows)
    except (ValueError, csv.Error) as error:
        raise SpecError(f"expected a name and a whole number in every row: {error}; correct the file") from error
    return (Group("units", entries, named(model.modules)),)


def usage(job: Job, file: str) -> str:
    return f"columns of {file}: {', '.join(HEADER)} ({job.plan.whole_unit})"
