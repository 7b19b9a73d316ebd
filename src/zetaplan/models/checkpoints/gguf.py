"""A GGUF file in the planned types, from a GGUF file: for llama.cpp and what builds on it.

The metadata are copied byte by byte, and so are tensors that the plan does not name. A planned tensor is de-quantised
from the source and stored in its type. transformers permutes the rows of some tensors (q and k of Llama) when it reads
them; types store every row by itself, so the stored values are those of the plan in the rows' own order. One tensor at
a time is in memory.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from zetaplan._files import write as write_file
from zetaplan.errors import ScoringError, SpecError, ZetaplanError
from zetaplan.menus.bits import Weight
from zetaplan.models.checkpoints import Manifest, Source
from zetaplan.models.checkpoints._manifest import KEPT, Stored, manifest, sha256_of_bytes, text_of
from zetaplan.models.new_folder import new_file, require_new
from zetaplan.models.quantize import Formats
from zetaplan.models.quantizers import Quantizer
from zetaplan.models.quantizers.floats import Float
from zetaplan.models.quantizers.gguf_types import GGUFType
from zetaplan.runtimes import find_runtime
from zetaplan.scoring.model.gguf import sha256_of, tensors_of
from zetaplan.scoring.model.load import gguf_file

FILE_TYPE = "general.file_type"  # what most weights are stored as; informs readers, decides nothing


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the source. quantizer : its planned type; None: its bytes are copied."""

    source: Any
    quantizer: Quantizer | None

    def stored(self) -> NDArray[Any]:
        """What is written of it."""
        if self.quantizer is None:
            copied: NDArray[Any] = np.ascontiguousarray(self.source.data)
            return copied
        try:
            return _encoded(self.quantizer, torch.from_numpy(_values(self.source)))
        except ZetaplanError as error:
            raise ScoringError(f"{self.source.name}: {error}") from error

    @property
    def type(self) -> Any:
        """Its GGUF type."""
        return self.source.tensor_type if self.quantizer is None else _type(self.quantizer.label)


def obstacle(quantizer: Quantizer, weight: Weight) -> str:
    return find_runtime("llama.cpp").obstacle(quantizer, weight)


def outputs(out: Path) -> tuple[Path, ...]:
    if out.suffix != ".gguf":
        raise SpecError(f"out = {out}: expected the name of a .gguf file")
    return out, _beside(out)


def write(formats: Formats, source: Source, out: Path) -> Manifest:
    file = gguf_file(source.name)
    if file.suffix != ".gguf":
        raise SpecError(
            f"model: {source.name} is no .gguf file; convert it first with llama.cpp's convert_hf_to_gguf.py "
            "--outtype f16, then apply the plan to that file with --other-weights"
        )
    require_new(_beside(out))
    reader, parameters = tensors_of(file)
    sha256 = sha256_of(file)
    source.require_weights_of(formats, sha256)
    tensors = _planned(reader, parameters, formats)
    with new_file(out) as temporary:
        with open(temporary, "xb") as stream:
            written = dict(_written(stream, reader, tensors))
            stream.flush()
            os.fsync(stream.fileno())
        facts = manifest("gguf", formats, (file.stem, sha256), written, {out.name: temporary})
    try:
        write_file(_beside(out), text_of(facts))
    except SpecError:
        out.unlink()
        raise
    return facts


def _beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.json")


def _planned(reader: Any, parameters: dict[str, str], formats: Formats) -> list[Tensor]:
    """The tensors of the file with their types. Raises SpecError if they are not the planned matrices."""
    if reader.byte_order == "S":
        raise SpecError("model: the file is GGUF in another byte order; convert it again on this machine")
    parts: dict[str, list[Any]] = {}
    for tensor in reader.tensors:
        parts.setdefault(parameters.get(tensor.name, ""), []).append(tensor)
    for weight in formats.weights:
        _require_shape(weight, parts.get(weight.name, []))
    return [Tensor(tensor, formats.quantizers.get(parameters.get(tensor.name, ""))) for tensor in reader.tensors]


