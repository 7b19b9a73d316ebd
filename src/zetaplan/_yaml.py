"""YAML as the tools read and write it: plain values, nothing that runs."""

from __future__ import annotations

from typing import Any

import yaml


def dumped(value: dict[str, Any]) -> bytes:
    """The value as YAML, keys in their order."""
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10**6)
    return text.encode()


def parsed(data: bytes) -> dict[str, Any]:
    """The mapping that the text holds; empty if it holds none."""
    try:
        value = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    return value if isinstance(value, dict) else {}
