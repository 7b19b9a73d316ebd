"""Stand-alone checkers as source: what they import, and what a copy with one text replaced answers."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any


def imported(source: Path) -> set[str]:
    """The packages and modules that a file imports, by their first names."""
    nodes = list(ast.walk(ast.parse(source.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def load(source: str) -> ModuleType:
    """The source of a checker, or of a mutant of it, as a module."""
    module = ModuleType("mutant")
    exec(compile(source, "mutant", "exec"), module.__dict__)  # noqa: S102 - our own source, one text replaced
    return module


def verdict(check: Callable[[Any], Any], value: Any) -> object:
    """True where accepted; the condition where refused; any other error counts as an answer of its own."""
    try:
        check(value)
    except ValueError as refusal:
        return str(refusal).split(":")[0]
    except (ArithmeticError, TypeError, LookupError, AttributeError, RecursionError, OSError) as crash:
        return type(crash)
    return True
