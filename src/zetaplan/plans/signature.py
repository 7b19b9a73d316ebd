"""Signatures from records: a door shows the fields of its options as its keyword arguments, with their defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from zetaplan._records import Record

Door = TypeVar("Door", bound=Callable[..., Any])


def takes(options: type[Record]) -> Callable[[Door], Door]:
    """The function with the record's fields in place of `**options`, for `help` and for completion."""

    def signed(door: Door) -> Door:
        own = inspect.signature(door)
        fixed = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        fields = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.get_default(call_default_factory=True),
                annotation=field.annotation,
            )
            for name, field in options.model_fields.items()
        ]
        door.__signature__ = own.replace(parameters=[*fixed, *fields])  # type: ignore[attr-defined]
        return door

    return signed
