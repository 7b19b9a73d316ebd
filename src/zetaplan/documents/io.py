"""Reading and writing of documents: JSON, validated against its schema when read, written atomically.

A document is written in one canonical form (UTF-8, two-space indent, keys in schema order, doubles by `repr`, which
round-trips), so the sha256 of a document is the output of `sha256sum` for its file. JSON has no NaN and no infinity:
NaN is rejected, and `null` means "no upper bound", the only infinite value of a document. The schema defines shapes
and types; the program and its certificate decide whether the numbers are valid.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from zetaplan._files import path_of, text_of, write
from zetaplan._records import first_error
from zetaplan._uncollected import uncollected
from zetaplan.documents.schemas.document import Document
from zetaplan.errors import SpecError

DocumentT = TypeVar("DocumentT", bound=Document)

#: The field that every document begins with.
_FIRST = re.compile(r'\{\s*"schema": "([^"\\]*)"')


def load(path: str | os.PathLike[str], kind: type[DocumentT]) -> DocumentT:
    """The document of the given kind in the file. Raises `SpecError` as `read`."""
    return read(path, kind)[0]


@uncollected()
def read(path: str | os.PathLike[str], kind: type[DocumentT]) -> tuple[DocumentT, str]:
    """The document of the given kind in the file, and the text of the file.

    Raises `SpecError`, with a one-line message, if the file is missing, too large, truncated, not JSON, of another
    schema, or violates the schema.
    """
    text = text_of(path_of(path))
    try:
        value = json.loads(text, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path} is not a complete JSON file: {error}; write the file again") from error
    _check_schema(path, value, kind)
    try:
        return kind.model_validate_json(text), text
    except ValidationError as error:
        raise SpecError(f"{path} does not follow its schema: {first_error(error)}") from error


def schema_of(path: str | os.PathLike[str]) -> str | None:
    """The schema that a JSON file names; None if it names none. Raises SpecError if the file cannot be read."""
    text = text_of(path_of(path))
    if first := _FIRST.match(text):
        return first[1]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    schema = value.get("schema") if isinstance(value, dict) else None
    return schema if isinstance(schema, str) else None


def save(path: str | os.PathLike[str], document: Document) -> Path:
    """Write the document's canonical text to the file atomically."""
    return write(path, document.text())


def _check_schema(path: str | os.PathLike[str], value: object, kind: type[Document]) -> None:
    expected = kind.model_fields["schema_"].default
    found = value.get("schema") if isinstance(value, dict) else None
    if found != expected:
        raise SpecError(f"{path} is not a {expected} file: its schema is {found!r}")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} appears twice")
    return found
