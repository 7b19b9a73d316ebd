"""The declared programs, one file each. Every Program in this folder is found by import; none is registered."""

from __future__ import annotations

import copyreg
import sys
from dataclasses import fields
from functools import lru_cache
from typing import Any

from zetaplan import _found
from zetaplan.errors import SpecError
from zetaplan.spec.program import Program


@lru_cache(maxsize=1)
def programs() -> dict[str, Program]:
    """Every program declared in this folder, by name."""
    modules = _found.modules(sys.modules[__name__]).values()
    found = (value for module in modules for value in vars(module).values() if isinstance(value, Program))
    return {program.name: program for program in sorted(found, key=lambda program: program.name)}


def named(name: str) -> Program:
    """The declared program of this name. Raises SpecError for an unknown name."""
    if name not in programs():
        raise SpecError(f"program = {name!r}: expected one of {', '.join(programs())}")
    return programs()[name]


def _reduced(program: Program) -> tuple[Any, ...]:
    """Pickle a program of this folder by its name, and any other program by its declaration."""
    if programs().get(program.name) is program:
        return named, (program.name,)
    return Program, tuple(getattr(program, field.name) for field in fields(program))


copyreg.pickle(Program, _reduced)
