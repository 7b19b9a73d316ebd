"""Frozen values that pickle, copy and deep-copy: an immutable mapping, and a base that keeps arrays read-only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, NoReturn, TypeVar

import numpy as np

V = TypeVar("V")


class FrozenMap(Mapping[str, V]):
    """An immutable mapping by name. MappingProxyType cannot be pickled; this can.

    Examples:
        >>> zp.allocation([1, 3], costs=1.0, budget=6.0).parameters["gamma"]
        1.0
    """

    __slots__ = ("_items",)
    _items: dict[str, V]

    def __init__(self, items: Mapping[str, V]) -> None:
        object.__setattr__(self, "_items", dict(items))

    def __getitem__(self, name: str) -> V:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{name}: the mapping cannot be changed")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._items,)


class Value:
    """Base of frozen dataclasses. numpy drops the read-only flag of an array that it pickles; it is set again here."""

    def __getstate__(self) -> tuple[dict[str, Any], list[str]]:
        state = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        fixed = [name for name, value in state.items() if isinstance(value, np.ndarray) and not value.flags.writeable]
        return state, fixed

    def __setstate__(self, state: tuple[dict[str, Any], list[str]]) -> None:
        values, fixed = state
        self.__dict__.update(values)
        for name in fixed:
            values[name].setflags(write=False)
