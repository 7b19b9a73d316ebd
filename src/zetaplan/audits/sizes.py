"""The bytes of a matrix in a format of another tool, and the format that the tool really writes."""

from __future__ import annotations

from dataclasses import dataclass

from zetaplan.errors import SpecError
from zetaplan.menus.bits import Weight
from zetaplan.models.quantizers import find_quantizer
from zetaplan.models.quantizers._gguf import BLOCKS, padded
from zetaplan.models.quantizers._integers import Integer
from zetaplan.models.quantizers.floats import BYTES as FLOATS
from zetaplan.models.quantizers.k_types import written
from zetaplan.runtimes import find_runtime

#: (columns, bytes) of a block of every type that a GGUF file can hold, as in the table GGML_QUANT_SIZES of gguf.
TYPES: dict[str, tuple[int, int]] = {
    **BLOCKS,
    **{label: (1, size) for label, size in FLOATS.items()},
    **{f"i{8 * size}": (1, size) for size in (1, 2, 4, 8)},
    "f64": (1, 8),
}


@dataclass(frozen=True)
class Stored:
    """A matrix of the plan. label : the planned format. written : the format that is stored; "" if unknown.

    bytes : None if they are unknown. why : why the format differs, or is unknown; "" otherwise.
    """

    weight: Weight
    label: str
    written: str
    bytes: int | None
    why: str = ""

    @property
    def quantised(self) -> bool:
        """Whether the stored format has fewer bits than a number of 16 bits."""
        return self.written not in (*FLOATS, "f64", "")


def stored(weight: Weight, label: str, layout: str) -> Stored:
    """The matrix in the format. layout : "gptq", or the name of a runtime; GGUF types have one layout."""
    if label in TYPES and (layout == "llama.cpp" or label not in FLOATS):
        return _block_type(weight, label)
    try:
        quantizer = find_quantizer(label)
    except SpecError:
        return Stored(weight, label, "", None, f"{label} is a format of unknown size")
    if why := quantizer.obstacle(weight.rows, weight.columns):
        return Stored(weight, label, "", None, why)
    if layout == "gptq" and isinstance(quantizer, Integer):
        return Stored(weight, label, label, weight.count * _gptq(quantizer, weight.rows, weight.columns))
    return Stored(weight, label, label, find_runtime("vllm").size(quantizer, weight))


def bits(label: str) -> float | None:
    """The bits of a weight's code in a format: scales of integers are left out, those of GGUF types are included."""
    if label in TYPES:
        columns, size = TYPES[label]
        return 8 * size / columns
    try:
        quantizer = find_quantizer(label)
    except SpecError:
        return None
    return float(quantizer.bits) if isinstance(quantizer, Integer) else None


def block_size(label: str, rows: int, columns: int) -> int:
    """The bytes of a tensor of a GGUF type, without padding; the columns are whole blocks."""
    width, size = TYPES[label]
    return rows * (columns // width) * size


def _block_type(weight: Weight, label: str) -> Stored:
    taken = written(label, weight.columns)
    if _cut(taken, weight):
        taken = "f16"  # as llama-quantize does where no block of 32 fits either
    size = padded(block_size(taken, weight.count * weight.rows, weight.columns))
    why = f"{weight.columns} columns are no multiple of its block of {TYPES[label][0]}" if taken != label else ""
    return Stored(weight, label, taken, size, why)


def _cut(label: str, weight: Weight) -> bool:
    return weight.columns % TYPES[label][0] != 0


def _gptq(quantizer: Integer, rows: int, columns: int) -> int:
    """Packed codes, packed zero points and float16 scales of the groups, and the group of every column in int32."""
    groups = quantizer.groups(columns)
    zeros = groups * -(-rows * quantizer.bits // 32) * 4
    return -(-columns * quantizer.bits // 32) * 4 * rows + zeros + 2 * groups * rows + 4 * columns
