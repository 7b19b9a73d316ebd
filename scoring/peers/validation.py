"""Checks of the peers' public arguments: arrays that are finite and of the stated shape, options in their range."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zetaplan.errors import ScoringError

Array = NDArray[np.float64]


def array(name: str, values: ArrayLike, *, ndim: int) -> Array:
    """The values as a finite, non-empty float64 array with `ndim` axes."""
    try:
        result = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ScoringError(f"{name}: expected an array of real numbers: {error}") from error
    if result.ndim != ndim or result.size == 0:
        raise ScoringError(f"{name}: expected a non-empty array with {ndim} axes, got shape {result.shape}")
    if not np.isfinite(result).all():
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(result))[0])
        raise ScoringError(f"{name}: entry {first} is {result[first]}; every entry must be finite")
    return result


def positive(name: str, values: ArrayLike, *, shape: tuple[int, ...] | None = None) -> Array:
    """The values as a finite vector of positive numbers, of the stated shape."""
    result = array(name, values, ndim=1)
    if shape is not None and result.shape != shape:
        raise ScoringError(f"{name}: expected one value per layer, shape {shape}, got shape {result.shape}")
    if (result <= 0).any():
        layer = int(np.argmax(result <= 0))
        raise ScoringError(f"{name}: layer {layer} has {result[layer]}; expected a positive number")
    return result


def within(name: str, value: float, low: float, high: float) -> float:
    """The value, if it is in [low, high]."""
    if not low <= value <= high:
        raise ScoringError(f"{name}: expected a number in [{low}, {high}], got {value}")
    return value


def fractions(name: str, sparsity: Array) -> Array:
    """The sparsity per layer. Raises ScoringError if one is outside [0, 1]."""
    outside = (sparsity < 0) | (sparsity > 1)
    if outside.any():
        layer = int(np.argmax(outside))
        raise ScoringError(
            f"{name}: layer {layer} would get sparsity {sparsity[layer]:.4g}, outside [0, 1]; lower the spread or the "
            "global sparsity"
        )
    return sparsity
