"""Headers of GGUF files: what is read is what was written, and a damaged file is one line."""

from __future__ import annotations

import math
import random
import struct
from pathlib import Path

import pytest

from tests.audits import gguf, text
from tests.cli.test_files import complaint
from zetaplan.audits.header import NUMBERS, read_header
from zetaplan.audits.sizes import TYPES
from zetaplan.errors import SpecError
from zetaplan.scoring.model.load import _smollm2_file

TENSORS = (
    ("token_embd.weight", (48, 64), "q8_0"),
    ("blk.0.attn_q.weight", (64, 64), "q4_0"),
    ("blk.0.attn_norm.weight", (64,), "f32"),
    ("blk.0.ffn_down_exps.weight", (3, 64, 256), "q4_k"),
)


@pytest.fixture
def good() -> bytes:
    return gguf(TENSORS)


def test_names_shapes_types_and_bytes(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(good)
    header = read_header(path)
    assert [(t.name, t.shape, t.label) for t in header.tensors] == list(TENSORS)
    sizes = [48 * 2 * 34, 64 * 2 * 18, 64 * 4, 3 * 64 * 144]
    assert [tensor.bytes for tensor in header.tensors] == sizes
    assert header.metadata["general.architecture"] == "llama"


def test_an_alignment_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(gguf((("a", (1, 3), "f32"), ("b", (1, 3), "f32")), alignment=256))
    header = read_header(path)
    assert [header.padded(tensor.bytes) for tensor in header.tensors] == [256, 256]


def test_the_types_are_those_of_the_package() -> None:
    package = pytest.importorskip("gguf")
    known = {t.value: t.name.lower() for t in package.GGMLQuantizationType}
    assert {number: label for number, label in NUMBERS.items() if label} == known
    sizes = {t.name.lower(): size for t, size in package.GGML_QUANT_SIZES.items()}
    assert {label: TYPES[label] for label in known.values()} == sizes


def test_the_header_of_smollm2_is_what_the_package_reads() -> None:
    package = pytest.importorskip("gguf")
    reader = package.GGUFReader(_smollm2_file())
    header = read_header(_smollm2_file())
    assert len(header.tensors) == len(reader.tensors) == 272
    for own, theirs in zip(header.tensors, reader.tensors, strict=True):
        assert (own.name, own.shape) == (theirs.name, tuple(int(n) for n in theirs.shape[::-1]))
        assert (own.label.upper(), own.bytes) == (theirs.tensor_type.name, theirs.n_bytes)
    tensors = sum(header.padded(tensor.bytes) for tensor in header.tensors)
    assert _smollm2_file().stat().st_size - reader.data_offset == tensors == 96_576_768


def test_a_file_cut_anywhere_is_refused(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "a.gguf"
    for size in (*range(4, 400, 7), len(good) // 2, len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(SpecError, match="the GGUF header is damaged"):
            read_header(path)


def test_bytes_turned_or_drawn_end_with_one_line(tmp_path: Path, good: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw = random.Random(7)  # noqa: S311
    for trial in range(120):
        data = bytearray(good)
        for _ in range(draw.randrange(1, 4)):
            data[draw.randrange(4, 600)] = draw.randrange(256)
        Path("a.gguf").write_bytes(bytes(data) if trial % 3 else b"GGUF" + draw.randbytes(draw.randrange(300)))
        assert complaint("audit --plan a.gguf") is None


def counts(tensors: int, entries: int, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, entries)


def tensor(shape: tuple[int, ...], number: int = 0, offset: int = 0) -> bytes:
    size = struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
    return counts(1, 0) + text("a") + size + struct.pack("<IQ", number, offset) + bytes(4096)


HOSTILE = {
    "version 1": counts(0, 0, version=1),
    "version 50331648": counts(0, 0, version=3 << 24),  # in big-endian order
    f"{2**60} tensors": counts(2**60, 0),
    f"{2**40} entries": counts(0, 2**40),
    f"a name of {2**63} bytes": counts(0, 1) + struct.pack("<Q", 2**63),
    "a name that is no UTF-8": counts(0, 1) + struct.pack("<Q", 1) + b"\xff",
    "of the unknown type 99": counts(0, 1) + text("k") + struct.pack("<I", 99),
    f"an array of {2**62} items": counts(0, 1) + text("k") + struct.pack("<IIQ", 9, 8, 2**62),
    "in the middle of an entry": counts(0, 1) + text("k") + struct.pack("<IIQ", 9, 10, 2**61),
    "unknown type 9": counts(0, 1) + text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 9,
    "'a' has 5 dimensions": tensor((1, 1, 1, 1, 1)),
    "'a' has 0 dimensions": tensor(()),
    "'a' has the shape (0,)": tensor((0,)),
    "which f32 cannot store": tensor((2**30, 2**30)),
    "which q4_k cannot store": tensor((1, 64), number=12),
    "'a' has the unknown type 4": tensor((1,), number=4),
    "overlaps another tensor, or is not aligned": tensor((1,), offset=1),
    "the tensors take 65,536 bytes": tensor((2**14,)),
}


@pytest.mark.parametrize("words", HOSTILE)
def test_a_hostile_header_is_named(tmp_path: Path, words: str) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(HOSTILE[words])
    with pytest.raises(SpecError) as caught:
        read_header(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_tensors_of_one_name_and_two_that_overlap(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(gguf((("a", (1, 8), "f32"), ("a", (1, 8), "f32"))))
    with pytest.raises(SpecError, match="two tensors have the same name"):
        read_header(path)
    data = bytearray(gguf((("a", (1, 8), "f32"), ("b", (1, 8), "f32"))))
    place = data.rindex(text("b")) + len(text("b")) + 4 + 16 + 4
    assert struct.unpack_from("<Q", data, place) == (32,)
    data[place : place + 8] = bytes(8)
    path.write_bytes(bytes(data))
    with pytest.raises(SpecError, match="overlaps another tensor"):
        read_header(path)


def test_the_sizes_add_up(good: bytes) -> None:
    """The made file itself: header, padding and tensors are all its bytes."""
    stored = [math.prod(shape) // TYPES[label][0] * TYPES[label][1] for _, shape, label in TENSORS]
    assert len(good) % 32 == 0
    assert sum(size + -size % 32 for size in stored) < len(good)
