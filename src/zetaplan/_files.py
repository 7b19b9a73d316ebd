"""Files: reads up to a size limit, atomic writes, sha256 digests, and JSON in one canonical form."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import suppress
from functools import cache
from pathlib import Path

from zetaplan.errors import SpecError, shown

#: Largest file that is read, in bytes; a plan of 10,000 layers takes about 8 MB.
SIZE_LIMIT = 64 * 2**20


def canonical(value: object) -> str:
    """The canonical text of a JSON value. Raises ValueError for NaN and infinity, which JSON cannot represent.

    It is that of json.dumps(value, indent=2), which leaves the compiled encoder for any indent and takes ten times as
    long.
    """
    return _indented(value, "\n") + "\n"


def _indented(value: object, margin: str) -> str:
    """The text of a value. margin : a line break and the indent of the line that it begins on."""
    deeper = margin + "  "
    if not value or not isinstance(value, dict | list | tuple):
        return _encoder(deeper).encode(value)
    entries = value.values() if isinstance(value, dict) else value
    if not any(isinstance(entry, dict | list | tuple) for entry in entries):
        text = _encoder(deeper).encode(value)
        return f"{text[0]}{deeper}{text[1:-1]}{margin}{text[-1]}"
    texts = [_indented(entry, deeper) for entry in entries]
    if not isinstance(value, dict):
        return f"[{deeper}{f',{deeper}'.join(texts)}{margin}]"
    named = [f"{_encoder(deeper).encode(key)}: {text}" for key, text in zip(value, texts, strict=True)]
    return f"{{{deeper}{f',{deeper}'.join(named)}{margin}}}"


@cache
def _encoder(margin: str) -> json.JSONEncoder:
    """An encoder that begins every entry on a new line with this margin."""
    return json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(f",{margin}", ": "))


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
