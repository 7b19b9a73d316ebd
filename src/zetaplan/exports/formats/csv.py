"""Plain CSV: name and units, or name and format, for a spreadsheet."""

from __future__ import annotations

import csv
import io

from zetaplan.errors import SpecError
from zetaplan.exports.formats.json import column, decided, settings, table
from zetaplan.exports.job import Group, Job
from zetaplan.exports.labels import FormatJob
from zetaplan.exports.targets import Outline, Value
from zetaplan.models.quantizers import find_quantizer

__all__ = ["COUNTS", "FILE", "MODEL", "read", "settings", "usage", "write"]

COUNTS, MODEL, FILE = None, False, "export.csv"

HEADERS = {"units": ["name", "units"], "formats": ["name", "format"]}


def write(job: Job) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADERS[column(job)], *decided(job)])
    return text.getvalue().encode()


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    begins = {name: f"{','.join(header)}\n".encode() for name, header in HEADERS.items()}
    name = next((name for name, header in begins.items() if data.startswith(header)), None)
    return (table(name, _values(name, data), model),) if name else None


def usage(job: Job, file: str) -> str:
    unit = "" if isinstance(job, FormatJob) else f" ({job.facts['unit']})"
    return f"columns of {file}: {', '.join(HEADERS[column(job)])}{unit}"


def _values(name: str, data: bytes) -> dict[str, Value]:
    try:
        rows = list(csv.reader(io.StringIO(data.decode()), strict=True))[1:]
        return {key: find_quantizer(value).label if name == "formats" else float(int(value)) for key, value in rows}
    except SpecError:
        raise
    except (ValueError, csv.Error) as error:
        expected = "a format" if name == "formats" else "a whole number"
        raise SpecError(f"expected a name and {expected} in every row: {error}; correct the file") from error
