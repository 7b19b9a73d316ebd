"""Bases of frozen values that can be pickled and copied: an immutable mapping and a class with read-only arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, NoReturn, TypeVar

import numpy as np

V = TypeVar("V")


class FrozenMap(Mapping[str, V]):
    """An immutable mapping by name that can be pickled, unlike MappingProxyType.

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
    """Base of frozen dataclasses. Restores the read-only flag of arrays, which numpy drops when pickling."""

    def __getstate__(self) -> tuple[dict[str, Any], list[str]]:
        state = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        fixed = [name for name, value in state.items() if isinstance(value, np.ndarray) and not value.flags.writeable]
        return state, fixed

    def __setstate__(self, state: tuple[dict[str, Any], list[str]]) -> None:
        values, fixed = state
        self.__dict__.update(values)
        for name in fixed:
            values[name].setflags(write=False)
