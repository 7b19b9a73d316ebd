"""Signatures from records: the fields of an options record become a function's keyword arguments, with defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def takes(options: type[Any]) -> Callable[[Function], Function]:
    """Decorator that replaces `**options` in a signature by the fields of a dataclass or a pydantic model."""

    def signed(function: Function) -> Function:
        own = inspect.signature(function)
        fixed = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        function.__signature__ = own.replace(parameters=[*fixed, *_parameters(options)])  # type: ignore[attr-defined]
        return function

    return signed


def _parameters(options: type[Any]) -> Iterator[inspect.Parameter]:
    for name, default, annotation in _fields(options):
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _fields(options: type[Any]) -> Iterator[tuple[str, Any, Any]]:
    """Name, default and type of every field."""
    if is_dataclass(options):
        for field in fields(options):
            yield field.name, inspect.Parameter.empty if field.default is MISSING else field.default, field.type
        return
    for name, field in options.model_fields.items():
        yield name, field.get_default(call_default_factory=True), field.annotation
