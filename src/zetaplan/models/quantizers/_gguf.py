"""Sizes of GGUF types: rows are stored in blocks of a fixed number of columns, and tensors are padded to 32 bytes."""

from __future__ import annotations

from dataclasses import dataclass

from zetaplan.models.quantizers import Quantizer

ALIGNMENT = 32  # bytes, the default of GGUF files

#: (columns, bytes) of a block, as in the table GGML_QUANT_SIZES of the package gguf.
BLOCKS = {
    "q4_0": (32, 18),
    "q4_1": (32, 20),
    "q5_0": (32, 22),
    "q5_1": (32, 24),
    "q8_0": (32, 34),
    "mxfp4": (32, 17),
    "iq4_nl": (32, 18),
    "q2_k": (256, 84),
    "q3_k": (256, 110),
    "q4_k": (256, 144),
    "q5_k": (256, 176),
    "q6_k": (256, 210),
    "iq2_xxs": (256, 66),
    "iq2_xs": (256, 74),
    "iq2_s": (256, 82),
    "iq3_xxs": (256, 98),
    "iq3_s": (256, 110),
    "iq4_xs": (256, 136),
    "q8_1": (32, 40),
    "q8_k": (256, 292),
    "q1_0": (128, 18),
    "iq1_s": (256, 50),
    "iq1_m": (256, 56),
    "tq1_0": (256, 54),
    "tq2_0": (256, 66),
    "nvfp4": (64, 36),
}


def padded(size: int) -> int:
    """The bytes that a tensor of this size takes in a GGUF file."""
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Blockwise(Quantizer):
    """A GGUF type: every row is stored in blocks."""

    def obstacle(self, rows: int, columns: int) -> str:
        width, _ = BLOCKS[self.label]
        return f"{columns} columns are no multiple of its block of {width}" if columns % width else ""

    def size(self, rows: int, columns: int) -> int:
        width, size = BLOCKS[self.label]
        return padded(rows * (columns // width) * size)
