"""Discovery of the modules of a package by file name; files that begin with an underscore are skipped."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType

from zetaplan.errors import SpecError, shown


def names(folder: ModuleType) -> tuple[str, ...]:
    """The names of a package's modules, in alphabetical order: `block_fisher.py` has the name "block-fisher"."""
    return tuple(sorted(_public(folder.__path__)))


def listed(package: str) -> tuple[str, ...]:
    """The names of the modules of a package that may be slow to import; only packages around it are imported."""
    found = find_spec(package)
    return tuple(sorted(_public(found.submodule_search_locations or ()))) if found else ()


def modules(folder: ModuleType) -> dict[str, ModuleType]:
    """Every module of the package, by the name of its file."""
    return {name: _module(folder, name) for name in names(folder)}


def module(folder: ModuleType, name: str, *, argument: str, error: type[Exception] = SpecError) -> ModuleType:
    """The module of this name. Raises `error`, with the argument and all valid names, if no module has it."""
    known = names(folder)
    if not isinstance(name, str) or name not in known:
        raise error(f"{argument} = {shown(name)}: expected one of {', '.join(known)}")
    return _module(folder, name)


def _public(path: Iterable[str]) -> Iterable[str]:
    return (found.name.replace("_", "-") for found in iter_modules(path) if not found.name.startswith("_"))


def _module(folder: ModuleType, name: str) -> ModuleType:
    return import_module(f"{folder.__name__}.{name.replace('-', '_')}")
