"""Numbers per layer as the cells of a document, where NaN and numbers that were not measured are `null`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def cells(values: NDArray[np.float64] | None, length: int) -> list[Any]:
    """One entry per layer; `null` for numbers that are NaN or were not measured."""
    if values is None:
        return [None] * length
    if values.ndim > 1:
        return [tuple(row) for row in values.tolist()]
    return [None if math.isnan(value) else value for value in values.tolist()]


def column(values: Sequence[Any]) -> NDArray[np.float64] | None:
    """The numbers of `cells`, (K,) or (K, n); None if no layer has one."""
    if all(value is None for value in values):
        return None
    return np.array([math.nan if value is None else value for value in values], np.float64)
