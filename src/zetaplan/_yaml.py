"""YAML and JSON: plain values only, no code execution, no duplicate keys, and no aliases."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable
from typing import Any

import yaml

from zetaplan.errors import SpecError


def dumped(value: dict[str, Any]) -> bytes:
    """The value as YAML, keys in their order."""
    text: str = yaml.dump(value, Dumper=_Spelled, sort_keys=False, allow_unicode=True, width=10**6)
    return text.encode()


def loaded(data: bytes) -> Any:
    """The value in the text. Raises SpecError for a duplicate key or an alias, and yaml.YAMLError for other text."""
    return _Plain(data).get_single_data()


def parsed(data: bytes) -> dict[str, Any]:
    """The mapping in the text; empty if the text is not a mapping. Raises SpecError for a duplicate key or an alias."""
    try:
        value = loaded(data)
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


class _Spelled(yaml.SafeDumper):
    """The safe dumper without aliases: a list that is there twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Plain(yaml.SafeLoader):
    """The safe loader with an error for a duplicate key and for an alias.

    Tools would use only the last value of the key. Aliases of aliases make a few lines stand for more values than
    memory holds.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            anchor = self.peek_event().anchor  # type: ignore[no-untyped-call]
            raise SpecError(f"*{anchor} is an alias, which is not read; write its value in its place")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

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
