"""Discovery of what a folder holds: one file per thing, named after it; a leading underscore hides a file."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from zetaplan.errors import SpecError, shown


def names(folder: ModuleType) -> tuple[str, ...]:
    """The names that a package's files give, in alphabetical order: `block_fisher.py` gives "block-fisher"."""
    return tuple(sorted(_public(folder.__path__)))


def modules(folder: ModuleType) -> dict[str, ModuleType]:
    """Every module of the folder by the name that its file gives."""
    return {name: _module(folder, name) for name in names(folder)}


def module(folder: ModuleType, name: str, *, argument: str, error: type[Exception] = SpecError) -> ModuleType:
    """The module of this name. Raises `error`, which names the argument and all names there are, if there is none."""
    known = names(folder)
    if not isinstance(name, str) or name not in known:
        raise error(f"{argument} = {shown(name)}: expected one of {', '.join(known)}")
    return _module(folder, name)


def _public(path: Iterable[str]) -> Iterable[str]:
    return (found.name.replace("_", "-") for found in iter_modules(path) if not found.name.startswith("_"))


def _module(folder: ModuleType, name: str) -> ModuleType:
    return import_module(f"{folder.__name__}.{name.replace('-', '_')}")
