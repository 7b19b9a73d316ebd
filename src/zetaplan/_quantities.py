"""Quantities as people write them: shares such as 50%, and counts such as 2M. `zetaplan.scoring.sizes` reads sizes.

Python, YAML files and commands read them by these functions. Plain numbers are unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from zetaplan.errors import SpecError, shown

PLAIN, SHARE = {"": 1.0}, "a share, such as 50% or 0.5"
COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}


def share(value: Any) -> Any:
    """A share: 0.5 of "50%"; text without a percent sign is a number."""
    number = _scaled(value.strip().removesuffix("%") if isinstance(value, str) else value, PLAIN, SHARE)
    return number / 100 if isinstance(value, str) and value.strip().endswith("%") else number


def count(value: Any) -> Any:
    """A count: 2,000,000 of "2M"; k, M, B and T for thousands, millions, billions and trillions."""
    return _scaled(value, COUNTS, "a number, such as 1500000, 1.5M or 2B")


def shares(value: Any) -> Any:
    """One share, a sequence of shares, or shares by name."""
    if isinstance(value, Mapping):
        return {name: share(one) for name, one in value.items()}
    return tuple(map(share, value)) if isinstance(value, list | tuple) else share(value)


def read(argument: str, value: str, kind: Callable[[Any], Any]) -> float:
    """The value of a command's option. Raises SpecError that names the argument."""
    try:
        return float(kind(value))
    except ValueError as error:
        raise SpecError(f"{argument}: {error}") from None


def _scaled(value: Any, units: Mapping[str, float], expected: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        match = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)\s*([a-z]*)", value.strip().lower(), re.ASCII)
    if not match or match[2] not in units:
        raise ValueError(f"expected {expected}, got {shown(value)}")
    return float(match[1]) * units[match[2]]


Share = Annotated[float, BeforeValidator(share, json_schema_input_type=float | str)]
Count = Annotated[float, BeforeValidator(count, json_schema_input_type=float | str)]
Shares = Annotated[
    float | tuple[float, ...] | dict[str, float],
    BeforeValidator(shares, json_schema_input_type=float | str | tuple[float | str, ...] | dict[str, float | str]),
]
