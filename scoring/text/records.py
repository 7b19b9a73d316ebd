"""Strict reader of text files: a tokenizer receives the text, and none of the file's markup.

The file name determines the format, in upper or lower case. .jsonl and .ndjson: one JSON object per line. .json: an
array of objects, one object, or one object per line. Other files are plain text, and are refused if their content is
JSON records. Lines end at a line feed; other Unicode separators belong to the text.
"""

import codecs
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from zetaplan.errors import ScoringError

LINES, ARRAY, TABLES = (".jsonl", ".ndjson"), ".json", (".csv", ".tsv")

#: The default text fields: the first group of which a record has at least one field.
FIELDS = (("text",), ("ctx",), ("sentence1", "sentence2"))

MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
JSON_NAMES = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", list: "a list"}


@dataclass(frozen=True)
class Record:
    """A JSON object of a file, with its place in the file in words, for messages."""

    place: str
    fields: dict[str, Any]

    def text(self, field: str | None, argument: str, groups: Sequence[tuple[str, ...]] = FIELDS) -> str:
        """The text of a field, or of the first group of fields in the record, joined by a line break.

        Raises:
            ScoringError: the field does not exist, or its value is no text; the message begins with `argument`.
        """
        start = f"{argument}: {self.place}"
        known = ((field,),) if field else groups
        names: tuple[str, ...] = next((group for group in known if set(group) & set(self.fields)), ())
        if not names:
            wanted, there = ", ".join(name for group in known for name in group), ", ".join(map(repr, self.fields))
            raise ScoringError(
                f"{start} has none of the text fields {wanted}; it has {there or 'no field'}; "
                "name the text field with `field` (--field on the command line)"
            )
        return "\n".join(self._whole(name, start) for name in names)

    def _whole(self, name: str, start: str) -> str:
        if name not in self.fields:
            raise ScoringError(f"{start} has no field {name!r}, which its text needs; name one field by `field`")
        return require_text(self.fields[name], f"{start}: field {name!r}")


def require_text(value: object, start: str) -> str:
    """The value, if it is a non-empty text that can be encoded; `start` begins the message."""
    if not isinstance(value, str):
        raise ScoringError(
            f"{start} is {JSON_NAMES.get(type(value), 'an object')}; expected a text; leave the record out"
        )
    if not value:
        raise ScoringError(f"{start} is an empty text; leave the record out")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(value[error.start]):04x}"
        raise ScoringError(
            f"{start} has {half} at character {error.start}, half of a surrogate pair and no character; "
            "write both halves, or leave the record out"
        ) from error
    return value


def holds_records(path: str | PathLike[str]) -> bool:
    """Whether the file name stands for JSON records."""
    return Path(path).suffix.lower() in (*LINES, ARRAY)


def read_plain(path: str | PathLike[str], argument: str) -> str:
    """The text of a UTF-8 file without its byte order mark, with every line end as a line feed.

    Raises:
        ScoringError: the file cannot be read, is no UTF-8 text, or contains a table or JSON records.
    """
    text = _decoded(Path(path), argument)
    if Path(path).suffix.lower() in TABLES:
        raise ScoringError(
            f"{argument}: {path} is a table, so its separators would count as text; write the column of texts to a "
            ".txt file, or one record per line to a .jsonl file"
        )
    if _is_records(text):
        raise ScoringError(
            f"{argument}: {path} contains JSON records, so their braces and keys would count as text; name it .jsonl "
            "(an object per line) or .json (an array of objects)"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_records(path: str | PathLike[str], argument: str) -> list[Record]:
    """The JSON objects of a file: one per line or, unless the file is named .jsonl or .ndjson, of one array.

    Raises:
        ScoringError: the file cannot be read, or a record is no JSON object; the message names the line.
    """
    text = _decoded(Path(path), argument)
    whole = None if Path(path).suffix.lower() in LINES else _whole(text, path, argument)
    found = list(_by_line(text, path, argument) if whole is None else whole)
    if not found:
        raise ScoringError(f"{argument}: {path} contains no records")
    return [_record(place, value, argument) for place, value in found]


def _record(place: str, value: object, argument: str) -> Record:
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise ScoringError(f"{argument}: {place} is a {kind}; expected an object with a text field")
    return Record(place, value)


def _by_line(text: str, path: object, argument: str) -> Iterator[tuple[str, object]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip(" \t\r"):
            place = f"{path}, line {number}"
            try:
                yield place, _parsed(line)
            except (ValueError, RecursionError) as error:
                reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                raise ScoringError(
                    f"{argument}: {place} is not JSON ({reason}); a .jsonl file has one object per line"
                ) from error


def _whole(text: str, path: object, argument: str) -> Iterator[tuple[str, object]] | None:
    """The entries of one array, or the one object; None if the file is a sequence of values."""
    try:
        value = _parsed(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" or not text.strip():
            return None
        raise ScoringError(f"{argument}: {path}, line {error.lineno} is not JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:
        raise ScoringError(f"{argument}: {path} is not JSON ({error})") from error
    values = value if isinstance(value, list) else [value]
    return ((f"{path}, record {number}", entry) for number, entry in enumerate(values, start=1))


def _parsed(text: str) -> object:
    return json.loads(text, object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise ValueError(f"field {twice!r} occurs twice")
    return found


def _is_records(text: str) -> bool:
    """Whether a text consists of JSON objects only."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        value = json.loads(text)
        return isinstance(value, dict) or all(isinstance(entry, dict) for entry in value or [0])
    except (ValueError, RecursionError):
        return _is_lines(text)


def _is_lines(text: str) -> bool:
    lines = (line for line in text.split("\n") if line.strip())
    try:
        return all(isinstance(json.loads(line), dict) for line in lines)
    except (ValueError, RecursionError):
        return False


def _decoded(path: Path, argument: str) -> str:
    start = f"{argument}: cannot read {path} as UTF-8 text:"
    try:
        data = path.read_bytes()
        if data.startswith(MARKS):
            raise ScoringError(f"{start} it begins with the byte order mark of UTF-16 or UTF-32; save it as UTF-8")
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise ScoringError(f"{start} {error}") from error
    if "\0" in text:
        raise ScoringError(f"{start} it holds NUL characters, so it is binary or UTF-16; save it as UTF-8")
    return text