def _require_shape(weight: Weight, parts: list[Any]) -> None:
    """Raise SpecError unless these tensors are the rows of the matrix."""
    if not parts:
        raise SpecError(f"plan: matrix {weight.name!r} is not in the model")
    columns, numel = {int(part.shape[0]) for part in parts}, sum(int(part.n_elements) for part in parts)
    if columns != {weight.columns} or numel != weight.numel:
        shapes = " and ".join(" x ".join(str(n) for n in reversed(part.shape.tolist())) for part in parts)
        raise SpecError(
            f"plan: matrix {weight.name!r} is stored as {shapes}, the plan was made for "
            f"{' x '.join(map(str, weight.shape[weight.count == 1 :]))}"
        )


def _written(stream: BinaryIO, reader: Any, tensors: list[Tensor]) -> Iterator[tuple[str, Stored]]:
    """Write the whole file, and tell what is stored of every tensor."""
    sizes = [_size(tensor) for tensor in tensors]
    head = _metadata(reader, tensors) + b"".join(_infos(tensors, sizes, reader.alignment))
    stream.write(head + _padding(len(head), reader.alignment))
    for tensor, size in zip(tensors, sizes, strict=True):
        stored = tensor.stored()
        if stored.nbytes != size:
            raise AssertionError(f"{tensor.source.name}: {stored.nbytes} bytes, {size} expected")
        padding = _padding(size, reader.alignment)
        stream.write(stored.data)
        stream.write(padding)
        label = KEPT if tensor.quantizer is None else tensor.quantizer.label
        shape = tuple(reversed(tensor.source.shape.tolist()))
        yield tensor.source.name, Stored(label, shape, size + len(padding), sha256_of_bytes(stored.data))


def _metadata(reader: Any, tensors: list[Tensor]) -> bytes:
    """The bytes before the tensors' infos: header and metadata of the source, with the type that most weights take."""
    head = bytearray(reader.data[: reader.tensors[0].field.offset].tobytes())
    if field := reader.fields.get(FILE_TYPE):
        place = field.offset + sum(part.nbytes for part in field.parts[:-1])
        struct.pack_into("<I", head, place, _file_type(tensors))
    return bytes(head)


def _file_type(tensors: list[Tensor]) -> int:
    from gguf import LlamaFileType

    counts: Counter[str] = Counter()
    for tensor in tensors:
        counts[tensor.type.name] += int(tensor.source.n_elements)
    [(name, _)] = counts.most_common(1)
    known = {"F32": "ALL_F32", "MXFP4": "MOSTLY_MXFP4_MOE", "Q2_K": "MOSTLY_Q2_K", "Q6_K": "MOSTLY_Q6_K"}
    return int(getattr(LlamaFileType, known.get(name, f"MOSTLY_{name}"), LlamaFileType.GUESSED))


def _infos(tensors: list[Tensor], sizes: list[int], alignment: int) -> Iterator[bytes]:
    """Name, dimensions, type and offset of every tensor."""
    offset = 0
    for tensor, size in zip(tensors, sizes, strict=True):
        *shape, _, _ = tensor.source.field.parts
        yield b"".join(part.tobytes() for part in shape) + struct.pack("<IQ", int(tensor.type), offset)
        offset += size + len(_padding(size, alignment))


def _padding(size: int, alignment: int) -> bytes:
    return bytes(-size % int(alignment))  # numpy's own integers are unsigned


def _size(tensor: Tensor) -> int:
    """The bytes of the stored tensor, without padding."""
    from gguf import GGML_QUANT_SIZES

    width, size = GGML_QUANT_SIZES[tensor.type]
    blocks = int(tensor.source.n_elements) // int(width)
    return blocks * int(size)


def _type(label: str) -> Any:
    from gguf import GGMLQuantizationType

    return GGMLQuantizationType[label.upper()]


def _values(tensor: Any) -> NDArray[np.float32]:
    """The tensor in float32, its rows one below the other: (rows, columns)."""
    from gguf import quants

    values = np.array(quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
    return values.reshape(-1, values.shape[-1])


def _encoded(quantizer: Quantizer, values: torch.Tensor) -> NDArray[Any]:
    if not values.isfinite().all():
        raise ScoringError("entries are not finite; download or convert the model again")
    if isinstance(quantizer, GGUFType):
        return quantizer.packed(values)
    if isinstance(quantizer, Float):
        return quantizer.rounded(values).to(quantizer.dtype).view(torch.uint8).numpy()
    raise AssertionError(quantizer.label)
