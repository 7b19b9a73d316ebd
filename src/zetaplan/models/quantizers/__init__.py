"""Formats that store a weight matrix in few bits. One file per family; each file reads the labels of its family.

A format knows which shapes it can store, how many bytes a tensor takes (scales, zero points and padding included), and
the values that a reader of the stored tensor gets back.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from zetaplan import _found
from zetaplan.errors import SpecError, shown

if TYPE_CHECKING:  # plans of formats are checked without torch, which takes a second to import
    from torch import Tensor


@dataclass(frozen=True)
class Quantizer(ABC):
    """A format of a weight matrix (rows, columns), where the columns are the inputs.

    label : its name in menus and plans, such as "q4_0" or "int4-g64".

    Attributes:
        calibrated: whether the rounding uses X'X of the inputs X (tokens, columns).
        rounds: whether zetaplan can compute the rounded values; otherwise another tool has to.
    """

    label: str
    calibrated: ClassVar[bool] = False
    rounds: ClassVar[bool] = True

    def obstacle(self, rows: int, columns: int) -> str:
        """Why no tensor of this shape can be stored, as one phrase; "" if it can."""
        return ""

    @abstractmethod
    def size(self, rows: int, columns: int) -> int:
        """The bytes of the stored tensor."""

    @abstractmethod
    def rounded(self, weight: Tensor, gram: Tensor | None = None) -> Tensor:
        """The values (rows, columns) that a reader of the stored tensor gets, float32.

        Args:
            weight: (rows, columns), finite, a shape without `obstacle`.
            gram: X'X, (columns, columns), if the format is `calibrated`; None: the rounding does without.

        Raises:
            ScoringError: a weight is too large for the format's scales, or X'X is unusable.
        """


def find_quantizer(label: str) -> Quantizer:
    """The format of a label. Raises SpecError, with the forms that labels have, for an unknown one."""
    if isinstance(label, str) and (found := _parsed(label)):
        return found
    forms = "; ".join(quantizer_forms().values())
    raise SpecError(f"format = {shown(label)}: expected one of {forms}")


@cache  # menus name the same few formats in every block, and the families are listed from the disk
def _parsed(label: str) -> Quantizer | None:
    families = _found.modules(sys.modules[__name__]).values()
    return next((found for family in families if (found := family.parse(label))), None)


def quantizer_forms() -> dict[str, str]:
    """The forms of the labels of every family, by the family's name."""
    return {name: family.FORMS for name, family in _found.modules(sys.modules[__name__]).items()}
