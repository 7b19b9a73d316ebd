"""YAML and JSON of other tools: plain values only, no code execution, and no duplicate keys."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable
from typing import Any

import yaml

from zetaplan.errors import SpecError


def dumped(value: dict[str, Any]) -> bytes:
    """The value as YAML, keys in their order."""
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10**6)
    return text.encode()


def parsed(data: bytes) -> dict[str, Any]:
    """The mapping in the text; empty if the text is not a mapping. Raises SpecError for a duplicate key."""
    try:
        value = _Once(data).get_single_data()
    except SpecError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: other bytes than UTF-8, or thousands of digits
        return {}
    return value if isinstance(value, dict) else {}


def parsed_json(data: bytes) -> dict[str, Any]:
    """The mapping in a JSON text, under the rules of `parsed`."""
    try:
        value = json.loads(data, object_pairs_hook=_once)
    except SpecError:
        raise
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


class _Once(yaml.SafeLoader):
    """The safe loader with an error for a duplicate key, because tools would use only its last value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            _once((key.value, None) for key, _ in node.value)
        return found


def _once(pairs: Iterable[tuple[Hashable, Any]]) -> dict[Hashable, Any]:
    found: dict[Hashable, Any] = {}
    for key, value in pairs:
        if key in found:
            raise SpecError(f"{key!r} is in the file twice, and the first would be ignored; keep one")
        found[key] = value
    return found
