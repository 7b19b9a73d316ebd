"""The GGUF types that only llama.cpp can quantise: K-types and i-types. Their losses come from their relative errors.

llama-quantize replaces a type of 256 columns by another one where a tensor's columns are no multiple of 256, without an
error. `written` names that type, and the sizes are those of the type that is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from zetaplan.errors import ScoringError
from zetaplan.models.quantizers._gguf import BLOCKS, Blockwise

if TYPE_CHECKING:
    from torch import Tensor

#: |w - v|^2 / |w|^2 on normal weights (512 x 4096), without an importance matrix, measured with llama.cpp's quantisers.
RELATIVE_ERRORS = {
    "q2_k": 0.0879,
    "q3_k": 0.0228,
    "q4_k": 0.00509,
    "iq4_xs": 0.00588,
    "iq4_nl": 0.00579,
    "q5_k": 0.00130,
    "q6_k": 0.00031,
}
#: What llama-quantize writes instead, by its function tensor_type_fallback.
FALLBACKS = {
    **dict.fromkeys(("q2_k", "q3_k", "tq1_0", "tq2_0"), "q4_0"),
    "q4_k": "q5_0",
    "q5_k": "q5_1",
    "q6_k": "q8_0",
    **dict.fromkeys(("iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s", "iq4_xs"), "iq4_nl"),
}
FORMS = f"{', '.join(RELATIVE_ERRORS)} (rounded by llama.cpp only)"


@dataclass(frozen=True)
class KType(Blockwise):
    rounds: ClassVar[bool] = False

    @property
    def relative_error(self) -> float:
        """|w - v|^2 / |w|^2 of the rounding."""
        return RELATIVE_ERRORS[self.label]

    def rounded(self, weight: Tensor, gram: Tensor | None = None) -> Tensor:
        raise ScoringError(f"format {self.label}: only llama.cpp can round to it; export the plan for llama-quantize")


def written(label: str, columns: int) -> str:
    """The type that llama-quantize writes for a tensor with these columns, by the label of the type it is given."""
    block = BLOCKS.get(label, (1, 0))[0]
    return FALLBACKS.get(label, label) if columns % block else label


def parse(label: str) -> KType | None:
    return KType(label) if label in RELATIVE_ERRORS else None
