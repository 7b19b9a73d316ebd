"""Validation of the arrays of a batch, as `spec.checks` of one instance; messages name the instance and the layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from zetaplan.errors import SpecError
from zetaplan.spec import checks
from zetaplan.spec.program import Term

if TYPE_CHECKING:
    import torch


def tensor(name: str, values: Any, dtype: Any, device: Any) -> torch.Tensor:
    import torch

    try:
        given = values.copy() if isinstance(values, np.ndarray) and not values.flags.writeable else values
        return torch.as_tensor(given, dtype=dtype, device=device)  # torch warns of memory that it must not write to
    except (TypeError, ValueError, OverflowError):
        raise SpecError(f"{name}: expected numbers, got {type(values).__name__}: {str(values)[:60]}") from None


def like(name: str, values: Any, gains: torch.Tensor) -> torch.Tensor:
    """Tensor that broadcasts to the gains; not expanded, so that one number is checked once."""
    given = tensor(name, values, gains.dtype, gains.device)
    try:
        given.expand(gains.shape)
    except RuntimeError:
        shape = tuple(given.shape)
        raise SpecError(
            f"{name}: expected a shape that broadcasts to {tuple(gains.shape)}, got shape {shape}"
        ) from None
    return given


def within(
    name: str,
    values: torch.Tensor,
    shape: Any = None,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
) -> torch.Tensor:
    low, high = (float(end) for end in values.aminmax())
    if low > above and low >= least and high < math.inf and high <= most:
        return values
    every = values.expand(shape or values.shape)
    expected = f"above {above:g}" if above > -math.inf else f"of at least {least:g}"
    name_first(name, every, ~((every > above) & (every >= least) & (every < math.inf)), f"a finite number {expected}")
    name_first(name, every, every > most, f"at most {most:g}; choose another unit")
    return values


def capped(upper: torch.Tensor, lower: torch.Tensor, term: Term, shape: Any) -> torch.Tensor:
    every = upper.expand(shape)
    if not bool((upper <= term.upper).all()):
        name_first("upper", every, ~(every <= term.upper), f"at most {term.upper:g}")
    if not bool((lower <= upper).all()):
        name_first("upper", every, ~(lower <= every), "at least the floor; lower the floor or raise the cap")
    large = (upper > checks.LARGEST) & upper.isfinite()
    if bool(large.any()):
        name_first("upper", every, large.expand(shape), f"at most {checks.LARGEST:g}, or infinity")
    return upper


def name_first(name: str, values: torch.Tensor, bad: torch.Tensor, expected: str) -> None:
    if not bool(bad.any()):
        return
    place = bad.nonzero()[0].tolist()
    raise SpecError(f"{name}{place} = {float(values[tuple(place)]):g}: expected {expected}")
