"""Files: reads up to a size limit, atomic writes, sha256 digests, and JSON in one canonical form."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from contextlib import suppress
from functools import cache
from pathlib import Path

from zetaplan.errors import SpecError, shown

#: Largest file that is read, in bytes; a plan of 10,000 layers takes about 8 MB.
SIZE_LIMIT = 64 * 2**20

#: Raw line breaks and tabs occur in no string of JSON: here they mark the beginnings of entries and of values.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",\n", ":\t"))

#: Brackets that begin an entry or a value and brackets that end one, except those of empty values.
_BRACKETS = re.compile(r"([\n\t\]}](?:(?<=\s)[\[{]+(?![\]}])|(?<=[\]}])(?<![\[{].)[\]}]*(?=,\n|\Z)))")


def canonical(value: object) -> str:
    """The canonical text of a JSON value. Raises ValueError for NaN and infinity, which JSON cannot represent.

    It is that of json.dumps(value, indent=2), which leaves the compiled encoder for any indent and takes ten times as
    long: here the compiled text is cut at its brackets and indented.
    """
    pieces = _BRACKETS.split("\n" + _ENCODER.encode(value))
    texts, depth = [], 0
    for text, brackets in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        texts.append(text.replace("\n", _margin(depth)))
        indented, depth = _indented(brackets, depth)
        texts.append(indented)
    return "".join(texts).replace("\t", " ")[1:] + "\n"


@cache
def _indented(brackets: str, depth: int) -> tuple[str, int]:
    """A run of brackets on their lines, and the depth after it."""
    text = ""
    for mark in brackets:
        depth += (mark in "[{") - (mark in "]}")
        before, after = mark in "\n]}", mark in "[{"
        text += before * _margin(depth) + mark.strip("\n") + after * _margin(depth)
    return text, depth


@cache
def _margin(depth: int) -> str:
    """A line break and the indent of the line that it begins."""
    return "\n" + "  " * depth


def digest(text: str) -> str:
    """The sha256 of the text in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The sha256 of a file of any size, in hexadecimal. Raises SpecError if it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot read {path}: {reason(error)}; check the path") from error


def reason(error: OSError | ValueError) -> str:
    """Why a file cannot be read or written, as the system reports it. A ValueError means a null byte in the name."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def is_there(path: Path) -> bool:
    """Whether a file or a folder exists at the path; False also for a path that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def contents(path: Path) -> bytes:
    """The bytes of a file. Raises SpecError if it cannot be read or is larger than `SIZE_LIMIT`."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot read {path}: {reason(error)}; check the path") from error
    if len(data) > SIZE_LIMIT:
        raise SpecError(f"{path} is larger than {SIZE_LIMIT} bytes; give a file written by zetaplan")
    return data


def text_of(path: Path) -> str:
    """The text of a UTF-8 file. Raises SpecError in the cases of `contents`, and for bytes that are not UTF-8."""
    try:
        return contents(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is not text in UTF-8; give a JSON file written by zetaplan") from error


def path_of(value: object, argument: str = "path") -> Path:
    """The path given for an argument. Raises SpecError for an empty path or a value that is not a path."""
    if not isinstance(value, str | os.PathLike) or not (text := os.fspath(value)) or not isinstance(text, str):
        raise SpecError(f"{argument} = {shown(value)}: expected the name of a file")
    return Path(text)


def write(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Write a file atomically: the content goes to a temporary file, which is then renamed to the path.

    A missing folder is created. Raises SpecError if the folder or the file cannot be written.
    """
    target = path_of(path)
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot write {target}: {reason(error)}; choose another --out") from error
    finally:
        with suppress(OSError, ValueError):
            temporary.unlink()
    return target
