"""Numbers per layer by name: mappings and pandas Series, brought into the order of the layers.

A mapping, a pandas Series with names as its index, or anything else with `keys` and `items` is by name. Numbers by name
are never taken by their order. Keys 0, 1, ..., K - 1, such as the default index of pandas, are places.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from zetaplan.errors import SpecError, shown


def by_name(argument: str, values: Any) -> dict[str, Any] | None:
    """The values by name; None if they are by place. Raises SpecError for keys that are neither, or given twice."""
    if isinstance(values, type) or not hasattr(values, "keys") or not hasattr(values, "items"):
        return None
    pairs = list(values.items())
    keys = [key for key, _ in pairs]
    if keys == list(range(len(keys))):
        return None
    if wrong := next((key for key in keys if not isinstance(key, str)), None):
        raise SpecError(f"{argument}[{shown(wrong)}]: expected the names of the layers as keys")
    found = dict(pairs)
    if len(found) < len(keys):
        twice = next(key for place, key in enumerate(keys) if key in keys[:place])
        raise SpecError(f"{argument}[{twice!r}]: this layer is there twice; give one number")
    return found


def names_of(argument: str, values: Any) -> tuple[str, ...] | None:
    """The names of the layers, in the order of the values; None if the values are by place."""
    found = by_name(argument, values)
    return None if found is None else tuple(found)


def in_order(argument: str, values: Any, names: Sequence[str] | None) -> Any:
    """The values in the order of the names. Values by place are returned as they are.

    Raises SpecError for a layer without a value, a name of no layer, or values by name for layers without names.
    """
    found = by_name(argument, values)
    if found is None:
        return [value for _, value in values.items()] if hasattr(values, "items") else values
    if names is None:
        raise SpecError(f"{argument}: numbers by name, but the layers have no names; give quality by name too")
    for name in (*names, *found):
        if name not in found:
            raise SpecError(
                f"{argument}: no number for layer {name!r}; give one number for every layer{_near(name, found)}"
            )
        if name not in names:
            raise SpecError(f"{argument}[{name!r}]: no layer has this name{_near(name, names)}")
    return [found[name] for name in names]


def _near(name: str, known: Any) -> str:
    near = get_close_matches(name, list(known), 1, 0.6)
    return f"; the closest is {near[0]!r}" if near else ""
