"""Headers of GGUF files: names, shapes and types of the tensors, without any weight.

Every count and length is compared with the bytes that are left before it is used, so a damaged or hostile file gives
one message and no large allocation.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from zetaplan._files import reason
from zetaplan.audits.sizes import TYPES, block_size
from zetaplan.errors import SpecError, shown

MAGIC = b"GGUF"
#: The types of tensors by their numbers in a file.
NUMBERS = dict(
    enumerate(
        (
            "f32",
            "f16",
            "q4_0",
            "q4_1",
            "",
            "",
            "q5_0",
            "q5_1",
            "q8_0",
            "q8_1",
            "q2_k",
            "q3_k",
            "q4_k",
            "q5_k",
            "q6_k",
            "q8_k",
            "iq2_xxs",
            "iq2_xs",
            "iq3_xxs",
            "iq1_s",
            "iq4_nl",
            "iq3_s",
            "iq2_s",
            "iq4_xs",
            "i8",
            "i16",
            "i32",
            "i64",
            "f64",
            "iq1_m",
            "bf16",
            "",
            "",
            "",
            "tq1_0",
            "tq2_0",
            "",
            "",
            "",
            "mxfp4",
            "nvfp4",
            "q1_0",
        )
    )
)
#: The numbers of metadata types, as formats of `struct`; 8 is a string and 9 an array.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
ENTRIES = 2**20  # tensors, or metadata; the largest models have some thousands
ITEMS = 2**24  # strings of an array; vocabularies have some hundred thousand
NAME = 2**16  # bytes of a key or a name


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file. shape : (rows, columns), or (count, rows, columns). bytes : without padding."""

    name: str
    shape: tuple[int, ...]
    label: str
    offset: int

    @property
    def bytes(self) -> int:
        return block_size(self.label, math.prod(self.shape[:-1]), self.shape[-1])


@dataclass(frozen=True)
class Header:
    """metadata : scalars and strings by key. alignment : the tensors begin at its multiples."""

    metadata: dict[str, object]
    tensors: tuple[Tensor, ...]
    alignment: int

    def padded(self, size: int) -> int:
        """The bytes that a tensor of this size takes in the file."""
        return -(-size // self.alignment) * self.alignment


def read_header(path: Path) -> Header:
    """The header of a file. Raises SpecError if it is damaged, or the file is shorter than its tensors."""
    try:
        with open(path, "rb") as stream:
            stream.seek(0, 2)
            return _header(_Cursor(stream, stream.tell()))
    except (OSError, ValueError) as error:
        if isinstance(error, SpecError):
            raise SpecError(f"{path}: the GGUF header is damaged: {error}; download the file again") from error
        raise SpecError(f"cannot read {path}: {reason(error)}; check the path") from error


class _Cursor:
    """A stream whose reads and skips never pass the end of the file."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.left, self.size = stream, size, size
        stream.seek(0)

    @property
    def place(self) -> int:
        return self.size - self.left

    def take(self, size: int) -> bytes:
        self._require(size)
        return self.stream.read(size)

    def skip(self, size: int) -> None:
        self._require(size)
        self.stream.seek(size, 1)

    def number(self, form: str) -> int:
        return int(struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))[0])

    def text(self) -> str:
        size = self.number("Q")
        if size > NAME:
            raise SpecError(f"a name of {size} bytes")
        try:
            return self.take(size).decode("utf-8")
        except UnicodeDecodeError:
            raise SpecError("a name that is no UTF-8") from None

    def _require(self, size: int) -> None:
        if size > self.left:
            raise SpecError(f"it ends after {self.size} bytes, in the middle of an entry")
        self.left -= size


def _header(cursor: _Cursor) -> Header:
    if cursor.take(4) != MAGIC:
        raise SpecError("it does not begin with GGUF")
    if (version := cursor.number("I")) not in (2, 3):
        raise SpecError(f"version {version}; expected 2 or 3, in little-endian order")
    tensors, entries = cursor.number("Q"), cursor.number("Q")
    if max(tensors, entries) > ENTRIES:
        raise SpecError(f"{tensors} tensors and {entries} entries of metadata")
    metadata = {}
    for _ in range(entries):
        key = cursor.text()
        metadata[key] = _value(cursor, cursor.number("I"))
    found = tuple(_tensor(cursor) for _ in range(tensors))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment not in {2**k for k in range(3, 17)}:
        raise SpecError(f"general.alignment = {shown(alignment)}")
    header = Header(metadata, found, alignment)
    _require_apart(header, cursor.size - header.padded(cursor.place))
    return header


def _value(cursor: _Cursor, kind: int, depth: int = 0) -> object:
    """A value of metadata: a number or a string; arrays are skipped."""
    if kind in SCALARS:
        form = f"<{SCALARS[kind]}"
        value: object = struct.unpack(form, cursor.take(struct.calcsize(form)))[0]
        return value
    if kind == STRING:
        return _short(cursor)
    if kind != ARRAY or depth > 3:
        raise SpecError(f"metadata of the unknown type {kind}")
    inner, count = cursor.number("I"), cursor.number("Q")
    if inner in SCALARS:
        cursor.skip(count * struct.calcsize(SCALARS[inner]))
        return None
    if count > ITEMS:
        raise SpecError(f"an array of {count} items")
    for _ in range(count):
        _value(cursor, inner, depth + 1)
    return None


def _short(cursor: _Cursor) -> str | None:
    """A string, or None for a long one, such as a template of chats."""
    size = cursor.number("Q")
    if size > NAME:
        cursor.skip(size)
        return None
    return cursor.take(size).decode("utf-8", "replace")


def _tensor(cursor: _Cursor) -> Tensor:
    name, dimensions = cursor.text(), cursor.number("I")
    if not 1 <= dimensions <= 4:
        raise SpecError(f"{shown(name)} has {dimensions} dimensions")
    shape = tuple(cursor.number("Q") for _ in range(dimensions))[::-1]
    number, offset = cursor.number("I"), cursor.number("Q")
    label = NUMBERS.get(number, "")
    if not label:
        raise SpecError(f"{shown(name)} has the unknown type {number}")
    if min(shape) < 1 or math.prod(shape) > 2**50 or shape[-1] % TYPES[label][0]:
        raise SpecError(f"{shown(name)} has the shape {shown(shape)}, which {label} cannot store")
    return Tensor(name, shape, label, offset)


def _require_apart(header: Header, size: int) -> None:
    """Raise SpecError unless the tensors have different names and lie behind each other, within `size` bytes."""
    if len({tensor.name for tensor in header.tensors}) < len(header.tensors):
        raise SpecError("two tensors have the same name")
    end = 0
    for tensor in sorted(header.tensors, key=lambda tensor: tensor.offset):
        if tensor.offset < end or tensor.offset % header.alignment:
            raise SpecError(f"{shown(tensor.name)} overlaps another tensor, or is not aligned")
        end = tensor.offset + tensor.bytes
    if end > size:
        raise SpecError(f"the tensors take {end:,} bytes, the file holds {max(size, 0):,}")
